"""Operations of PyTensor on stacks of small matrices, with derivatives in closed form.

A prior on covariances wants determinants, inverses and products of a few small matrices. In PyTensor's own operations
these and their derivatives are some thirty nodes, several of which call LAPACK or BLAS: more than half of the time that
a model took to compile. Here each is a loop that is compiled once for all models (kernels/matrices.py,
kernels/matrix_functions.py). All take any number of leading dimensions, so that thousands of draws are one call.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, cast

import numpy as np
import pytensor.tensor as pt
from numpy.typing import NDArray
from pytensor.gradient import DisconnectedType
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.graph.replace import _vectorize_node
from pytensor.link.numba.dispatch.basic import numba_njit, register_funcify_default_op_cache_key
from pytensor.tensor.utils import _parse_gufunc_signature

from bayesgmm.kernels import matrices, matrix_functions
from bayesgmm.kernels.caching import version_with

__all__ = [
    "cholesky_factor",
    "exponential",
    "general_inverse",
    "gram",
    "log_determinant",
    "placed",
    "polar_factor",
    "positive_inverse",
    "precisions_of_coordinates",
    "product",
    "total",
]


_VERSION = version_with(__file__)


class _Stacked(Op):
    """An operation on stacks of arrays: its kernel knows one leading dimension, the operation any number of them.

    Graphs that numba compiles have one; more there are only where PyTensor evaluates node by node.

    Parameters
    ----------
    name : str
        The kernel, in kernels/matrices.py or kernels/matrix_functions.py.
    gufunc_signature : str
        What is stacked, as NumPy's generalised functions say it.
    derivative : callable, optional
        From inputs, outputs and cotangents of the outputs to those of the inputs.
    """

    __props__ = ("name", "gufunc_signature")

    def __init__(self, name: str, gufunc_signature: str, derivative: Callable[..., list[Any]] | None = None) -> None:
        self.name, self.gufunc_signature, self.derivative = name, gufunc_signature, derivative

    @property
    def kernel(self) -> Callable[..., Any]:
        """Return the compiled function."""
        home = matrices if hasattr(matrices, self.name) else matrix_functions
        found: Callable[..., Any] = getattr(home, self.name)
        return found

    @cached_property
    def cores(self) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
        """Return the letters of the dimensions of what is stacked, of inputs and of outputs."""
        inputs, outputs = _parse_gufunc_signature(self.gufunc_signature)
        return inputs, outputs

    def pullback(self, inputs: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
        """Return derivatives by the inputs."""
        if self.derivative is None:
            raise NotImplementedError(f"{self} is a derivative, and has none of its own")
        return self.derivative(inputs, outputs, cotangents)

    def make_node(self, *inputs: Any) -> Apply:
        """Build the node; inputs become float64 tensors, which must have the same leading dimensions, one at least."""
        tensors = [pt.as_tensor_variable(value).astype("float64") for value in inputs]
        letters, results = self.cores
        leading = {tensor.ndim - len(core) for tensor, core in zip(tensors, letters, strict=True)}
        if len(leading) != 1 or min(leading) < 1:
            raise TypeError(f"{self} wants stacks, not inputs with {[tensor.ndim for tensor in tensors]} dimensions")
        n_leading = min(leading)
        known = {
            letter: length
            for tensor, core in zip(tensors, letters, strict=True)
            for letter, length in zip(core, tensor.type.shape[n_leading:], strict=True)
        }
        batch = tensors[0].type.shape[:n_leading]
        shapes = [(*batch, *(known.get(letter) for letter in core)) for core in results]
        return Apply(self, tensors, [pt.tensor(dtype="float64", shape=shape) for shape in shapes])

    def perform(self, node: Apply, inputs: Sequence[Any], output_storage: Any) -> None:
        """Evaluate outside of compiled graphs."""
        shapes = zip(map(np.shape, inputs), self.cores[0], strict=True)
        leading = {shape[: len(shape) - len(core)] for shape, core in shapes}
        if len(leading) > 1:
            raise ValueError(f"{self} wants stacks of the same length, not {sorted(leading)}")
        batch = leading.pop()
        stacks = [np.ascontiguousarray(value).reshape(-1, *np.shape(value)[len(batch) :]) for value in inputs]
        found = self.kernel(*stacks)
        for storage, result in zip(output_storage, found if isinstance(found, tuple) else (found,), strict=True):
            storage[0] = result.reshape(*batch, *result.shape[1:])


@_vectorize_node.register(_Stacked)
def _vectorize_stacked(op: _Stacked, node: Apply, *batched_inputs: Any) -> Any:
    """Put the leading dimensions of a batch before every input, also where it is the same for all of the batch."""
    n_leading = [value.ndim - len(core) for value, core in zip(batched_inputs, op.cores[0], strict=True)]
    most = n_leading.index(max(n_leading))
    batch = [batched_inputs[most].shape[i] for i in range(n_leading[most])]
    inputs = [
        value if count == n_leading[most] else pt.broadcast_to(value, (*batch, *value.shape[count:]))
        for value, count in zip(batched_inputs, n_leading, strict=True)
    ]
    return op.make_node(*inputs)


@register_funcify_default_op_cache_key(_Stacked)
def _numba_stacked(op: _Stacked, node: Apply, **_kwargs: Any) -> Any:
    kernel, first = op.kernel, cast("Any", node.inputs[0])
    if first.ndim - len(op.cores[0][0]) != 1:
        raise NotImplementedError(f"{op} is compiled for one leading dimension")
    if len(node.inputs) == 1:

        @numba_njit
        def alone(first: Any) -> Any:
            return kernel(np.ascontiguousarray(first))

        return alone, _VERSION

    if len(node.inputs) == 3:

        @numba_njit
        def all_three(first: Any, second: Any, third: Any) -> Any:
            if len(first) != len(second) or len(first) != len(third):
                raise ValueError("stacks of matrices differ in length")
            return kernel(np.ascontiguousarray(first), np.ascontiguousarray(second), np.ascontiguousarray(third))

        return all_three, _VERSION

    @numba_njit
    def both(first: Any, second: Any) -> Any:
        if len(first) != len(second):
            raise ValueError("stacks of matrices differ in length")
        return kernel(np.ascontiguousarray(first), np.ascontiguousarray(second))

    return both, _VERSION


# -------------------------------------------------------------------- the operations and their derivatives


_by_coordinates = _Stacked("coordinates_pullback", "(m),(p,p)->(m)")
_by_gram_factor = _Stacked("gram_pullback", "(p,q),(p,p)->(p,q)")
_by_factored = _Stacked("factors_pullback", "(p,p),(p,p)->(p,p)")
_by_inverted = _Stacked("inverse_pullback", "(p,p),(p,p)->(p,p)")
_by_polar_factor = _Stacked("polar_pullback", "(p,p),(p,p),(p,p)->(p,p)")
_by_exponent = _Stacked("exponentials_pullback", "(p,p),(p),(p,p)->(p,p)")
_by_inverted_of_any_kind = _Stacked("general_inverses_pullback", "(p,p),(p,p)->(p,p)")


def _coordinates_derivative(inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
    return [_by_coordinates(inputs[0], cotangents[0])]


def _gram_derivative(inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
    return [_by_gram_factor(inputs[0], cotangents[0])]


def _factor_derivative(inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
    return [_by_factored(outputs[0], cotangents[0])]


def _total_derivative(inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
    return [pt.zeros_like(inputs[0]) + pt.expand_dims(cotangents[0], -3)]


def _product_derivative(inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
    first, second = inputs
    return [_product(cotangents[0], second.mT), _product(first.mT, cotangents[0])]


def _log_determinant_derivative(inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
    return [_of_both(cotangents, outputs[1], lambda cotangent: _by_inverted(outputs[1], cotangent))]


def _general_inverse_derivative(inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
    return [_of_both(cotangents, outputs[1].mT, lambda cotangent: _by_inverted_of_any_kind(outputs[1], cotangent))]


def _polar_derivative(inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
    of_rotations, of_logs, _ = cotangents
    rotations, _, inverses = outputs
    return [_of_both((of_logs, of_rotations), inverses.mT, lambda by: _by_polar_factor(inputs[0], rotations, by))]


def _exponential_derivative(inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
    return [_by_exponent(outputs[1], outputs[2], cotangents[0])]


def _of_both(cotangents: Sequence[Any], by_log: Any, by_matrix: Callable[[Any], Any]) -> Any:
    """Add what comes from a log determinant to what comes from a matrix, where each has been used."""
    of_logs, of_matrices = cotangents
    parts = []
    if not isinstance(of_logs.type, DisconnectedType):
        parts.append(of_logs[..., None, None] * by_log)
    if not isinstance(of_matrices.type, DisconnectedType):
        parts.append(by_matrix(of_matrices))
    return sum(parts[1:], start=parts[0])


_coordinates = _Stacked("precisions_of", "(m)->(p,p)", _coordinates_derivative)
_gram = _Stacked("gram_matrices", "(p,q)->(p,p)", _gram_derivative)
_factor = _Stacked("cholesky_factors", "(p,p)->(p,p)", _factor_derivative)
_total = _Stacked("totals", "(k,p,q)->(p,q)", _total_derivative)
_product = _Stacked("products", "(p,q),(q,r)->(p,r)", _product_derivative)
_log_determinant = _Stacked("log_determinants", "(p,p)->(),(p,p)", _log_determinant_derivative)
_general_inverse = _Stacked("general_inverses", "(p,p)->(),(p,p)", _general_inverse_derivative)

_polar = _Stacked("polar_factors", "(p,p)->(p,p),(),(p,p)", _polar_derivative)
_exponential = _Stacked("exponentials", "(p,p)->(p,p),(p,p),(p)", _exponential_derivative)


def exponential(matrices: Any) -> Any:
    """Return the exponentials of symmetric matrices.

    Parameters
    ----------
    matrices : tensor_like, shape (..., p, p)
        A stack of symmetric matrices.

    Returns
    -------
    TensorVariable
        Shape (..., p, p).
    """
    return _exponential(matrices)[0]


def polar_factor(matrices: Any) -> tuple[Any, Any]:
    """Return the rotations nearest to matrices, and the logarithms of their determinants.

    Parameters
    ----------
    matrices : tensor_like, shape (..., p, p)
        A stack of matrices with positive determinants.

    Returns
    -------
    rotations, logs : TensorVariable
        Shapes (..., p, p) and (...); NaN where a determinant is not positive.
    """
    found: Any = _polar(matrices)
    return found[0], found[1]


def precisions_of_coordinates(coordinates: Any) -> Any:
    """Return positive definite matrices of log-Cholesky coordinates.

    Parameters
    ----------
    coordinates : tensor_like, shape (..., p (p + 1) / 2)
        Lower triangles row by row, the logarithms of diagonal elements in their places; one leading dimension at least.

    Returns
    -------
    TensorVariable
        Matrices L L', shape (..., p, p).
    """
    return _coordinates(coordinates)


def gram(factors: Any) -> Any:
    """Return A A' of every matrix of a stack.

    Parameters
    ----------
    factors : tensor_like, shape (..., p, q)
        Matrices A; one leading dimension at least.

    Returns
    -------
    TensorVariable
        Symmetric matrices, shape (..., p, p).
    """
    return _gram(factors)


def cholesky_factor(matrices: Any) -> Any:
    """Return the lower Cholesky factors of symmetric, positive definite matrices.

    Parameters
    ----------
    matrices : tensor_like, shape (..., p, p)
        A stack of matrices.

    Returns
    -------
    TensorVariable
        Shape (..., p, p); NaN from the column on at which a matrix is not positive definite.
    """
    return _factor(matrices)


def placed(values: Any, patterns: NDArray[np.float64]) -> Any:
    """Return matrices that are sums of given patterns, such as those with one element that is not zero.

    Parameters
    ----------
    values : tensor_like, shape (..., m)
        What the patterns are multiplied by.
    patterns : ndarray, shape (m, p, q)
        The patterns.

    Returns
    -------
    TensorVariable
        Shape (..., p, q).
    """
    return (pt.as_tensor_variable(values)[..., None, None] * patterns).sum(axis=-3)


def total(matrices: Any) -> Any:
    """Return the sum of the matrices of a stack.

    Parameters
    ----------
    matrices : tensor_like, shape (k, p, q)
        The stack.

    Returns
    -------
    TensorVariable
        Shape (1, p, q).
    """
    return _total(pt.as_tensor_variable(matrices)[None])


def log_determinant(matrices: Any) -> Any:
    """Return the log determinants of symmetric, positive definite matrices.

    Parameters
    ----------
    matrices : tensor_like, shape (..., p, p)
        One matrix or a stack.

    Returns
    -------
    TensorVariable
        Shape (...); NaN where a matrix is not positive definite.
    """
    stack = pt.as_tensor_variable(matrices)
    return _log_determinant(stack)[0] if stack.ndim > 2 else _log_determinant(stack[None])[0][0]


def positive_inverse(matrices: Any) -> Any:
    """Return the inverses of symmetric, positive definite matrices.

    Parameters
    ----------
    matrices : tensor_like, shape (..., p, p)
        A stack of matrices.

    Returns
    -------
    TensorVariable
        Shape (..., p, p); NaN where a matrix is not positive definite.
    """
    return _log_determinant(matrices)[1]


def general_inverse(matrices: Any) -> tuple[Any, Any]:
    """Return logarithms of absolute determinants, and inverses.

    Parameters
    ----------
    matrices : tensor_like, shape (..., p, p)
        A stack of matrices.

    Returns
    -------
    logs, inverses : TensorVariable
        Shapes (...) and (..., p, p).
    """
    found: Any = _general_inverse(matrices)
    return found[0], found[1]


def product(first: Any, second: Any) -> Any:
    """Multiply matrices, or stacks of them pair by pair.

    Parameters
    ----------
    first, second : tensor_like, shapes (..., p, q) and (..., q, r)
        Matrices, with the same leading dimensions.

    Returns
    -------
    TensorVariable
        Shape (..., p, r).
    """
    first, second = pt.as_tensor_variable(first), pt.as_tensor_variable(second)
    return _product(first, second) if first.ndim > 2 else _product(first[None], second[None])[0]
