"""How a fit was made: plain values that are kept with it, as JSON."""

import json
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.metadata import version
from typing import Any

__all__ = ["FitInfo", "versions_of"]


@dataclass(frozen=True)
class FitInfo:
    """How a fit was made.

    Parameters
    ----------
    method : str
        ``"em"``, or the sampler: ``"nuts"``, ...
    structure : str
        Code of the covariance structure, for instance ``"VVV"``.
    n_components : int
        Number of components, K.
    seed : int or None
        The seed, where it was a number.
    settings : dict
        What the fit was asked for: iterations, draws, priors, ... Plain JSON values.
    diagnostics : dict
        What came out: converged, iterations, divergences, relabelling, ... Plain JSON values.
    versions : dict
        Versions of the packages that made it.
    """

    method: str
    structure: str
    n_components: int
    seed: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    diagnostics: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the whole as JSON text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "FitInfo":
        """Read what `to_json` wrote."""
        return cls(**json.loads(text))


def versions_of(*packages: str) -> dict[str, str]:
    """Return the installed versions of packages.

    Parameters
    ----------
    *packages : str
        Names of distributions.

    Returns
    -------
    dict of str to str
        Versions by name.
    """
    return {package: _version(package) for package in packages}


@cache
def _version(package: str) -> str:
    """Return a version, looked up on the disk once."""
    return version(package)
