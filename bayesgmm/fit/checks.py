"""What is given where a fit is wanted, and the words for what is none."""

from collections.abc import Sequence
from typing import Any

from bayesgmm.errors import ArgumentError
from bayesgmm.fit.mixture_fit import MixtureFit
from bayesgmm.mixture import Mixture

__all__ = ["check_estimate", "check_fit", "mixture_of"]


def check_fit(fit: Any, name: str = "fit") -> None:
    """Refuse what is no fit.

    Parameters
    ----------
    fit : object
        What was given.
    name : str, default "fit"
        The argument.

    Raises
    ------
    ArgumentError
        When it is anything but a MixtureFit.
    """
    if not isinstance(fit, MixtureFit):
        raise ArgumentError(f"{name} must be a MixtureFit, not {type(fit).__name__}")


def check_estimate(em: Any, n_components: int, features: Sequence[str]) -> None:
    """Refuse what is no point estimate of a mixture of some size and columns.

    Parameters
    ----------
    em : object
        What was given as ``em=``.
    n_components : int
        Number of components, K.
    features : sequence of str
        Names of the columns.

    Raises
    ------
    ArgumentError
        When it is no fit, has draws, or is of another size or other columns.
    """
    check_fit(em, "em")
    if em.has_draws or em.n_components != n_components or em.features != tuple(features):
        raise ArgumentError(
            f"em={em!r} must be a point estimate with {n_components} components and the columns {', '.join(features)}"
        )


def mixture_of(model: Any, name: str = "model") -> Mixture:
    """Return a mixture, or that of a fit.

    Parameters
    ----------
    model : Mixture or MixtureFit
        What was given.
    name : str, default "model"
        The argument.

    Returns
    -------
    Mixture
        The mixture.

    Raises
    ------
    ArgumentError
        When it is neither.
    """
    if isinstance(model, MixtureFit):
        return model.mixture
    if not isinstance(model, Mixture):
        raise ArgumentError(f"{name} must be a Mixture or a MixtureFit, not {type(model).__name__}")
    return model
