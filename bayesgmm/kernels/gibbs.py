"""The Gibbs sweep: labels drawn and counted in one pass over the rows, then parameters from what was counted.

Rows go by blocks, features apart, so that distances are computed for a whole block at once. A row leaves behind its
label and its share of counts, sums and squares, taken around the current mean of the component that it was given to:
nothing of the size rows x components is kept, and an offset of the data costs no digits.

Random numbers for parameters come from xoshiro256++ (Blackman & Vigna 2021). The one that decides on a label is a
function of seed, chain, sweep, row and copy, and of nothing else (SplitMix64: Steele, Lea & Flood 2014). So labels do
not depend on how rows are cut into chunks, nor on who runs a chunk, where, when, or how often.

A precision is held as its lower Cholesky factor, Lambda = L L'. A Wishart draw has that form at once if its rate is
factored from the lower right corner, R = V V' with an upper triangle V: then L = V^-T A with Bartlett's triangle A.

Two chains are made of these parts: `run_chain`, for a given number of components, and `run_telescope`, which draws
that number too.
"""

import math
from typing import NamedTuple

import numba
import numpy as np

__all__ = ["DYNAMIC", "PROCESS", "STATIC", "NumberPrior", "Parameters", "Prior", "allocate", "draw_parameters",
           "fill_urn", "label_key", "log_likelihoods", "run_chain", "run_telescope"]  # fmt: skip

#: Weights of a random number of components: Dirichlet(c), Dirichlet(alpha / K), or those of a Dirichlet process.
STATIC, DYNAMIC, PROCESS = 0, 1, 2

_jit = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz", "arcp"})
_jit_in_order = numba.njit(cache=True, nogil=True, error_model="numpy")

_ROWS = 256
_HALF_LOG_2PI = 0.9189385332046727
_LOWEST = -45.0  # a share of exp(-45) is below the resolution of the uniform numbers
_UNIT = 1.1102230246251565e-16  # 2**-53
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Prior(NamedTuple):
    """The prior and the structure, standardised units; for diagonal structures the matrices hold a diagonal only."""

    location: np.ndarray  # (D,)
    mean_precision: np.ndarray  # (D, D)
    dof: float
    scale_dof: float
    scale_rate: np.ndarray  # (p, p), the inverse of S; for spheres p = 1
    guard: np.ndarray  # (p,)
    guard_is_normalised: bool
    is_diagonal: bool
    is_spherical: bool
    is_shared: bool


class Parameters(NamedTuple):
    """The parameters of a chain, changed in place."""

    log_weights: np.ndarray  # (K,)
    means: np.ndarray  # (K, D)
    factors: np.ndarray  # (K, D, D), lower triangles L with precision L L'
    scale: np.ndarray  # (p, p), the shared scale matrix C


class NumberPrior(NamedTuple):
    """The prior on the number of components and on the concentration of the weights."""

    log_prior: np.ndarray  # (k_max + 1,), by number of components; entry 0 is not used
    kind: int  # STATIC, DYNAMIC or PROCESS
    shape: float  # alpha ~ F(shape, rate) for DYNAMIC, Gamma(shape, rate) for PROCESS; 0: alpha is fixed
    rate: float


# -------------------------------------------------------------------- random numbers


@_jit_in_order
def _rotate(x, count):
    return (x << np.uint64(count)) | (x >> np.uint64(64 - count))


@_jit_in_order
def _uniform(state):
    """Return a number in the open interval (0, 1), a multiple of 2^-53 plus half of that."""
    first, second = state[0], state[1]
    result = _rotate(first + state[3], 23) + first
    state[2] ^= first
    state[3] ^= second
    state[1] ^= state[2]
    state[0] ^= state[3]
    state[2] ^= second << np.uint64(17)
    state[3] = _rotate(state[3], 45)
    return (np.float64(result >> np.uint64(11)) + 0.5) * _UNIT


