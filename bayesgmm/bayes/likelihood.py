"""The fused marginal likelihood as a PyTensor Op.

`MixtureLogLikelihood` wraps the kernel that returns the log-likelihood and its gradient from one pass over the data, so
that `pm.sample`, nutpie, `find_MAP` and any model written around it differentiate it at the price of evaluating it. The
gradient is a second output of the same node: nothing is computed twice.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import DisconnectedType, disconnected_type, grad_not_implemented
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch.basic import numba_njit, register_funcify_default_op_cache_key

from bayesgmm.kernels.em import VERSION, log_likelihood_and_gradient

__all__ = ["MixtureLogLikelihood", "mixture_log_likelihood"]


class MixtureLogLikelihood(Op):
    """Weighted log-likelihood of a Gaussian mixture, with its gradient as further outputs (math.md, 4.5 and 4.6).

    Inputs: rows (n, D), row weights (n,), log component weights (K,), means (K, D), lower Cholesky factors of the
    precisions (K, D, D). Outputs: the log-likelihood and its derivatives by the last three inputs.
    """

    __props__ = ()

    def make_node(self, *inputs: Any) -> Apply:
        """Build the node; every input becomes a float64 tensor."""
        ndims = (2, 1, 1, 2, 3)
        tensors = [pt.as_tensor_variable(value).astype("float64") for value in inputs]
        if [tensor.ndim for tensor in tensors] != list(ndims):
            raise TypeError(f"the inputs must have {ndims} dimensions, not {[tensor.ndim for tensor in tensors]}")
        gradients = [pt.tensor(dtype="float64", shape=tensor.type.shape) for tensor in tensors[2:]]
        return Apply(self, tensors, [pt.dscalar(), *gradients])

    def perform(self, node: Apply, inputs: Sequence[Any], output_storage: Any) -> None:
        """Evaluate outside of compiled graphs."""
        results = log_likelihood_and_gradient(*(np.ascontiguousarray(value) for value in inputs))
        for storage, result in zip(output_storage, results, strict=True):
            storage[0] = np.asarray(result)

    def infer_shape(self, node: Apply, input_shapes: list[Any]) -> list[Any]:
        """Return the shapes of the outputs: a scalar and the shapes of the parameters."""
        return [(), *input_shapes[2:]]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        """Say that only the log-likelihood is differentiable, and only by the parameters."""
        return [[False] * 4, [False] * 4, *([[True, False, False, False]] * 3)]

    def pullback(
        self, inputs: Sequence[Variable], outputs: Sequence[Variable], cotangents: Sequence[Variable]
    ) -> list[Variable]:
        """Return the derivatives that the forward pass has computed already."""
        scale = cotangents[0]
        data = [disconnected_type() for _ in inputs[:2]]
        if isinstance(scale.type, DisconnectedType):
            return data + [grad_not_implemented(self, i, inputs[i]) for i in range(2, 5)]
        return data + [scale * gradient for gradient in outputs[1:]]


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

    return evaluate, VERSION


_log_likelihood = MixtureLogLikelihood()


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
