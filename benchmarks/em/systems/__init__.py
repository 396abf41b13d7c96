"""One adapter for each system, all with the same face.

An adapter raises ImportError when its system is not installed. It may offer

- `load(X)`: take the rows in the form that the system works on; not timed;
- `iterate(start, structure=, n_iter=)`: exactly so many EM iterations from the start, without a test of convergence;
- `converge(start, **options)`: from the start until the system's own test of convergence stops it;
- `search(n_components, seed=, **options)`: from the system's own starts;

the last three return an Estimate. What a system cannot do raises NotImplementedError.
"""

from importlib import import_module
from typing import Any

__all__ = ["SYSTEMS", "open_system"]

#: Modules of the adapters, by the name that stands in the tables.
SYSTEMS = {
    "bayesgmm": "ours",
    "scikit-learn": "scikit_learn",
    "daal4py": "intel_daal",
    "gmmx": "jax_gmmx",
    "mclust": "r_mclust",
    "dgemm": "gemm",
}


def open_system(name: str, n_threads: int) -> Any:
    """Return the adapter of a system, told how many threads it has."""
    return import_module(f"benchmarks.em.systems.{SYSTEMS[name]}").Adapter(n_threads)
