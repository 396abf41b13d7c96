"""Parameters that are known and held: weights, means or covariances, any of the three.

What is fixed takes no part in the M step; what is free is fitted given it, in closed form as before (math.md, 3.10).
The values leave a fit exactly as they came, not as a change of units and back would round them.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from bayesgmm.data import Scaling
from bayesgmm.mixture import Mixture

__all__ = ["Fixed"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Fixed:
    """Parameters that EM holds; None stands for what is free.

    Parameters
    ----------
    weights : ndarray, shape (K,), optional
        Weights of the components.
    means : ndarray, shape (K, D), optional
        Means.
    covariances : ndarray, shape (K, D, D), optional
        Covariances, which have the structure that is fitted.
    """

    weights: Floats | None = None
    means: Floats | None = None
    covariances: Floats | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of what is fixed."""
        return tuple(field.name for field in fields(self) if getattr(self, field.name) is not None)

    def to_standard(self, scaling: Scaling) -> "Fixed":
        """Convert from the user's to standardised units."""
        units = np.outer(scaling.scale, scaling.scale)
        return Fixed(
            self.weights,
            None if self.means is None else scaling.standardize(self.means),
            None if self.covariances is None else self.covariances / units,
        )

    def restored(self, mixture: Mixture) -> Mixture:
        """Return a mixture with the fixed parameters exactly as they are here."""
        return Mixture(
            mixture.weights if self.weights is None else self.weights,
            mixture.means if self.means is None else self.means,
            mixture.covariances if self.covariances is None else self.covariances,
            mixture.features,
        )
