"""C functions around compiled functions of arrays, for callers that are not Python.

A sampler written in another language asks for a log density tens of thousands of times. Through the interpreter each
call costs more than the density of some hundred rows, and chains in threads queue for its lock. So a compiled function
gets the face of a C function here. It takes addresses only, works through as many points as it is given, and finds the
data in a table of addresses and shapes. That table is all that differs between two data sets: the machine code does
not know them, and holds for both.

All C functions here have the same five arguments: the length of a point, and the addresses of the points, of two
results, and of the table. The table begins with the number of points and the length of the first result's rows.

Arrays are filled element by element: an array that is assigned to a slice brings code with it that words an error, and
takes 3 s to compile.
"""

import ctypes
import types as python_types

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array
from numba.np.numpy_support import carray

__all__ = ["CFunction", "c_density", "c_expansion", "copy_point", "table_of"]

# Words of a table before the arrays.
_HEAD = 2

_numbers, _words = (types.CPointer(kind) for kind in (types.float64, types.int64))  # type: ignore[no-untyped-call]
_signature = types.int64(types.uint64, _numbers, _numbers, _numbers, _words)
_prototype = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_uint64, *[ctypes.c_void_p] * 4)
# As nutpie's samplers know them: zero, an error that a shorter step may avoid, one that ends the chain.
_WELL, _RAISED, _BAD_GRADIENT, _BAD_VALUE, _WRONG_SIZE = 0, 1, 3, 4, -1


class CFunction:
    """A C function, and what keeps it alive.

    Parameters
    ----------
    compiled : object
        What numba returned.
    """

    def __init__(self, compiled):
        self._compiled = compiled
        self.address = compiled.address
        self._call = _prototype(compiled.address)

    def __call__(self, points, first, second, table):
        """Work through points (S, size); the results are written to the arrays given, contiguous float64."""
        return self._call(points.shape[1], *(array.ctypes.data for array in (points, first, second, table)))


def table_of(arrays, n_points, width):
    """Return the table (int64) that a C function finds contiguous arrays by; they must outlive it.

    Parameters
    ----------
    arrays : sequence of ndarray
        C-contiguous arrays.
    n_points : int
        How many points a call works through.
    width : int
        Length of the rows of the first result.

    Returns
    -------
    ndarray of int64
        The table.
    """
    words = [n_points, width]
    for array in arrays:
        words += [array.ctypes.data, *array.shape]
    return np.array(words, dtype=np.int64)


def c_density(inner, layout, prepare):
    """Make the C function of a log density and its gradient.

    Points may be whitened: the first two arrays of the table are a centre (size,) and a matrix (size, size), by whose
    transpose a point is multiplied before the centre is added; empty arrays leave it as it is.

    Parameters
    ----------
    inner : numba dispatcher
        To be inlined: from a point (size,) and further arrays to the log density, an array without dimensions, and
        the gradient.
    layout : sequence of (dtype, int)
        Type and number of dimensions of the further arrays.
    prepare : callable
        Called with the function that numba will compile; returns whether the result may be kept on disk.

    Returns
    -------
    CFunction
        Writes gradients (S, size) and values (S,). What raised is NaN.
    """
    plane = np.dtype(np.float64)
    return _compiled(_density, inner, [(plane, 1), (plane, 2), *layout], prepare, n_first=2)


def c_expansion(inner, layout, prepare):
    """Make the C function of a function from points to vectors.

    Parameters
    ----------
    inner : numba dispatcher
        To be inlined: from a point (size,) and further arrays to a tuple with one vector.
    layout : sequence of (dtype, int)
        Type and number of dimensions of the further arrays.
    prepare : callable
        See `c_density`.

    Returns
    -------
    CFunction
        Writes vectors (S, width); the second result is not used.
    """
    return _compiled(_expansion, inner, layout, prepare)