@_jit_in_order
def _mix(x):
    """Return the output of SplitMix64 at a counter."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@_jit_in_order
def label_key(stream):
    """Return the key of a sweep's labels, and move on to the next sweep.

    Parameters
    ----------
    stream : ndarray of uint64, shape (4,)
        The key of a chain and the number of its sweep; the latter is advanced.

    Returns
    -------
    uint64
        For `allocate`.
    """
    key = _mix(stream[0] + _GOLDEN * stream[1])
    stream[1] += np.uint64(1)
    return key


@_jit_in_order
def _normal(state):
    """Return a standard normal number (Box & Muller 1958)."""
    radius = math.sqrt(-2.0 * math.log(_uniform(state)))
    return radius * math.cos(2.0 * math.pi * _uniform(state))


@_jit_in_order
def _log_gamma_draw(shape, state):
    """Return the logarithm of a Gamma(shape, 1) number (Marsaglia & Tsang 2000), which cannot underflow."""
    boost = 0.0
    if shape < 1.0:
        boost = math.log(_uniform(state)) / shape
        shape += 1.0
    d = shape - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    while True:
        x = _normal(state)
        v = (1.0 + c * x) ** 3
        if v > 0.0 and math.log(_uniform(state)) < 0.5 * x * x + d - d * v + d * math.log(v):
            return math.log(d * v) + boost


# -------------------------------------------------------------------- small matrices

# Copies and sums are loops: numba spends seconds on compiling each `a[:] = b`, for the sake of its error messages.


@_jit
def _copy(source, target):
    """Copy a vector."""
    for i in range(source.shape[0]):
        target[i] = source[i]


@_jit
def _copy_matrix(source, target):
    for i in range(source.shape[0]):
        for j in range(source.shape[1]):
            target[i, j] = source[i, j]


@_jit
def _add_matrix(source, target):
    for i in range(source.shape[0]):
        for j in range(source.shape[1]):
            target[i, j] += source[i, j]


@_jit
def _copy_parameters(source, k, target, draw):
    """Write the leading components of a chain's parameters to a place among its draws."""
    for component in range(k):
        target.log_weights[draw, component] = source.log_weights[component]
        _copy(source.means[component], target.means[draw, component])
        _copy_matrix(source.factors[component], target.factors[draw, component])


@_jit
def _sum(values, count):
    total = 0.0
    for i in range(count):
        total += values[i]
    return total


@_jit
def _upper_cholesky(a, v):
    """Write the upper triangle v with v v' = a."""
    p = a.shape[0]
    for j in range(p - 1, -1, -1):
        total = a[j, j]
        for m in range(j + 1, p):
            total -= v[j, m] * v[j, m]
        v[j, j] = math.sqrt(total)
        for i in range(j):
            total = a[i, j]
            for m in range(j + 1, p):
                total -= v[i, m] * v[j, m]
            v[i, j] = total / v[j, j]


@_jit
def _add_square(factor, out):
    """Add L L' to out."""
    p = factor.shape[0]
    for i in range(p):
        for j in range(i + 1):
            total = 0.0
            for m in range(j + 1):
                total += factor[i, m] * factor[j, m]
            out[i, j] += total
            if i != j:
                out[j, i] += total


@_jit
def _log_determinant(a):
    v = np.empty_like(a)
    _upper_cholesky(a, v)
    total = 0.0
    for j in range(a.shape[0]):
        total += 2.0 * math.log(v[j, j])
    return total


@_jit
def _wishart(dof, rate, state, factor):
    """Write L with L L' ~ Wishart(dof, rate^-1)."""
    p = rate.shape[0]
    v = np.empty((p, p))
    _upper_cholesky(rate, v)
    for j in range(p):
        for i in range(j, p):
            total = (
                _normal(state) if i > j else math.exp(0.5 * _log_gamma_draw(0.5 * (dof - i), state)) * math.sqrt(2.0)
            )
            for m in range(j, i):
                total -= v[m, i] * factor[m, j]
            factor[i, j] = total / v[i, i]


# -------------------------------------------------------------------- labels and what they add up to


@_jit
def _load(rows, start, size, x):
    for b in range(size):
        for j in range(rows.shape[1]):
            x[j, b] = rows[start + b, j]


@_jit
def _log_joint(x, size, mean, factor, is_diagonal, constant, c, y, out):
    """Write log w_k + log N(x; k) of a block to out."""
    d = x.shape[0]
    for j in range(d):
        x_j, c_j, mean_j = x[j], c[j], mean[j]
        for b in range(size):
            c_j[b] = x_j[b] - mean_j
    for b in range(size):
        out[b] = constant
    for i in range(d):
        for b in range(size):
            y[b] = 0.0
        for j in range(i, i + 1 if is_diagonal else d):
            f, c_j = factor[j, i], c[j]
            for b in range(size):
                y[b] += f * c_j[b]
        for b in range(size):
            out[b] -= 0.5 * y[b] * y[b]


