"""Centring and scaling, and the way back, for numbers, mixtures and log densities.

Fits run on Z = (X - shift) / scale, so that they do not depend on the units of the data; everything that leaves a fit
is in the user's units again. Which scale is right depends on the covariance structure: one scale for each column where
the model is unchanged by that (`CovarianceStructure.is_scale_equivariant`), one common scale for all columns where it
is not, so that a fit is the model that its name says.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bayesgmm.mixture import Mixture

__all__ = ["Scaling"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scaling:
    """An invertible change of units, column by column.

    Parameters
    ----------
    shift : ndarray, shape (D,)
        What is subtracted, user's units.
    scale : ndarray, shape (D,)
        What is divided by, user's units; positive.
    """

    shift: Floats
    scale: Floats

    def standardize(self, X: ArrayLike) -> Floats:
        """Convert rows from the user's units, shape (n, D)."""
        return np.asarray((np.asarray(X, dtype=np.float64) - self.shift) / self.scale)

    def mixture_to_user(self, mixture: Mixture) -> Mixture:
        """Convert a mixture from standardised to the user's units."""
        return mixture.affine(self.scale, self.shift)

    def mixture_to_standard(self, mixture: Mixture) -> Mixture:
        """Convert a mixture from the user's to standardised units."""
        centred = mixture.affine(np.ones_like(self.scale), -self.shift)
        return centred.affine(1.0 / self.scale, np.zeros_like(self.shift))

    @property
    def log_jacobian(self) -> float:
        """What is added to a log density of Z to give the log density of X (math.md, 5.2)."""
        return -float(np.sum(np.log(self.scale)))