def _compiled(template, inner, layout, prepare, n_first=0):
    """Compile a copy of a template that has an inner function and arrays of its own, after the first ones."""
    # Inlined, as the function itself should be: a layer is optimised with all that is below it, and takes 9 s of 61.
    # What is inlined cannot be called with a star.
    names = {"inner": inner}
    listed = "".join(f", arrays[{j}]" for j in range(len(layout) - n_first))
    exec(f"def at(point, arrays):\n    return inner(point{listed})", names)
    at = numba.njit(inline="always")(names["at"])

    own = {"at": at, "unpack": _unpacking(layout)}
    function = python_types.FunctionType(template.__code__, template.__globals__ | own, template.__name__)
    cache = prepare(function)
    options = {"cache": cache, "nopython": True, "error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}}
    return CFunction(numba.cfunc(_signature, **options)(function))


def _unpacking(layout):
    """Return a function from a table's address to the arrays that it lists."""
    kinds = types.Tuple([types.Array(numba.from_dtype(dtype), ndim, "C") for dtype, ndim in layout])

    @intrinsic
    def unpack(typing_context, table):
        def generate(context, builder, signature, arguments):
            word = context.get_value_type(types.intp)
            found, at = [], _HEAD
            for kind in kinds:
                words = [builder.load(builder.gep(arguments[0], [word(at + j)])) for j in range(1 + kind.ndim)]
                at += len(words)
                number = context.get_data_type(kind.dtype)
                size = context.get_abi_sizeof(number)
                strides = [word(size)]
                for length in words[:1:-1]:
                    strides.insert(0, builder.mul(strides[0], length))
                array = context.make_array(kind)(context, builder)
                data = builder.inttoptr(words[0], number.as_pointer())
                populate_array(array, data, words[1:], strides[: kind.ndim], size, None)
                found.append(array._getvalue())  # noqa: SLF001 (as all of numba's own arrays are made)
            return context.make_tuple(builder, signature.return_type, found)

        return kinds(table), generate

    return unpack


def at(point, arrays):  # pragma: no cover (stands for the function that a copy of a template has)
    """Return what is wanted at a point."""
    raise NotImplementedError


def unpack(table):  # pragma: no cover (the same)
    """Return the arrays of a table."""
    raise NotImplementedError


def _density(size, points, gradients, values, table):
    n_points, size = np.intp(table[0]), np.intp(size)
    arrays = unpack(table)
    centre, root, data = arrays[0], arrays[1], arrays[2:]
    is_whitened = len(centre) > 0
    if size != table[1]:
        return _WRONG_SIZE
    given = carray(points, (n_points, size))
    slopes, found = carray(gradients, (n_points, size)), carray(values, (n_points,))
    for s in range(n_points):
        found[s] = np.nan
        for i in range(size):
            slopes[s, i] = np.nan
    point = np.empty(size)
    try:
        for s in range(n_points):
            for i in range(size):
                point[i] = centre[i] if is_whitened else given[s, i]
            if is_whitened:
                for j in range(size):
                    for i in range(size):
                        point[i] += root[j, i] * given[s, j]
            value, gradient = at(point, data)
            found[s] = value[()]
            for j in range(size):
                total = 0.0 if is_whitened else gradient[j]
                if is_whitened:
                    for i in range(size):
                        total += root[j, i] * gradient[i]
                slopes[s, j] = total
    except Exception:  # noqa: BLE001 (numba knows no other kind)
        return _RAISED
    last = n_points - 1
    for j in range(size):
        if not np.isfinite(slopes[last, j]):
            return _BAD_GRADIENT
    return _WELL if np.isfinite(found[last]) else _BAD_VALUE


def _expansion(size, points, expanded, unused, table):
    n_points, width = np.intp(table[0]), np.intp(table[1])
    arrays = unpack(table)
    given, out = carray(points, (n_points, np.intp(size))), carray(expanded, (n_points, width))
    for s in range(n_points):
        for j in range(width):
            out[s, j] = np.nan
    try:
        for s in range(n_points):
            found = at(given[s], arrays)[0]
            for j in range(width):
                out[s, j] = found[j]
    except Exception:  # noqa: BLE001 (numba knows no other kind)
        return _RAISED
    return _WELL


@numba.cfunc(types.int64(types.uint64, types.uint64, _numbers, _numbers, _words), cache=True)
def copy_point(size, expanded, point, out, table):
    """Copy a point: what a sampler calls for whatever it shall keep of a draw."""
    for j in range(size):
        out[j] = point[j]
    return 0