@_jit_in_order
def _exp(x):
    """Return exp(x) for -45 <= x <= 0 to 1e-13, in a form that vectorises: exp(x / 256), squared eight times."""
    r = x * 0.00390625
    p = 1.0 / 3628800.0
    p = p * r + 1.0 / 362880.0
    p = p * r + 1.0 / 40320.0
    p = p * r + 1.0 / 5040.0
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    p *= p
    p *= p
    p *= p
    p *= p
    p *= p
    p *= p
    p *= p
    return p * p


@_jit
def _accumulate(log_joint, size, top, total):
    """Turn log joint densities into running sums over the components, relative to exp(top), in place."""
    first = log_joint[0]
    for b in range(size):
        top[b] = first[b]
        total[b] = 0.0
    for component in range(1, log_joint.shape[0]):
        row = log_joint[component]
        for b in range(size):
            top[b] = row[b] if row[b] > top[b] else top[b]
    for component in range(log_joint.shape[0]):
        row = log_joint[component]
        for b in range(size):
            gap = row[b] - top[b]
            share = _exp(gap if gap > _LOWEST else _LOWEST)
            total[b] += share if gap > _LOWEST else 0.0
            row[b] = total[b]


@_jit
def _log_likelihood(top, total, copies, start, size):
    """Return the sum of copies (top + log total), with one logarithm for sixteen rows that occur once."""
    value, product, waiting = 0.0, 1.0, 0
    for b in range(size):
        count = copies[start + b]
        if count == 0:
            continue
        value += count * top[b]
        if count == 1:
            product *= total[b]
            waiting += 1
        else:
            value += count * math.log(total[b])
        if waiting == 16:
            value += math.log(product)
            product, waiting = 1.0, 0
    return value + math.log(product)


@_jit
def _draw_labels(running, total, size, key, number, threshold, drawn):
    """Draw one label for each row of a block, which begins with the row of that number."""
    for b in range(size):
        bits = _mix(key + _GOLDEN * np.uint64(number + b)) >> np.uint64(11)
        threshold[b] = (np.float64(np.int64(bits)) + 0.5) * _UNIT * total[b]
        drawn[b] = 0
    for component in range(running.shape[0] - 1):
        row = running[component]
        for b in range(size):
            drawn[b] += row[b] <= threshold[b]


@_jit
def _sort_by_label(x, size, wanted, drawn, means, ends, sorted_x):
    """Copy the wanted rows of a block, label by label, as offsets from the means; `ends` says where labels end."""
    for component in range(ends.shape[0]):
        ends[component] = 0
    for b in range(size):
        ends[drawn[b]] += wanted[b]
    total = 0
    for component in range(ends.shape[0]):
        total += ends[component]
        ends[component] = total - ends[component]
    for b in range(size):
        if wanted[b]:
            label = drawn[b]
            position = ends[label]
            ends[label] = position + 1
            for j in range(x.shape[0]):
                sorted_x[j, position] = x[j, b] - means[label, j]


@_jit
def _add_sums(sorted_x, ends, is_diagonal, s0, s1, s2):
    """Add counts, sums and squares of rows that are sorted by label."""
    first = 0
    for component in range(ends.shape[0]):
        last = ends[component]
        if last == first:
            continue
        s0[component] += last - first
        for i in range(sorted_x.shape[0]):
            x_i, total = sorted_x[i, first:last], 0.0
            for b in range(last - first):
                total += x_i[b]
            s1[component, i] += total
            for j in range(i if is_diagonal else 0, i + 1):
                x_j, total = sorted_x[j, first:last], 0.0
                for b in range(last - first):
                    total += x_i[b] * x_j[b]
                s2[component, i, j] += total
        first = last


@_jit
def _log_constants(log_weights, factors, k, constants):
    """Write what the log joint densities of the leading `k` components have in front of the distance."""
    d = factors.shape[1]
    for component in range(k):
        constants[component] = log_weights[component] - d * _HALF_LOG_2PI
        for j in range(d):
            constants[component] += math.log(factors[component, j, j])


