"""What an estimator prints while it fits, for ``verbose=1`` and ``verbose=2``: the lines of scikit-learn's mixtures."""

import sys
import time

__all__ = ["Narrator"]


class Narrator:
    """Print the starts and iterations of a fit to standard output.

    Parameters
    ----------
    verbose : int
        0 prints nothing, 1 starts and passes, 2 times and gains too.
    interval : int
        Number of passes between two lines.
    """

    def __init__(self, verbose: int, interval: int) -> None:
        self._verbose, self._interval = int(verbose), interval
        self._begun = self._last_line = time.perf_counter()
        self._log_likelihood = float("nan")

    def begin(self, number: int) -> None:
        """Say that a start begins."""
        self._begun = self._last_line = time.perf_counter()
        self._log_likelihood = float("nan")
        self._say(f"Initialization {number}")

    def __call__(self, n_passes: int, log_likelihood: float) -> None:
        """Say how far a run is; called by the engine after every iteration."""
        gain, self._log_likelihood = log_likelihood - self._log_likelihood, log_likelihood
        if n_passes % self._interval == 0:
            now = time.perf_counter()
            self._say(f"  Iteration {n_passes}", f"\t time lapse {now - self._last_line:.5f}s\t ll change {gain:.5f}")
            self._last_line = now

    def end(self, lower_bound: float, *, converged: bool) -> None:
        """Say how a run ended; `lower_bound` is its log-likelihood per row."""
        seconds = time.perf_counter() - self._begun
        self._say(
            f"Initialization {'converged' if converged else 'did not converge'}.",
            f" time lapse {seconds:.5f}s\t lower bound {lower_bound:.5f}.",
        )

    def _say(self, line: str, detail: str = "") -> None:
        if self._verbose:
            sys.stdout.write(f"{line}{detail if self._verbose > 1 else ''}\n")
