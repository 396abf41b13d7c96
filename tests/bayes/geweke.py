"""Geweke's joint test (2004): parameters and data drawn from the prior, and drawn in turn by the sampler and the model.

Both must have the same distribution, whatever the number of rows. The prior is drawn here from SciPy's Wishart, not by
the kernels.
"""

import arviz as az
import numpy as np
from scipy import stats

from bayesgmm.kernels.conditionals import Prior

LEAST_ESS = 2000


def make_prior(structure, d, *, guard=0.02, guard_is_normalised=False):
    """A prior that five rows cannot overrule, with a guard that matters."""
    p = 1 if structure.is_spherical else d
    rate = 0.5 * np.eye(p) if structure.is_diagonal else 0.5 * np.eye(p) + 0.1
    return Prior(
        location=np.linspace(-0.5, 0.5, d), mean_precision=0.6 * np.eye(d) + 0.2, dof=7.0, scale_dof=6.0,
        scale_rate=rate, guard=np.full(p, guard), guard_is_normalised=guard_is_normalised,
        is_diagonal=structure.is_diagonal, is_spherical=structure.is_spherical, is_shared=structure.is_shared,
    )  # fmt: skip


def draw_covariances(prior, k, d, size, rng):
    """Draw scale matrices (size, p, p) and precision factors (size, k, d, d)."""
    p, copies = len(prior.guard), 1 if prior.is_shared else k
    guard = np.diag(prior.guard) if prior.guard_is_normalised else np.zeros((p, p))

    def wishart(dof, inverse_rates):
        """Draw from Wishart(dof, inverse rate) for each of a stack; element by element where that is diagonal."""
        roots = np.linalg.cholesky(inverse_rates)
        if prior.is_diagonal:
            standard = np.eye(p) * rng.chisquare(dof, size=(len(inverse_rates), p))[:, None, :]
        else:
            standard = stats.wishart(dof, np.eye(p)).rvs(len(inverse_rates), random_state=rng).reshape(-1, p, p)
        return roots @ standard @ np.swapaxes(roots, -1, -2)

    scale = wishart(prior.scale_dof, np.stack([np.linalg.inv(prior.scale_rate)] * size))
    inverse = np.linalg.inv(scale + guard)
    precisions = np.stack([wishart(prior.dof, inverse) for _ in range(copies)], axis=1)
    if not prior.guard_is_normalised:
        penalty = np.einsum("p,skpp->s", prior.guard, precisions)
        kept = rng.random(size) < np.exp(-0.5 * penalty)
        scale, precisions = scale[kept], precisions[kept]
    if prior.is_spherical:
        precisions = precisions * np.eye(d)
    if prior.is_shared:
        precisions = np.repeat(precisions, k, axis=1)
    return scale, np.linalg.cholesky(precisions)


def draw_means(prior, shape, rng):
    return rng.multivariate_normal(prior.location, np.linalg.inv(prior.mean_precision), size=shape)


def draw_rows(n, weights, means, factors, rng):
    """Draw rows and labels given parameters."""
    labels = np.searchsorted(np.cumsum(weights)[:-1], rng.random(n))
    noise = rng.normal(size=(n, means.shape[1]))
    roots = np.linalg.inv(factors)
    return means[labels] + np.einsum("nij,ni->nj", roots[labels], noise), labels


def log_likelihood(rows, weights, means, factors):
    white = np.einsum("kde,nkd->nke", factors, rows[:, None] - means)
    log_determinants = np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1)
    with np.errstate(divide="ignore"):
        joint = np.log(weights) + log_determinants - 0.5 * (white**2).sum(axis=-1)
    return np.logaddexp.reduce(joint, axis=1).sum() - 0.5 * rows.size * np.log(2 * np.pi)


def label_free(rows, weights, means, factors, scale):
    """Quantities of parameters and data that do not depend on the labels; logarithms, so that their tails are light."""
    log_precisions = 2 * np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1)
    return {
        "log_likelihood": log_likelihood(rows, weights, means, factors),
        "log_scale": np.linalg.slogdet(scale)[1],
        "first_scale": np.log(scale[0, 0]),
        "concentration": (weights**2).sum(),
        "mean": (weights @ means)[0],
        "last_mean": (weights @ means)[-1],
        "log_precision": weights @ log_precisions,
        "off_diagonal": weights @ np.tanh(factors[:, -1, 0]),
        "row_mean": rows.mean(),
        "log_row_variance": np.log(rows.var()),
    }


def z_scores(simulated, sampled):
    """Compare means; inconclusive, and so a failure, where the chain has too few effective draws."""
    found = {}
    for name, values in sampled.items():
        reference, chain = np.asarray(simulated[name], dtype=float), np.asarray(values, dtype=float)
        if np.ptp(reference) == 0 and np.ptp(chain) == 0:
            assert reference[0] == chain[0], name
            continue
        ess = float(az.ess(chain[None], method="mean"))
        assert ess >= LEAST_ESS, f"inconclusive, not passed: {name} has only {ess:.0f} effective draws"
        error = np.sqrt(reference.var() / len(reference) + chain.var() / ess)
        found[name] = (chain.mean() - reference.mean()) / error
    return found


def collect(records):
    return {name: np.array([record[name] for record in records]) for name in records[0]}