@_jit
def allocate(rows, copies, first, last, number, k, is_diagonal, parameters, key, labels, s0, s1, s2):
    """Draw the labels of rows `first` to `last` - 1 and add what they count to the sums (math.md, 10.1 and 10.2).

    Parameters
    ----------
    rows : ndarray of float64, shape (n, D)
        Rows, standardised units.
    copies : ndarray of int64, shape (n,)
        How often each row occurs; each copy gets a label of its own.
    first, last : int
        The rows of this call.
    number : int
        The number of the first row of `rows` among all rows, wherever they are.
    k : int
        Number of components in use, the leading ones of the parameters.
    is_diagonal : bool
        Whether the factors are diagonal.
    parameters : Parameters
        Current parameters.
    key : uint64
        From `label_key`.
    labels : ndarray of int16, shape (n,)
        Written in place: the label of the last copy.
    s0, s1, s2 : ndarray of float64, shapes (K,), (K, D), (K, D, D)
        Counts, sums and squares around the current means, added to in place; s2 is a lower triangle.

    Returns
    -------
    float
        The log-likelihood of these rows at the current parameters, labels summed out.
    """
    d = rows.shape[1]
    x, c, y = np.empty((d, _ROWS)), np.empty((d, _ROWS)), np.empty(_ROWS)
    running, top, total, threshold = np.empty((k, _ROWS)), np.empty(_ROWS), np.empty(_ROWS), np.empty(_ROWS)
    constants, ends = np.empty(k), np.empty(k, dtype=np.int64)
    drawn, wanted = np.empty(_ROWS, dtype=np.int64), np.empty(_ROWS, dtype=np.int64)
    _log_constants(parameters.log_weights, parameters.factors, k, constants)
    log_likelihood = 0.0
    for start in range(first, last, _ROWS):
        size = min(_ROWS, last - start)
        _load(rows, start, size, x)
        for component in range(k):
            mean, factor = parameters.means[component], parameters.factors[component]
            _log_joint(x, size, mean, factor, is_diagonal, constants[component], c, y, running[component])
        _accumulate(running, size, top, total)
        log_likelihood += _log_likelihood(top, total, copies, start, size)
        copy, waiting = 0, 1
        while waiting > 0:
            copy_key = _mix(key + _GOLDEN * np.uint64(copy))
            _draw_labels(running, total, size, copy_key, number + start, threshold, drawn)
            waiting = 0
            for b in range(size):
                count = copies[start + b]
                wanted[b] = count > copy
                waiting += count > copy + 1
                labels[start + b] = drawn[b] if count > copy else labels[start + b]
            _sort_by_label(x, size, wanted, drawn, parameters.means, ends, c)
            _add_sums(c, ends, is_diagonal, s0, s1, s2)
            copy += 1
    return log_likelihood


@_jit
def _clear(s0, s1, s2, first):
    """Set the sums of components `first` and later to zero."""
    for component in range(first, s0.shape[0]):
        s0[component] = 0.0
        for i in range(s1.shape[1]):
            s1[component, i] = 0.0
            for j in range(s2.shape[2]):
                s2[component, i, j] = 0.0


@_jit
def _allocate_all(rows, copies, bounds, k, is_diagonal, parameters, stream, labels, s0, s1, s2):
    """Draw all labels, chunk by chunk, and reduce the sums in order; return the log-likelihood."""
    key = label_key(stream)
    _clear(s0, s1, s2, 0)
    part0, part1, part2 = np.empty_like(s0), np.empty_like(s1), np.empty_like(s2)
    log_likelihood = 0.0
    for chunk in range(bounds.shape[0] - 1):
        _clear(part0, part1, part2, 0)
        log_likelihood += allocate(
            rows, copies, bounds[chunk], bounds[chunk + 1], 0, k, is_diagonal, parameters, key, labels,
            part0, part1, part2,
        )  # fmt: skip
        for component in range(k):
            s0[component] += part0[component]
            for i in range(s1.shape[1]):
                s1[component, i] += part1[component, i]
            _add_matrix(part2[component], s2[component])
    return log_likelihood


