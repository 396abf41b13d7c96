"""One adapter for each system, all with the same face.

An adapter raises ImportError when its system is not installed. It offers

- `load(target)`: take the rows, the prior and the start; not timed;
- `gradient()`: a function without arguments that evaluates log posterior and gradient once, at the start;
- `sample(draws=, tune=, chains=, seed=, **options)`: weights, means and covariances, each (chain, draw, ...), of a
  whole posterior; called again, it keeps what it has compiled.
"""

from importlib import import_module
from typing import Any

__all__ = ["SYSTEMS", "open_system"]

#: Modules of the adapters, by the name that stands in the tables.
SYSTEMS = {"bayesgmm": "ours", "pymc": "usual_pymc", "numpyro": "jax_numpyro", "stan": "stan"}


def open_system(name: str) -> Any:
    """Return the adapter of a system."""
    return import_module(f"benchmarks.bayes.systems.{SYSTEMS[name]}").Adapter()
