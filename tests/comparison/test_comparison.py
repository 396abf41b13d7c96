"""Comparison: numbers by a second route, words that follow from numbers, pairs that do not fit."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import integrate, stats

import bayesgmm as bg
from bayesgmm.comparison.verdict import Finding, advise, find, summarize_findings
from bayesgmm.fit import FitInfo, assemble

FAITHFUL = bg.prepare(bg.load_dataset("faithful"))


@pytest.fixture(scope="module")
def em():
    return bg.fit_em(FAITHFUL, 2, seed=0)


def posterior_around(em, shift=0.0, spread=1.0, diagnostics=None, prepared=FAITHFUL):
    """Return draws around an estimate, moved by `shift` standard deviations; no sampler needed."""
    rng = np.random.default_rng(0)
    shape = (4, 500)
    mixture = em.mixture
    counts = em.n_rows * mixture.weights
    weights = rng.dirichlet(counts, size=shape)
    sds = np.sqrt(np.diagonal(mixture.covariances, axis1=-2, axis2=-1) / counts[:, None]) * spread
    means = mixture.means + sds * (shift + rng.normal(size=(*shape, 2, 2)))
    covariances = np.stack(
        [
            stats.wishart(int(count), covariance / int(count)).rvs(4 * 500, random_state=rng).reshape(*shape, 2, 2)
            for count, covariance in zip(counts, mixture.covariances, strict=True)
        ],
        axis=2,
    )
    draws = bg.Mixture(weights, means, covariances, mixture.features)
    info = FitInfo("nuts", "VVV", 2, 0, {}, {"divergences": 0, "ambiguous_share": 0.0} | (diagnostics or {}))
    calm = xr.Dataset({"diverging": (("chain", "draw"), np.zeros(shape, dtype=bool))})
    return assemble(draws, prepared, info, em.scaling, groups={"sample_stats": calm})


@pytest.fixture(scope="module")
def check(em):
    return bg.compare(em, posterior_around(em))


def test_every_estimate_is_placed_in_its_draws(check):
    table = check.parameters
    draws = check.bayes.mixture.means[..., 1, 1].ravel()
    row = table.loc["means[1, waiting]"]
    assert row["em"] == check.em.mixture.means[1, 1]
    assert row["mean"] == pytest.approx(draws.mean())
    assert row["sd"] == pytest.approx(draws.std(ddof=1))
    assert row["quantile"] == pytest.approx((draws < row["em"]).mean())
    assert row["z"] == pytest.approx((row["em"] - draws.mean()) / draws.std(ddof=1))
    assert (row["lower"], row["upper"]) == pytest.approx(tuple(np.quantile(draws, [0.055, 0.945])), rel=1e-3)
    assert len(table) == 12


def test_a_good_estimate_is_said_to_be_good(check):
    assert set(check.parameters["verdict"]) <= {"central", "inside"}
    assert [(finding.topic, finding.level) for finding in check.findings] == [
        (topic, "good")
        for topic in (
            "sampling", "labels", "components", "parameters", "errors", "joint", "density", "memberships", "partition",
            "optimum", "prediction",
        )
    ]  # fmt: skip
    assert check.verdict.startswith("The EM estimate can be trusted")
    assert check.advice == ()


def test_an_estimate_far_from_its_posterior_is_said_to_be_far(em):
    moved = bg.compare(em, posterior_around(em, shift=6.0))
    means = moved.parameters.filter(like="means", axis=0)
    assert set(means["verdict"]) == {"far outside"}
    assert {finding.topic: finding.level for finding in moved.findings}["parameters"] == "caution"
    assert any("intervals" in line for line in moved.advice)


def test_components_are_matched_whatever_their_order(em, check):
    exchanged = bg.compare(_reordered(em, [1, 0]), check.bayes)
    assert list(exchanged.components["match"]) == [1, 0]
    pd.testing.assert_frame_equal(exchanged.parameters, check.parameters)
    pd.testing.assert_frame_equal(exchanged.memberships, check.memberships)


def _reordered(fit, order):
    return assemble(fit.mixture.permute(order), fit.prepared, fit.info, fit.scaling)


def test_hellinger_distances_are_those_of_the_two_densities(check):
    one_column = {"x": FAITHFUL.values[:, 0]}
    table = bg.prepare(pd.DataFrame(one_column))
    em = bg.fit_em(table, 2, seed=0)
    draws = bg.Mixture(
        np.tile(em.mixture.weights, (1, 2, 1)), np.tile(em.mixture.means + 0.1, (1, 2, 1, 1)),
        np.tile(em.mixture.covariances * 1.5, (1, 2, 1, 1, 1)), em.features,
    )  # fmt: skip
    fit = assemble(draws, table, FitInfo("nuts", em.structure.code, 2), em.scaling)
    found = bg.compare(em, fit).components["hellinger"]
    for k in range(2):
        p = stats.norm(em.mixture.means[k, 0], np.sqrt(em.mixture.covariances[k, 0, 0]))
        q = stats.norm(em.mixture.means[k, 0] + 0.1, np.sqrt(1.5 * em.mixture.covariances[k, 0, 0]))
        grid = np.linspace(-2, 10, 40_001)
        overlap = integrate.trapezoid(np.sqrt(p.pdf(grid) * q.pdf(grid)), grid)
        assert found[k] == pytest.approx(np.sqrt(1 - overlap), abs=1e-6)


def test_prediction_puts_criteria_beside_leave_one_out(check, em):
    table = check.prediction
    assert table.loc["em", "bic"] == em.bic
    assert np.isnan(table.loc["posterior", "bic"])
    assert table.loc["posterior", "elpd_loo"] < table.loc["em", "log_likelihood"]
    assert table.loc["posterior", "pareto_k_bad"] == 0


def test_memberships_name_the_rows(check, em):
    table = check.memberships
    shares = em.responsibilities()
    np.testing.assert_array_equal(table["em_component"], shares.argmax(axis=1))
    np.testing.assert_allclose(table["em_responsibility"], shares.max(axis=1))
    assert list(table.index) == list(range(272))
    assert table["outside"].sum() == ((table["em_responsibility"] < table["lower"]) | (
        table["em_responsibility"] > table["upper"])).sum()  # fmt: skip


def test_the_representations_hold_every_parameter_and_escape_names(check):
    text = repr(check)
    assert "means[1, waiting]" in text
    assert check.verdict.split(".")[0] in text
    hostile = pd.DataFrame(FAITHFUL.values, columns=["<script>", "waiting"])
    fit = bg.fit_em(hostile, 2, seed=0)
    html = bg.compare(fit, posterior_around(fit, prepared=bg.prepare(hostile)))._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_intervals_follow_their_arguments(em, check):
    wide = bg.compare(em, check.bayes, ci_prob=0.99, ci_kind="hdi")
    assert np.all(
        wide.parameters["upper"] - wide.parameters["lower"] > check.parameters["upper"] - check.parameters["lower"]
    )
    with pytest.raises(bg.ArgumentError, match=r"ci_prob=1\.5"):
        bg.compare(em, check.bayes, ci_prob=1.5)
    with pytest.raises(bg.ArgumentError, match="ci_kind='quantile'"):
        bg.compare(em, check.bayes, ci_kind="quantile")


def test_fits_that_do_not_belong_together_are_refused(em, check):
    with pytest.raises(bg.ArgumentError, match="must be draws"):
        bg.compare(em, em)
    with pytest.raises(bg.ArgumentError, match="must be a point estimate"):
        bg.compare(check.bayes, check.bayes)
    with pytest.raises(bg.ArgumentError, match="must be a MixtureFit, not int"):
        bg.compare(em, 3)
    fewer = bg.fit_em(bg.load_dataset("faithful").iloc[:200], 2, seed=0)
    with pytest.raises(bg.ComparisonError, match="number of rows: 200 and 272"):
        bg.compare(fewer, check.bayes)
    changed = bg.load_dataset("faithful")
    changed.loc[7, "waiting"] += 1
    with pytest.raises(bg.ComparisonError, match="different values in 1 rows, the first is 7"):
        bg.compare(bg.fit_em(changed, 2, seed=0), check.bayes)
    with pytest.raises(bg.ComparisonError, match="structure"):
        bg.compare(bg.fit_em(FAITHFUL, 2, structure="tied", seed=0), check.bayes)


def test_trouble_of_the_sampler_comes_first(check):
    tables = {name: getattr(check, name) for name in ("components", "parameters", "prediction", "memberships")}
    stuck = tables["parameters"].assign(r_hat=1.7)
    findings = find(tables | {"parameters": stuck}, {"divergences": 3}, 0.89)
    assert (findings[0].topic, findings[0].level) == ("sampling", "bad")
    assert summarize_findings(findings).startswith("The comparison cannot be relied on")
    silent = find(tables | {"parameters": stuck.assign(r_hat=np.nan)}, {}, 0.89)
    assert silent[0].level == "bad"


def test_doubtful_labels_are_bad_news(check):
    tables = {name: getattr(check, name) for name in ("components", "parameters", "prediction", "memberships")}
    findings = find(tables, {"labels_are_doubtful": True, "ambiguous_share": 0.3}, 0.89)
    labels = next(finding for finding in findings if finding.topic == "labels")
    assert labels.level == "bad"
    assert "30%" in labels.text


def test_advice_is_given_once():
    twice = (Finding("a", "caution", "x", "do it"), Finding("b", "caution", "y", "do it"), Finding("c", "good", "z"))
    assert advise(twice) == ("do it",)


def test_a_partition_of_weighted_rows_says_that_rows_count_once(check):
    weighted = bg.prepare(bg.load_dataset("faithful"), sample_weight=np.tile([1.0, 2.0], 136))
    estimate = bg.fit_em(weighted, 2, seed=0, n_starts=2)
    found = bg.compare(estimate, posterior_around(estimate, prepared=weighted))
    assert found.notes["partition"] == "rows count once, whatever their weight"
    assert "partition" not in check.notes


def test_the_joint_table_has_the_rank_of_the_density(check):
    # Made by hand, these draws have no densities to be ranked among.
    assert np.isnan(check.tables["joint"].loc["density_rank", "value"])