@_jit
def log_likelihoods(rows, row_weights, log_weights, means, factors, is_diagonal, out):
    """Add the log-likelihoods of rows under many mixtures (math.md, 4.5).

    Parameters
    ----------
    rows : ndarray of float64, shape (n, D)
        Rows, standardised units.
    row_weights : ndarray of float64, shape (n,)
        Their weights; a row of weight zero has no effect, whatever it holds.
    log_weights : ndarray of float64, shape (S, K)
        Log component weights of each mixture.
    means : ndarray of float64, shape (S, K, D)
        Their means.
    factors : ndarray of float64, shape (S, K, D, D)
        Lower Cholesky factors of their precisions.
    is_diagonal : bool
        Whether the factors are diagonal.
    out : ndarray of float64, shape (S,)
        Added to in place.
    """
    (n, d), k = rows.shape, log_weights.shape[1]
    x, c, y = np.empty((d, _ROWS)), np.empty((d, _ROWS)), np.empty(_ROWS)
    running, top, total = np.empty((k, _ROWS)), np.empty(_ROWS), np.empty(_ROWS)
    constants = np.empty((len(out), k))
    for mixture in range(len(out)):
        _log_constants(log_weights[mixture], factors[mixture], k, constants[mixture])
    for start in range(0, n, _ROWS):
        size = min(_ROWS, n - start)
        _load(rows, start, size, x)
        for mixture in range(len(out)):
            for component in range(k):
                mean, factor = means[mixture, component], factors[mixture, component]
                _log_joint(x, size, mean, factor, is_diagonal, constants[mixture, component], c, y, running[component])
            _accumulate(running, size, top, total)
            out[mixture] += _log_likelihood(top, total, row_weights, start, size)


# -------------------------------------------------------------------- parameters given the labels


@_jit
def _draw_scale(prior, copies, parameters, state):
    """Draw C given the precisions of the leading `copies` components (math.md, 10.3)."""
    p = prior.scale_rate.shape[0]
    dof = prior.scale_dof + copies * prior.dof
    if prior.is_diagonal:
        for j in range(p):
            rate = prior.scale_rate[j, j]
            for k in range(copies):
                rate += parameters.factors[k, j, j] ** 2
            proposal = 2.0 * math.exp(_log_gamma_draw(0.5 * dof, state)) / rate
            current, guard = parameters.scale[j, j], prior.guard[j]
            log_ratio = math.log1p(guard / proposal) - math.log1p(guard / current)
            if not prior.guard_is_normalised or _is_accepted(0.5 * copies * prior.dof * log_ratio, state):
                parameters.scale[j, j] = proposal
        return
    rate, factor, proposal = np.empty((p, p)), np.zeros((p, p)), np.zeros((p, p))
    _copy_matrix(prior.scale_rate, rate)
    for k in range(copies):
        _add_square(parameters.factors[k], rate)
    _wishart(dof, rate, state, factor)
    _add_square(factor, proposal)
    if prior.guard_is_normalised:
        log_ratio = _guard_gap(proposal, prior.guard) - _guard_gap(parameters.scale, prior.guard)
        if not _is_accepted(0.5 * copies * prior.dof * log_ratio, state):
            return
    _copy_matrix(proposal, parameters.scale)


@_jit
def _guard_gap(scale, guard):
    """Return log |C + G| - log |C|."""
    guarded = np.empty_like(scale)
    _copy_matrix(scale, guarded)
    for j in range(guard.shape[0]):
        guarded[j, j] += guard[j]
    return _log_determinant(guarded) - _log_determinant(scale)


@_jit
def _is_accepted(log_ratio, state):
    return log_ratio >= 0.0 or math.log(_uniform(state)) < log_ratio


@_jit
def _draw_precision(prior, scale, count, s2, state, factor):
    """Draw a precision given C, the means and `count` rows with squares s2, a lower triangle."""
    d, p = factor.shape[0], prior.scale_rate.shape[0]
    if prior.is_diagonal:
        shape = 0.5 * (prior.dof + count * (d if prior.is_spherical else 1))
        for block in range(p):
            rate = scale[block, block] + prior.guard[block]
            for j in range(0 if prior.is_spherical else block, d if prior.is_spherical else block + 1):
                rate += s2[j, j]
            root = math.sqrt(2.0 * math.exp(_log_gamma_draw(shape, state)) / rate)
            for j in range(0 if prior.is_spherical else block, d if prior.is_spherical else block + 1):
                factor[j, j] = root
        return
    rate = np.empty_like(scale)
    _copy_matrix(scale, rate)
    for i in range(d):
        rate[i, i] += prior.guard[i]
        for j in range(i + 1):
            rate[i, j] += s2[i, j]
            if i != j:
                rate[j, i] += s2[i, j]
    _wishart(prior.dof + count, rate, state, factor)


