"""Differentiation by complex steps, and a density that can be differentiated so: it conjugates nothing."""

import numpy as np

STEP = 1e-30


def log_density(Z, weights, means, covariances):
    parts = []
    for weight, mean, cov in zip(weights, means, covariances, strict=True):
        offsets = Z - mean
        squares = np.einsum("nd,nd->n", offsets, np.linalg.solve(cov, offsets.T).T)
        parts.append(weight * np.exp(-0.5 * squares) / np.sqrt(np.linalg.det(2.0 * np.pi * cov)))
    return np.log(sum(parts))


def slopes(function, at):
    """Differentiate by complex steps, exact to rounding; the last axis of the result is the coordinate."""
    steps = STEP * 1j * np.eye(len(at))
    return np.stack([np.imag(function(at + step)) / STEP for step in steps], axis=-1)


def second_slopes(function, at, width=1e-4):
    """Differentiate the exact slopes by differences of fourth order."""

    def slope_at(step):
        return slopes(function, at + step)

    rows = [
        (8.0 * (slope_at(step) - slope_at(-step)) - slope_at(2 * step) + slope_at(-2 * step)) / (12.0 * width)
        for step in width * np.eye(len(at))
    ]
    return np.stack(rows)
