"""The family of covariance structures, as data.

A component covariance is written Sigma_k = lambda_k Q_k A_k Q_k' with volume lambda_k = det(Sigma_k)^(1/D), shape A_k
(diagonal, determinant one) and orientation Q_k (orthogonal). Each of the three is equal over the components (``E``),
variable (``V``), or, for shape and orientation, the identity (``I``). Three letters name one of fourteen structures, as
in Banfield & Raftery (1993), Celeux & Govaert (1995) and R's mclust.

This module owns the letters and what follows from them by counting: names, numbers of free parameters, which rescalings
of the columns leave the model unchanged. The M step, the PyMC prior and the scaling of the data read the letters; no
other module keeps a list of structures.
"""

from dataclasses import dataclass

from bayesgmm.errors import ArgumentError
from bayesgmm.showing import Shown

__all__ = ["STRUCTURES", "CovarianceStructure", "as_structure"]


@dataclass(frozen=True)
class CovarianceStructure(Shown):
    """A covariance structure: volume, shape and orientation of the component covariances.

    Parameters
    ----------
    volume : {"E", "V"}
        Volume equal over the components, or variable.
    shape : {"I", "E", "V"}
        Shape the identity (spheres), equal, or variable.
    orientation : {"I", "E", "V"}
        Axes along the coordinate axes, equal, or variable.

    Raises
    ------
    ArgumentError
        When the letters are not one of the fourteen structures; spheres, for instance, have no axes.
    """

    volume: str
    shape: str
    orientation: str

    def __post_init__(self) -> None:
        if self.code not in _CODES:
            raise ArgumentError(f"there is no covariance structure {self.code!r}; use one of {', '.join(_CODES)}")

    @property
    def code(self) -> str:
        """The three letters, for instance ``"VVV"``."""
        return f"{self.volume}{self.shape}{self.orientation}"

    @property
    def name(self) -> str:
        """The common name where there is one (``"full"``, ``"tied"``, ``"diag"``, ``"spherical"``), else the code."""
        return _COMMON_NAMES.get(self.code, self.code)

    @property
    def has_matrix_shape(self) -> bool:
        """Whether shape and axes are equal or variable together: one symmetric matrix is both (math.md, 4.9)."""
        return self.shape == self.orientation and not self.is_diagonal

    @property
    def is_diagonal(self) -> bool:
        """Whether every covariance is diagonal."""
        return self.orientation == "I"

    @property
    def is_spherical(self) -> bool:
        """Whether every covariance is a multiple of the identity."""
        return self.shape == "I"

    @property
    def is_shared(self) -> bool:
        """Whether all components have one and the same covariance."""
        return "V" not in self.code

    @property
    def is_scale_equivariant(self) -> bool:
        """Whether rescaling single columns maps the model onto itself.

        True where the covariances are diagonal but not spherical, and where shape and orientation are both equal or
        both variable. For the others (spheres; axes shared while shapes vary; shapes shared while axes vary) a change
        of the unit of one column changes what the model says.
        """
        if self.is_spherical:
            return False
        return self.is_diagonal or self.shape == self.orientation

    def for_dimension(self, n_features: int) -> "CovarianceStructure":
        """Return the structure that this one is in `n_features` dimensions.

        In one dimension a covariance has a volume only: every structure is ``EII`` or ``VII`` (mclust's ``E``, ``V``).

        Parameters
        ----------
        n_features : int
            Number of columns, D.

        Returns
        -------
        CovarianceStructure
            The structure itself where D is above one.
        """
        return CovarianceStructure(self.volume, "I", "I") if n_features == 1 else self

    def n_covariance_parameters(self, n_components: int, n_features: int) -> int:
        """Count the free parameters of the covariances: volumes, shapes and rotations (math.md, 2.3).

        Parameters
        ----------
        n_components, n_features : int
            Number of components, K, and of columns, D.

        Returns
        -------
        int
            The count.
        """
        here = self.for_dimension(n_features)
        copies = {"I": 0, "E": 1, "V": n_components}
        volumes = copies[here.volume]
        shapes = copies[here.shape] * (n_features - 1)
        rotations = copies[here.orientation] * n_features * (n_features - 1) // 2
        return volumes + shapes + rotations

    def n_parameters(self, n_components: int, n_features: int) -> int:
        """Count the free parameters of a mixture: weights, means and covariances (math.md, 2.3).

        Parameters
        ----------
        n_components, n_features : int
            Number of components, K, and of columns, D.

        Returns
        -------
        int
            The count.
        """
        covariances = self.n_covariance_parameters(n_components, n_features)
        return n_components - 1 + n_components * n_features + covariances

    def __repr__(self) -> str:
        return f"CovarianceStructure({self})"

    def __str__(self) -> str:
        return self.name if self.name == self.code else f"{self.name} ({self.code})"


_CODES = "EII VII EEI VEI EVI VVI EEE VEE EVE VVE EEV VEV EVV VVV".split()
_COMMON_NAMES = {"VVV": "full", "EEE": "tied", "VVI": "diag", "VII": "spherical"}

#: The fourteen structures by code, in mclust's order.
STRUCTURES: dict[str, CovarianceStructure] = {code: CovarianceStructure(*code) for code in _CODES}

_BY_NAME = STRUCTURES | {name: STRUCTURES[code] for code, name in _COMMON_NAMES.items()}
_ONE_DIMENSION = {"E": STRUCTURES["EII"], "V": STRUCTURES["VII"]}
# What mclust calls a mixture of one component.
_ONE_COMPONENT = {"X": "EII", "XII": "EII", "XXI": "EEI", "XXX": "EEE"}


def as_structure(structure: str | CovarianceStructure, n_features: int | None = None) -> CovarianceStructure:
    """Return the covariance structure that a name stands for.

    Parameters
    ----------
    structure : str or CovarianceStructure
        A common name (``"full"``, ``"tied"``, ``"diag"``, ``"spherical"``), one of mclust's fourteen codes, or, in one
        dimension, mclust's ``"E"`` or ``"V"``.
    n_features : int, optional
        Number of columns. When given, the structure is reduced to what it is in that dimension.

    Returns
    -------
    CovarianceStructure
        The structure.

    Raises
    ------
    ArgumentError
        When there is no structure of that name.

    Examples
    --------
    >>> as_structure("full").code
    'VVV'
    >>> as_structure("VEV").n_parameters(n_components=2, n_features=4)
    26
    """
    if isinstance(structure, CovarianceStructure):
        found = structure
    else:
        names = _BY_NAME | _ONE_DIMENSION if n_features in (1, None) else _BY_NAME
        if isinstance(structure, str) and structure in _ONE_COMPONENT:
            raise ArgumentError(
                f"structure={structure!r} is what mclust calls a single component; use "
                f"{_ONE_COMPONENT[structure]!r} with n_components=1"
            )
        if not isinstance(structure, str) or structure not in names:
            raise ArgumentError(
                f"structure={structure!r} is not known; use one of {', '.join(_COMMON_NAMES.values())} "
                f"or one of mclust's codes {', '.join(_CODES)}"
            )
        found = names[structure]
    return found if n_features is None else found.for_dimension(n_features)