@_jit
def _draw_mean(prior, count, s1, factor, state, mean):
    """Draw a mean given its precision and `count` rows, whose offsets from the current mean have the sums s1."""
    d = mean.shape[0]
    precision, v, shift = np.zeros((d, d)), np.empty((d, d)), np.empty(d)
    _add_square(factor, precision)
    for i in range(d):
        shift[i] = 0.0
        for j in range(d):
            shift[i] += precision[i, j] * s1[j] + prior.mean_precision[i, j] * (prior.location[j] - mean[j])
    for i in range(d):
        for j in range(d):
            precision[i, j] = count * precision[i, j] + prior.mean_precision[i, j]
    _upper_cholesky(precision, v)
    for i in range(d - 1, -1, -1):
        for j in range(i + 1, d):
            shift[i] -= v[i, j] * shift[j]
        shift[i] /= v[i, i]
    for i in range(d):
        shift[i] += _normal(state)
    for i in range(d):
        for j in range(i):
            shift[i] -= v[j, i] * shift[j]
        shift[i] /= v[i, i]
        mean[i] += shift[i]


@_jit
def _draw_components(prior, k, s0, s1, s2, parameters, state):
    """Draw scale, precisions and means of the leading `k` components."""
    _draw_scale(prior, 1 if prior.is_shared else k, parameters, state)
    if prior.is_shared:
        squares = np.zeros(s2.shape[1:])
        for component in range(k):
            _add_matrix(s2[component], squares)
        _draw_precision(prior, parameters.scale, _sum(s0, k), squares, state, parameters.factors[0])
        for component in range(1, parameters.factors.shape[0]):
            _copy_matrix(parameters.factors[0], parameters.factors[component])
    for component in range(k):
        factor = parameters.factors[component]
        if not prior.is_shared:
            _draw_precision(prior, parameters.scale, s0[component], s2[component], state, factor)
        _draw_mean(prior, s0[component], s1[component], factor, state, parameters.means[component])


@_jit
def _normalise(log_weights, k):
    """Subtract from the leading `k` numbers the logarithm of the sum of their exponentials."""
    top = log_weights[0]
    for component in range(1, k):
        top = max(top, log_weights[component])
    total = 0.0
    for component in range(k):
        total += math.exp(log_weights[component] - top)
    for component in range(k):
        log_weights[component] -= top + math.log(total)


@_jit
def draw_parameters(prior, concentration, s0, s1, s2, parameters, state):
    """Draw weights, scale, precisions and means given what the labels have counted (math.md, 10.3).

    Parameters
    ----------
    prior : Prior
        The prior.
    concentration : ndarray of float64, shape (K,)
        Of the Dirichlet prior on the weights.
    s0, s1, s2 : ndarray
        From `allocate`, around the means in `parameters`.
    parameters : Parameters
        Current parameters, replaced by the draw.
    state : ndarray of uint64, shape (4,)
        Stream of random numbers, advanced.
    """
    k = s0.shape[0]
    _draw_components(prior, k, s0, s1, s2, parameters, state)
    for component in range(k):
        parameters.log_weights[component] = _log_gamma_draw(concentration[component] + s0[component], state)
    _normalise(parameters.log_weights, k)


@_jit
def run_chain(prior, concentration, rows, copies, bounds, parameters, streams, thin, draws, log_likelihoods, n_filled):
    """Make sweeps and keep every `thin`-th (math.md, 10.1 to 10.3).

    What is kept are the parameters before the labels are drawn from them, with their log-likelihood and the number of
    components that these labels fill.

    Parameters
    ----------
    prior : Prior
        The prior.
    concentration : ndarray of float64, shape (K,)
        Of the Dirichlet prior on the weights.
    rows : ndarray of float64, shape (n, D)
        Rows, standardised units.
    copies : ndarray of int64, shape (n,)
        How often each row occurs.
    bounds : ndarray of int64, shape (chunks + 1,)
        Where the chunks of rows begin and end.
    parameters : Parameters
        Where the chain stands; moved.
    streams : ndarray of uint64, shape (2, 4)
        Random numbers: of the labels, and of the parameters; advanced.
    thin : int
        Sweeps for each draw that is kept.
    draws : Parameters
        Written in place: one more leading dimension, the draws to make. The scale is not kept.
    log_likelihoods : ndarray of float64, shape (draws,)
        Written in place.
    n_filled : ndarray of int64, shape (draws,)
        Written in place.
    """
    k, d = parameters.means.shape
    s0, s1, s2 = np.zeros(k), np.zeros((k, d)), np.zeros((k, d, d))
    labels = np.empty(rows.shape[0], dtype=np.int16)
    for draw in range(log_likelihoods.shape[0]):
        _copy_parameters(parameters, k, draws, draw)
        for sweep in range(thin):
            value = _allocate_all(
                rows, copies, bounds, k, prior.is_diagonal, parameters, streams[0], labels, s0, s1, s2
            )  # fmt: skip
            if sweep == 0:
                log_likelihoods[draw] = value
                n_filled[draw] = 0
                for component in range(k):
                    n_filled[draw] += s0[component] > 0.0
            draw_parameters(prior, concentration, s0, s1, s2, parameters, streams[1])


