"""The process that one system runs in, for the sections on the posterior; the protocol is that of EM's.

Time is that of the processor, on one core: a system that works in threads or processes of its own cannot look faster
than it is.
"""

import resource
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.em.serve import main

__all__ = ["Server", "effective_sizes"]

# An evaluation is repeated until so many seconds are over, and at least so many times.
_LONG_ENOUGH = 0.5
_FEWEST = 5
_FIXED_POINTS = 20


class Server:
    def __init__(self, name: str, n_threads: int) -> None:
        from benchmarks.bayes.systems import open_system

        del n_threads  # one, for everybody
        self._system = open_system(name)
        self.version = None

    def open(self, path: str) -> dict[str, Any]:
        """Load a target."""
        from benchmarks.bayes.problems import Target

        self._target = Target.load(Path(path))
        self._system.load(self._target)
        return {}

    def gradient(self, **options: Any) -> dict[str, Any]:
        """Return the time of one evaluation, and of making the function."""
        begun = _processor_time()
        evaluate = self._system.gradient(**options)
        evaluate()
        compiled = _processor_time() - begun
        seconds: list[float] = []
        while sum(seconds) < _LONG_ENOUGH or len(seconds) < _FEWEST:
            seconds.append(_seconds(evaluate)[0])
        return {"seconds": median(seconds), "compiled": compiled}

    def posterior(self, **options: Any) -> dict[str, Any]:
        """Return the time of the first posterior in this process and of a second, and what the second is worth."""
        first, _ = _seconds(lambda: self._system.sample(seed=1, **options))
        again, draws = _seconds(lambda: self._system.sample(seed=2, **options))
        return {"first": first, "again": again, **effective_sizes(self._target, draws)}


def _seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    begun = _processor_time()
    found = call()
    return _processor_time() - begun, found


def _processor_time() -> float:
    """Return the seconds that this process has taken, and those that it has started and seen the end of."""
    others = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + others.ru_utime + others.ru_stime


def effective_sizes(target: Any, draws: tuple[Any, Any, Any]) -> dict[str, float]:
    """Return the smallest effective sizes: of parameters after relabelling, and of the log density at fixed rows.

    With it comes the largest R-hat of the log densities; above 1.05 an effective size means nothing.
    """
    import arviz as az
    import xarray as xr

    from bayesgmm.mixture import Mixture
    from bayesgmm.posterior.parameters import parameter_draws
    from bayesgmm.posterior.relabel import relabel
    from bayesgmm.structure import as_structure

    mixture = Mixture(*(np.asarray(part, dtype=float) for part in draws))
    reference = Mixture(target.weights, target.means, target.covariances)
    matched = relabel(mixture, target.rows, reference=reference).mixture
    _, values = parameter_draws(matched, as_structure("full"))
    points = target.rows[np.linspace(0, len(target.rows) - 1, _FIXED_POINTS).astype(int)]
    found = xr.Dataset(
        {
            "parameter": (("chain", "draw", "name"), values),
            "density": (("chain", "draw", "point"), matched.log_density(points)),
        }
    )
    sizes = az.ess(found)
    worst = az.rhat(found)["density"].max()
    return {
        "ess_parameters": float(sizes["parameter"].min()),
        "ess_density": float(sizes["density"].min()),
        "r_hat": float(worst),
    }


if __name__ == "__main__":
    main(Server)
