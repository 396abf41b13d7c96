"""The log posterior of rows that are read chunk by chunk: the prior of the model, and a likelihood summed over chunks.

A pass over the rows costs as much as reading them, so it serves many parameter values at once: all points of the
differences that make a Hessian, some thousand proposals of an importance sample. The chunks return log-likelihoods, or
their gradients by weights, means and precision factors; PyTensor takes these back to the unconstrained coordinates of
the model, and adds the prior.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pymc as pm
from numpy.typing import NDArray
from pymc.pytensorf import compile as compile_function
from pymc.pytensorf import join_nonshared_inputs
from pytensor.gradient import grad

from bayesgmm.bayes.density import UnconstrainedDensity, unconstrained_density
from bayesgmm.bayes.on_chunks import Points, Slopes, slopes_at, values_at
from bayesgmm.bayes.streamed_rows import StreamedRows

__all__ = ["StreamedDensity", "streamed_density"]

Floats = NDArray[np.float64]

# Numbers that parameters of one pass may have: they travel to every chunk.
_NUMBERS_AT_ONCE = 2**18


@dataclass(frozen=True)
class StreamedDensity(UnconstrainedDensity):
    """A log posterior that is evaluated at many points by one pass over the rows.

    Parameters
    ----------
    size : int
        Number of coordinates.
    evaluate : callable
        Vector (size,) to log density and gradient (size,): one pass over the rows.
    expand : callable
        Vectors (S, size) to a dict of the model's variables, each (S, ...).
    start : ndarray, shape (size,)
        The vector at the values that were given to `streamed_density`.
    gradients : callable
        Vectors (S, size) to log densities (S,) and gradients (S, size).
    heights : callable
        Vectors (S, size) to log densities (S,), which are cheaper alone.
    log_prior : callable
        Vector (size,) to what the log density is without the rows.
    native : None
        The rows are not at hand for machine code.
    """

    gradients: Callable[[Floats], tuple[Floats, Floats]]
    heights: Callable[[Floats], Floats]
    log_prior: Callable[[Floats], float]

    def evaluate_all(self, vectors: Floats) -> tuple[Floats, Floats]:
        """Return log densities (S,) and gradients (S, size) at vectors (S, size), NaN where a vector is not legal."""
        return self.gradients(vectors)

    def values(self, vectors: Floats) -> Floats:
        """Return log densities (S,) at vectors (S, size), without gradients."""
        return self.heights(vectors)


def streamed_density(rows: StreamedRows, model: pm.Model, values: Mapping[str, Any]) -> StreamedDensity:
    """Compile the log posterior of rows that are read chunk by chunk.

    Parameters
    ----------
    rows : StreamedRows
        The rows.
    model : pymc.Model
        Made by `build_model` of `prior_rows`.
    values : mapping of str to array
        Values of free variables to start from; see `unconstrained_density`.

    Returns
    -------
    StreamedDensity
        The functions.
    """
    prior = unconstrained_density(model, values)
    pull_back = _pull_back(model)

    def by_prior(vectors: Floats) -> tuple[Floats, Floats, dict[str, Floats], Points]:
        """Return prior densities, their gradients, and the mixtures; the start stands in for what is not legal."""
        found = [prior.evaluate(vector) for vector in vectors]
        values = np.array([value for value, _ in found])
        is_legal = np.isfinite(values)
        expanded = prior.expand(np.where(is_legal[:, None], vectors, prior.start))
        points = _points(expanded)
        points = points._replace(is_legal=points.is_legal & is_legal)
        return values, np.array([slopes for _, slopes in found]), expanded, points

    def gradients(vectors: Floats) -> tuple[Floats, Floats]:
        """Return log densities and gradients; NaN where a point is not legal."""
        values, slopes, expanded, points = by_prior(vectors)
        found = rows.fold(partial(slopes_at, points=points), Slopes.plus)
        by_weights, by_covariances = found.log_weights / expanded["weights"], _by_covariances(points.factors, found)
        pulled = [
            pull_back(vector, *parts) if is_legal else np.full(prior.size, np.nan)
            for vector, is_legal, *parts in zip(
                vectors, points.is_legal, by_weights, found.means, by_covariances, strict=True
            )
        ]
        return np.where(points.is_legal, found.values + values, np.nan), np.asarray(pulled) + slopes

    def log_densities(vectors: Floats) -> Floats:
        """Return log densities; NaN where a point is not legal."""
        values, _, _, points = by_prior(vectors)
        size = max(1, _NUMBERS_AT_ONCE // (points.factors[0].size + points.means[0].size))
        parts = [
            rows.fold(partial(values_at, points=points.part(i, size)), np.add) for i in range(0, len(vectors), size)
        ]
        return np.where(points.is_legal, np.concatenate(parts) + values, np.nan)

    def evaluate(vector: Floats) -> tuple[float, Floats]:
        """Return log density and gradient."""
        found, slopes = gradients(vector[None])
        return float(found[0]), slopes[0]

    def log_prior(vector: Floats) -> float:
        """Return the log density without the rows."""
        return prior.evaluate(vector)[0]

    return StreamedDensity(prior.size, evaluate, prior.expand, prior.start, gradients, log_densities, log_prior)


def _points(expanded: Mapping[str, Floats]) -> Points:
    """Factor the precisions; the standard normal stands in for what has none."""
    covariances = expanded["covariances"]
    identity = np.eye(covariances.shape[-1])
    is_legal = np.array([_is_covariance(each) for each in covariances])
    precisions = np.linalg.inv(np.where(is_legal[:, None, None, None], covariances, identity))
    factors = np.linalg.cholesky(0.5 * (precisions + np.swapaxes(precisions, -1, -2)))
    with np.errstate(divide="ignore"):
        log_weights = np.log(expanded["weights"])
    is_legal &= np.isfinite(expanded["means"]).all(axis=(1, 2)) & ~np.isnan(log_weights).any(axis=1)
    means = np.where(is_legal[:, None, None], expanded["means"], 0.0)
    return Points(log_weights, means, np.ascontiguousarray(factors), is_legal)


def _is_covariance(matrices: Floats) -> bool:
    """Whether matrices are finite and positive definite, and not so nearly singular that their inverses are not."""
    if not np.all(np.isfinite(matrices)):
        return False
    try:
        np.linalg.cholesky(np.linalg.inv(matrices))
    except np.linalg.LinAlgError:
        return False
    return True


def _by_covariances(factors: Floats, slopes: Slopes) -> Floats:
    """Return derivatives by covariances from those by the factors of precisions (math.md, 10.7)."""
    transposed = np.swapaxes(factors, -1, -2)
    lower = np.tril(transposed @ slopes.factors)
    symmetric = lower + np.swapaxes(np.tril(lower, -1), -1, -2)
    return -0.5 * factors @ symmetric @ transposed


def _pull_back(model: pm.Model) -> Callable[..., Floats]:
    """Return the function that takes derivatives by weights, means and covariances to those by the vector."""
    outputs = model.replace_rvs_by_values([model[name] for name in ("weights", "means", "covariances")])
    joined, vector = join_nonshared_inputs(
        point=model.initial_point(), inputs=model.value_vars, outputs=outputs, make_inputs_shared=False
    )
    slopes = [output.type(f"slope_{i}") for i, output in enumerate(joined)]
    total = sum((output * slope).sum() for output, slope in zip(joined, slopes, strict=True))
    gradient = grad(total, vector)
    # Called some hundred times: to compile it would take longer than to run it.
    function = compile_function([vector, *slopes], gradient, mode="FAST_COMPILE", on_unused_input="ignore")

    def call(*arguments: Floats) -> Floats:
        return np.asarray(function(*arguments))

    return call