# -------------------------------------------------------------------- a random number of components


@_jit
def _filled_first(k, labels, s0, s1, s2, parameters):
    """Renumber the components so that the filled ones come first, in their order; return how many they are."""
    order, rank, filled = np.empty(k, dtype=np.int64), np.empty(k, dtype=np.int16), 0
    for component in range(k):
        if s0[component] > 0.0:
            order[filled] = component
            rank[component] = filled
            filled += 1
    for new in range(filled):
        old = order[new]
        if old == new:
            continue
        s0[new] = s0[old]
        _copy(s1[old], s1[new])
        _copy_matrix(s2[old], s2[new])
        _copy(parameters.means[old], parameters.means[new])
        _copy_matrix(parameters.factors[old], parameters.factors[new])
    _clear(s0, s1, s2, filled)
    for i in range(labels.shape[0]):
        labels[i] = rank[labels[i]]
    return filled


@_jit
def _draw_number(number, filled, counts, alpha, state):
    """Draw K given the partition (math.md, 10.5)."""
    k_max = number.log_prior.shape[0] - 1
    total = _sum(counts, filled)
    log_mass, top = np.empty(k_max + 1), -np.inf
    for k in range(filled, k_max + 1):
        value = number.log_prior[k] + math.lgamma(k + 1.0) - math.lgamma(k - filled + 1.0)
        if number.kind == STATIC:
            value += math.lgamma(alpha * k) - math.lgamma(alpha * k + total)
        elif value > -np.inf:
            for component in range(filled):
                value += math.lgamma(counts[component] + alpha / k) - math.lgamma(alpha / k)
        log_mass[k] = value
        top = max(top, value)
    total = 0.0
    for k in range(filled, k_max + 1):
        total += math.exp(log_mass[k] - top)
    threshold, k = _uniform(state) * total, filled
    running = math.exp(log_mass[k] - top)
    while k < k_max and running <= threshold:
        k += 1
        running += math.exp(log_mass[k] - top)
    return k


@_jit
def _log_alpha_density(number, k, filled, counts, alpha):
    """Return the log density of log(alpha) given the partition and K, but for a constant (math.md, 10.5)."""
    shape, rate = number.shape, number.rate
    value = math.lgamma(alpha) - math.lgamma(alpha + _sum(counts, filled))
    if number.kind == PROCESS:
        return value + (shape + filled) * math.log(alpha) - rate * alpha
    value += 0.5 * (shape * math.log(alpha) - (shape + rate) * math.log1p(shape * alpha / rate))
    for component in range(filled):
        value += math.lgamma(counts[component] + alpha / k) - math.lgamma(alpha / k)
    return value


@_jit
def _draw_alpha(number, k, filled, counts, alpha, state):
    """Move alpha by a random walk on its logarithm."""
    if number.shape == 0.0:
        return alpha
    here = _log_alpha_density(number, k, filled, counts, alpha)
    for _ in range(2):
        proposal = alpha * math.exp(_normal(state))
        there = _log_alpha_density(number, k, filled, counts, proposal)
        if _is_accepted(there - here, state):
            alpha, here = proposal, there
    return alpha


@_jit
def _draw_weights(number, k, filled, counts, alpha, state, log_weights):
    """Draw the weights of `k` components; return the number in use and the log weight that had no place."""
    if number.kind != PROCESS:
        gamma = alpha if number.kind == STATIC else alpha / k
        for component in range(k):
            log_weights[component] = _log_gamma_draw(gamma + counts[component], state)
        _normalise(log_weights, k)
        return k, -np.inf
    shares = np.empty(filled + 1)
    for component in range(filled):
        shares[component] = _log_gamma_draw(counts[component], state)
    shares[filled] = _log_gamma_draw(alpha, state)
    _normalise(shares, filled + 1)
    for component in range(filled):
        log_weights[component] = shares[component]
    rest, used = shares[filled], filled
    while used < k and rest > _LOWEST:
        log_left = math.log(_uniform(state)) / alpha
        log_weights[used] = rest + math.log(-math.expm1(log_left))
        rest += log_left
        used += 1
    _normalise(log_weights, used)
    return used, rest


