"""The fused marginal likelihood as a PyTensor Op.

`MixtureLogLikelihood` wraps the kernel that returns the log-likelihood and its gradient from one pass over the data, so
that `pm.sample`, nutpie, `find_MAP` and any model written around it differentiate it at the price of evaluating it. The
gradient is a second output of the same node: nothing is computed twice. `IncompleteLogLikelihood` is its twin for rows
with missing values and for models that have precisions but not their Cholesky factors: these are then computed, and
differentiated, in the kernel, which keeps decompositions out of the graph (and its compilation short).
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytensor.tensor as pt
from numpy.typing import NDArray
from pytensor.gradient import DisconnectedType, disconnected_type, grad_not_implemented
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch.basic import numba_njit, register_funcify_default_op_cache_key

from bayesgmm.kernels.caching import version_with
from bayesgmm.kernels.gradient import log_likelihood_and_gradient, log_likelihood_by_precisions

__all__ = [
    "Components",
    "IncompleteLogLikelihood",
    "MixtureLogLikelihood",
    "Patterns",
    "mixture_log_likelihood",
    "observed_log_likelihood",
]


_VERSION = version_with(__file__)


class Components(NamedTuple):
    """The covariances of a model, as tensors of shape (K, D, D), standardised units.

    Parameters
    ----------
    precisions, covariances : TensorVariable
        The matrices and their inverses.
    chols : TensorVariable, optional
        Lower Cholesky factors of the precisions, where the model has them without a decomposition.
    """

    precisions: Any
    covariances: Any
    chols: Any = None


class Patterns(NamedTuple):
    """Which columns the rows of a table lack.

    Parameters
    ----------
    members : ndarray of int64, shape (n,)
        Positions of the rows, pattern by pattern.
    bounds : ndarray of int64, shape (P + 1,)
        Where each pattern begins in `members`, and the end.
    orders : ndarray of int64, shape (P, D)
        Columns of each pattern, the missing ones first.
    n_missing : ndarray of int64, shape (P,)
        How many columns each pattern lacks.
    """

    members: NDArray[np.int64]
    bounds: NDArray[np.int64]
    orders: NDArray[np.int64]
    n_missing: NDArray[np.int64]

    @classmethod
    def of(cls, rows: NDArray[np.float64]) -> "Patterns":
        """Find the patterns of rows (n, D) in which NaN stands for a missing value."""
        kinds, which = np.unique(np.isnan(rows), axis=0, return_inverse=True)
        which = np.ravel(which)
        parts = (
            np.argsort(which, kind="stable"),
            np.concatenate([[0], np.cumsum(np.bincount(which))]),
            np.argsort(~kinds, axis=1, kind="stable"),
            kinds.sum(axis=1),
        )
        return cls(*(part.astype(np.int64) for part in parts))


class MixtureLogLikelihood(Op):
    """Weighted log-likelihood of a Gaussian mixture, with its gradient as further outputs (math.md, 4.5 and 4.6).

    Inputs: rows (n, D), row weights (n,), log component weights (K,), means (K, D), lower Cholesky factors of the
    precisions (K, D, D). Outputs: the log-likelihood and its derivatives by the last three inputs.
    """

    __props__ = ()

    #: Numbers of dimensions of the inputs that are data.
    data_ndims: ClassVar[tuple[int, ...]] = (2, 1)
    kernel: ClassVar[Callable[..., Any]] = staticmethod(log_likelihood_and_gradient)

    def make_node(self, *inputs: Any) -> Apply:
        """Build the node; rows, their weights and the parameters become float64 tensors, the rest are whole numbers."""
        n_data = len(self.data_ndims)
        tensors = [pt.as_tensor_variable(value) for value in inputs]
        # Which kind of whole number does not matter: to cast the positions of all rows would take time at every call.
        tensors = [tensor if 2 <= i < n_data else tensor.astype("float64") for i, tensor in enumerate(tensors)]
        ndims = [*self.data_ndims, 1, 2, 3]
        if [tensor.ndim for tensor in tensors] != ndims:
            raise TypeError(f"the inputs must have {ndims} dimensions, not {[tensor.ndim for tensor in tensors]}")
        gradients = [pt.tensor(dtype="float64", shape=tensor.type.shape) for tensor in tensors[n_data:]]
        return Apply(self, tensors, [pt.dscalar(), *gradients])

    def perform(self, node: Apply, inputs: Sequence[Any], output_storage: Any) -> None:
        """Evaluate outside of compiled graphs."""
        results = self.kernel(*(np.ascontiguousarray(value) for value in inputs))
        for storage, result in zip(output_storage, results, strict=True):
            storage[0] = np.asarray(result)

    def infer_shape(self, node: Apply, input_shapes: list[Any]) -> list[Any]:
        """Return the shapes of the outputs: a scalar and the shapes of the parameters."""
        return [(), *input_shapes[len(self.data_ndims) :]]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        """Say that only the log-likelihood is differentiable, and only by the parameters."""
        return [[False] * 4] * len(self.data_ndims) + [[True, False, False, False]] * 3

    def pullback(
        self, inputs: Sequence[Variable], outputs: Sequence[Variable], cotangents: Sequence[Variable]
    ) -> list[Variable]:
        """Return the derivatives that the forward pass has computed already."""
        scale, n_data = cotangents[0], len(self.data_ndims)
        data = [disconnected_type() for _ in inputs[:n_data]]
        if isinstance(scale.type, DisconnectedType):
            return data + [grad_not_implemented(self, i, inputs[i]) for i in range(n_data, n_data + 3)]
        return data + [scale * gradient for gradient in outputs[1:]]


class IncompleteLogLikelihood(MixtureLogLikelihood):
    """The same of what was observed, by precisions (math.md, 4.8).

    Inputs: rows (n, D), row weights (n,), the four arrays of `Patterns`, log component weights (K,), means (K, D),
    precisions (K, D, D). Outputs: the log-likelihood and its derivatives by the last three inputs.
    """

    data_ndims = (2, 1, 1, 1, 2, 1)
    kernel = staticmethod(log_likelihood_by_precisions)


@register_funcify_default_op_cache_key(MixtureLogLikelihood)
def _numba_mixture_log_likelihood(op: MixtureLogLikelihood, **_kwargs: Any) -> Any:
    @numba_njit
    def evaluate(rows: Any, row_weights: Any, log_weights: Any, means: Any, chols: Any) -> Any:
        value, by_weights, by_means, by_chols = log_likelihood_and_gradient(
            np.ascontiguousarray(rows),
            np.ascontiguousarray(row_weights),
            np.ascontiguousarray(log_weights),
            np.ascontiguousarray(means),
            np.ascontiguousarray(chols),
        )
        return np.asarray(value), by_weights, by_means, by_chols

    return evaluate, _VERSION


@register_funcify_default_op_cache_key(IncompleteLogLikelihood)
def _numba_incomplete_log_likelihood(op: IncompleteLogLikelihood, **_kwargs: Any) -> Any:
    @numba_njit
    def evaluate(
        rows: Any, row_weights: Any, members: Any, bounds: Any, orders: Any, n_missing: Any, log_weights: Any,
        means: Any, precisions: Any,
    ) -> Any:  # fmt: skip
        value, by_weights, by_means, by_precisions = log_likelihood_by_precisions(
            np.ascontiguousarray(rows),
            np.ascontiguousarray(row_weights),
            np.ascontiguousarray(members),
            np.ascontiguousarray(bounds),
            np.ascontiguousarray(orders),
            np.ascontiguousarray(n_missing),
            np.ascontiguousarray(log_weights),
            np.ascontiguousarray(means),
            np.ascontiguousarray(precisions),
        )
        return np.asarray(value), by_weights, by_means, by_precisions

    return evaluate, _VERSION


_log_likelihood = MixtureLogLikelihood()
_observed_log_likelihood = IncompleteLogLikelihood()


def mixture_log_likelihood(rows: Any, row_weights: Any, log_weights: Any, means: Any, chols: Any) -> Any:
    """Return the weighted marginal log-likelihood as a PyTensor scalar.

    Parameters
    ----------
    rows : tensor_like, shape (n, D)
        Standardised rows.
    row_weights : tensor_like, shape (n,)
        Weights of the rows; a power likelihood.
    log_weights : tensor_like, shape (K,)
        Log component weights.
    means : tensor_like, shape (K, D)
        Component means, standardised units.
    chols : tensor_like, shape (K, D, D)
        Lower Cholesky factors of the component precisions.

    Returns
    -------
    TensorVariable
        A scalar; differentiable by the last three arguments.
    """
    return _log_likelihood(rows, row_weights, log_weights, means, chols)[0]


def observed_log_likelihood(
    rows: Any, row_weights: Any, patterns: Sequence[Any], log_weights: Any, means: Any, precisions: Any
) -> Any:
    """Return the weighted marginal log-likelihood of what was observed as a PyTensor scalar.

    Parameters
    ----------
    rows : tensor_like, shape (n, D)
        Standardised rows; what stands in the place of a missing value has no effect, but it must not be NaN where PyMC
        sees it.
    row_weights : tensor_like, shape (n,)
        Weights of the rows; a power likelihood.
    patterns : Patterns, or four tensors
        Which columns the rows lack.
    log_weights : tensor_like, shape (K,)
        Log component weights.
    means : tensor_like, shape (K, D)
        Component means, standardised units.
    precisions : tensor_like, shape (K, D, D)
        Component precisions, symmetric.

    Returns
    -------
    TensorVariable
        A scalar; differentiable by the last three arguments.
    """
    return _observed_log_likelihood(rows, row_weights, *patterns, log_weights, means, precisions)[0]
