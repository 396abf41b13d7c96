"""Fits that many tests look at: made by hand around a known optimum, so that nothing has to be sampled."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from bayesgmm.comparison import compare
from bayesgmm.data.datasets import load_dataset
from bayesgmm.data.prepare import prepare
from bayesgmm.fit import FitInfo, assemble
from bayesgmm.mixture import Mixture
from bayesgmm.structure import as_structure


def build_fit(mixture, prepared, *, structure="full", **info):
    """Assemble a fit; where the mixture has draws it looks like one of NUTS."""
    code = as_structure(structure, prepared.n_features).code
    groups = {}
    if mixture.batch_shape:
        calm = np.zeros(mixture.batch_shape, dtype=bool)
        groups = {"sample_stats": xr.Dataset({"diverging": (("chain", "draw"), calm)})}
    method = "nuts" if mixture.batch_shape else "em"
    described = {"method": method, "structure": code, "n_components": mixture.n_components, "seed": 0} | info
    return assemble(
        mixture, prepared, FitInfo(**described), prepared.scaling(as_structure(structure, prepared.n_features)),
        groups=groups,
    )  # fmt: skip


def jitter(mixture, n_rows, *, chains=2, draws=40, seed=0):
    """Draw from roughly the posterior around an estimate: Dirichlet, normal and Wishart, component by component."""
    rng = np.random.default_rng(seed)
    shape = (chains, draws)
    counts = n_rows * mixture.weights
    weights = rng.dirichlet(counts, size=shape)
    noise = rng.normal(size=(*shape, *mixture.means.shape)) / np.sqrt(counts)[:, None]
    means = mixture.means + np.einsum("kde,abke->abkd", mixture.cholesky, noise)
    d = mixture.n_features
    covariances = np.stack(
        [
            np.reshape(
                stats.wishart(int(count), covariance / int(count)).rvs(chains * draws, random_state=rng), (*shape, d, d)
            )
            for count, covariance in zip(counts, mixture.covariances, strict=True)
        ],
        axis=2,
    )
    return Mixture(weights, means, covariances, mixture.features)


@pytest.fixture(scope="session")
def faithful_mixture():
    """The maximum of the likelihood of Old Faithful, two full components (log-likelihood -1130.264)."""
    return Mixture(
        [0.6441, 0.3559],
        [[4.28966, 79.9681], [2.03639, 54.4785]],
        [[[0.169968, 0.940609], [0.940609, 36.0462]], [[0.069168, 0.435168], [0.435168, 33.6973]]],
        ("eruptions", "waiting"),
    )


@pytest.fixture(scope="session")
def faithful():
    return prepare(load_dataset("faithful"))


@pytest.fixture(scope="session")
def faithful_em(faithful_mixture, faithful):
    return build_fit(faithful_mixture, faithful, diagnostics={"converged": True, "iterations": 12})


@pytest.fixture(scope="session")
def faithful_draws(faithful_mixture, faithful):
    draws = jitter(faithful_mixture, faithful.n_rows)
    settings = {"draws": 40, "tune": 500, "chains": 2}
    return build_fit(draws, faithful, settings=settings, diagnostics={"divergences": 0})


@pytest.fixture(scope="session")
def faithful_many_draws(faithful_mixture, faithful):
    """Enough draws for nothing to stand against them."""
    return build_fit(jitter(faithful_mixture, faithful.n_rows, chains=4, draws=500), faithful)


@pytest.fixture(scope="session")
def galaxies_draws():
    """One column, three components."""
    prepared = prepare(load_dataset("galaxies"))
    mixture = Mixture(
        [0.086, 0.879, 0.035], [[9.71], [21.40], [33.04]], [[[0.178]], [[4.85]], [[0.849]]], ("velocity",)
    )
    return build_fit(jitter(mixture, 4 * prepared.n_rows), prepared)


@pytest.fixture(scope="session")
def iris_em():
    """Four columns, three components: the species, taken as known."""
    table = load_dataset("iris", with_classes=True)
    groups = [part.drop(columns="species") for _, part in table.groupby("species")]
    prepared = prepare(table.drop(columns="species"))
    mixture = Mixture(
        np.full(3, 1 / 3), [part.mean() for part in groups], [part.cov() for part in groups], prepared.features
    )
    return build_fit(mixture, prepared)


@pytest.fixture(scope="session")
def iris_draws(iris_em):
    return build_fit(jitter(iris_em.mixture, iris_em.n_rows), iris_em.prepared)


@pytest.fixture(scope="session")
def faithful_check(faithful_em, faithful_draws):
    return compare(faithful_em, faithful_draws)


@pytest.fixture(scope="session")
def iris_check(iris_em, iris_draws):
    return compare(iris_em, iris_draws)