@_jit
def _draw_empty(prior, filled, k, parameters, state):
    """Draw the parameters of components without rows from their prior given C."""
    d = parameters.means.shape[1]
    nothing, no_squares = np.zeros(d), np.zeros((d, d))
    for component in range(filled, k):
        factor = parameters.factors[component]
        if not prior.is_shared:
            _draw_precision(prior, parameters.scale, 0.0, no_squares, state, factor)
        _draw_mean(prior, 0.0, nothing, factor, state, parameters.means[component])


@_jit
def run_telescope(prior, number, rows, bounds, k, alpha, parameters, streams, thin, keep, labels, out):
    """Make sweeps of the telescoping sampler and keep every `thin`-th (math.md, 10.4 and 10.5).

    Parameters
    ----------
    prior : Prior
        The prior on means and precisions.
    number : NumberPrior
        The prior on the number of components and on the weights.
    rows : ndarray of float64, shape (n, D)
        Rows, standardised units.
    bounds : ndarray of int64, shape (chunks + 1,)
        Where the chunks of rows begin and end.
    k : int
        Number of components where the chain stands.
    alpha : float
        Concentration where the chain stands.
    parameters : Parameters
        Where the chain stands, with room for the largest number of components; moved.
    streams : ndarray of uint64, shape (2, 4)
        Random numbers; advanced.
    thin : int
        Sweeps for each draw that is kept.
    keep : int
        Every `keep`-th of these draws leaves its labels too.
    labels : ndarray of int16, shape (draws / keep rounded up, n)
        Written in place: the labels, filled components first.
    out : ndarray of float64, shape (draws, 5)
        Written in place: number of components, of filled components, log-likelihood, alpha, log weight left out.

    Returns
    -------
    k : int
        Number of components where the chain stands now.
    alpha : float
        Concentration where the chain stands now.
    """
    d = rows.shape[1]
    k_max = parameters.log_weights.shape[0]
    copies, own = np.ones(rows.shape[0], dtype=np.int64), np.empty(rows.shape[0], dtype=np.int16)
    s0, s1, s2 = np.zeros(k_max), np.zeros((k_max, d)), np.zeros((k_max, d, d))
    left_out = -np.inf
    state = streams[1]
    for draw in range(out.shape[0]):
        for sweep in range(thin):
            log_likelihood = _allocate_all(
                rows, copies, bounds, k, prior.is_diagonal, parameters, streams[0], own, s0, s1, s2
            )
            filled = _filled_first(k, own, s0, s1, s2, parameters)
            if sweep == 0:
                out[draw, 0], out[draw, 1], out[draw, 2] = k, filled, log_likelihood
                out[draw, 3], out[draw, 4] = alpha, left_out
                if draw % keep == 0:
                    _copy(own, labels[draw // keep])
            _draw_components(prior, filled, s0, s1, s2, parameters, state)
            k = k_max if number.kind == PROCESS else _draw_number(number, filled, s0, alpha, state)
            alpha = _draw_alpha(number, k, filled, s0, alpha, state)
            k, left_out = _draw_weights(number, k, filled, s0, alpha, state, parameters.log_weights)
            _draw_empty(prior, filled, k, parameters, state)
    return k, alpha


@_jit
def fill_urn(n, k, kind, alpha, probabilities):
    """Compute the prior of the number of filled components after `n` rows, by Polya's urn (math.md, 10.4).

    Parameters
    ----------
    n : int
        Number of rows.
    k : int
        Number of components; not used for PROCESS.
    kind : int
        STATIC, DYNAMIC or PROCESS.
    alpha : float
        Concentration.
    probabilities : ndarray of float64, shape (k_max + 1,)
        Written in place; for PROCESS the last entry stands for k_max and more.
    """
    last = probabilities.shape[0] - 1
    top = last if kind == PROCESS else min(k, last)
    each = 0.0 if kind == PROCESS else (alpha / k if kind == DYNAMIC else alpha)
    total = alpha if kind == PROCESS else each * k
    for filled in range(last + 1):
        probabilities[filled] = 0.0
    probabilities[0] = 1.0
    for i in range(n):
        for filled in range(min(i + 1, top), 0, -1):
            arriving = alpha if kind == PROCESS else each * (k - filled + 1)
            staying = total + i if filled == top else i + each * filled
            probabilities[filled] = (probabilities[filled] * staying + probabilities[filled - 1] * arriving) / (
                total + i
            )
        probabilities[0] = 0.0
