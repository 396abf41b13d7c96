"""A selection: its table, its words, and what can be asked of it."""

import numpy as np
import pandas as pd
import pytest

from bayesgmm.data import load_dataset, prepare
from bayesgmm.errors import ArgumentError, DataError, FitError
from bayesgmm.fit import MixtureFit
from bayesgmm.selection import select
from tests.tolerances import ALGEBRA, OPTIMUM


@pytest.fixture(scope="module")
def galaxies():
    return select(load_dataset("galaxies"), range(1, 6), structures="all", n_starts=8, seed=0)


@pytest.fixture(scope="module")
def faithful():
    return select(load_dataset("faithful"), [1, 2, 3], structures=("full", "tied", "EII"), n_starts=8, seed=0)


class TestTable:
    def test_one_dimension_has_two_structures(self, galaxies):
        assert sorted(set(galaxies.table["structure"])) == ["EII", "VII"]
        assert len(galaxies.table) == 10

    def test_is_sorted_and_counts(self, galaxies):
        table = galaxies.table
        assert table["bic"].is_monotonic_increasing
        assert table["delta_bic"].iloc[0] == 0.0
        np.testing.assert_allclose(table["bic"] - table["bic"].min(), table["delta_bic"])
        weights = np.exp(-0.5 * table["bic"] + 0.5 * table["bic"].min())
        np.testing.assert_allclose(table["bic_weight"], weights / weights.sum())
        n = 82
        np.testing.assert_allclose(table["bic"], -2 * table["log_likelihood"] + np.log(n) * table["n_parameters"])
        np.testing.assert_allclose(table["aic"], -2 * table["log_likelihood"] + 2 * table["n_parameters"])
        assert (table["icl"] >= table["bic"] - ALGEBRA).all()
        row = table[(table["structure"] == "VII") & (table["n_components"] == 3)].iloc[0]
        # mclust on galaxies with the typing error of MASS mended: BIC -442.2177 for V, 3.
        assert row["bic"] == pytest.approx(442.2177, abs=1e-3)
        assert row["smallest"] == pytest.approx(3.0, abs=1e-3)

    def test_unsound_cells_come_last(self):
        table = pd.DataFrame({"x": np.repeat([0.0, 1.0, 5.0, 6.0], 4) + np.tile([0.0, 0.01, 0.02, 0.03], 4)})
        table.loc[:3, "x"] = 0.0
        found = select(table, [1, 2, 3, 20], structures="spherical", n_starts=4, seed=0).table
        sound = found["is_sound"].to_numpy()
        assert sound[0]
        assert not sound[-1]
        assert np.all(np.diff(sound.astype(int)) <= 0)
        assert ((found["why"] == "") == found["is_sound"]).all()
        assert (found["bic_weight"][~found["is_sound"]] == 0.0).all()
        assert found["bic_weight"].sum() == pytest.approx(1.0)

    def test_criterion(self):
        by_icl = select(load_dataset("faithful"), [2, 3], structures=("full", "tied"), criterion="icl", n_starts=8,
                        seed=0)  # fmt: skip
        assert by_icl.table["icl"].is_monotonic_increasing
        # The density has three components, in two clusters.
        assert (by_icl.best.n_components, by_icl.best.structure.code) == (2, "VVV")

    def test_number_of_components(self, faithful):
        weights = faithful.number_of_components["bic_weight"]
        assert list(weights.index) == [1, 2, 3]
        assert weights.sum() == pytest.approx(1.0)
        assert weights[3] == faithful.table.loc[faithful.table["n_components"] == 3, "bic_weight"].sum()

    def test_weights_of_rows_are_frequencies(self):
        table = load_dataset("galaxies").head(40)
        counts = np.tile([2.0, 1.0], 20)
        settings = {"structures": "spherical", "n_starts": 8, "seed": 0}
        weighted = select(table, [1, 2, 3], sample_weight=counts, **settings).table
        repeated = select(np.repeat(table.to_numpy(), counts.astype(int), axis=0), [1, 2, 3], **settings).table
        np.testing.assert_allclose(weighted["bic"], repeated["bic"], rtol=OPTIMUM)

    def test_missing_values(self):
        table = load_dataset("faithful").copy()
        table.loc[::7, "waiting"] = np.nan
        with pytest.raises(DataError, match="missing"):
            select(table, [1, 2])
        found = select(table, [1, 2], structures="full", missing="marginalize", n_starts=4, seed=0)
        assert found.best.n_components == 2
        assert found.prepared.n_rows == 272


class TestWhatCanBeAsked:
    def test_best_and_fits(self, faithful):
        assert isinstance(faithful.best, MixtureFit)
        assert faithful.best is faithful.fit("tied", 3) is faithful.fit("EEE", 3) is faithful.fits["EEE", 3]
        assert len(faithful.fits) == 9
        assert faithful.best.bic == faithful.table["bic"].min()

    def test_survivors_are_within_ten(self, faithful):
        assert list(zip(faithful.survivors["structure"], faithful.survivors["n_components"], strict=True)) == [
            ("EEE", 3), ("VVV", 2), ("VVV", 3),
        ]  # fmt: skip

    def test_a_cell_that_is_not_there(self, faithful):
        with pytest.raises(ArgumentError, match="no cell 'diag' with 3 components; it has VVV, EEE, EII"):
            faithful.fit("diag", 3)

    def test_a_cell_that_could_not_be_fitted(self):
        rows = np.random.default_rng(0).normal(size=(6, 1))
        found = select(rows, [1, 9], structures="EII", n_starts=4, seed=0)
        with pytest.raises(FitError, match=r"9 components, EII could not be fitted: 6 rows cannot support"):
            found.fit("EII", 9)

    def test_bootstrap_lrt_goes_up_to_the_first_that_is_not_needed(self):
        rng = np.random.default_rng(4)
        x = np.concatenate([rng.normal(size=40), 8.0 + rng.normal(size=40)])
        found = select(x[:, None], [1, 2, 3, 4], structures="tied", n_starts=4, seed=0)
        tests = found.bootstrap_lrt(n_boot=19, n_starts=1)
        assert list(tests.index) == [1, 2]
        assert tests["p_value"][1] == 1 / 20
        assert tests["p_value"][2] > 0.05
        statistic = 2 * (found.fit("tied", 2).log_likelihood - found.fit("tied", 1).log_likelihood)
        assert tests["statistic"][1] == pytest.approx(statistic, rel=OPTIMUM)
        with pytest.raises(ArgumentError, match="level=5"):
            found.bootstrap_lrt(level=5)

    def test_prepared_data_and_names_are_accepted(self):
        prepared = prepare(load_dataset("galaxies"))
        found = select(prepared, 2, structures="VVV", n_starts=2, seed=0)
        assert found.prepared is prepared
        assert found.best.n_components == 2

    def test_a_seed_repeats(self):
        first, again = (select(load_dataset("galaxies"), [2, 3], structures="full", n_starts=4, seed=5) for _ in "ab")
        pd.testing.assert_frame_equal(first.table, again.table)
        assert first.settings.seed == 5


class TestWords:
    def test_terminal(self, faithful):
        text = repr(faithful)
        assert text.startswith(
            "Selection by BIC: 9 cells (1 to 3 components, VVV, EEE, EII), 272 rows x 2 columns\n\n"
            "Criteria, best first (smaller is better; R's mclust reports minus BIC and minus ICL)\n"
        )
        assert "BIC chooses 3 components, tied (EEE) (2314.3)." in text
        assert "Advice: Take 3 to describe the density, 2 to count clusters." in text
        assert max(map(len, text.splitlines())) < 140

    def test_notebook(self, faithful):
        html = faithful._repr_html_()
        assert "<strong>Selection by BIC: 9 cells" in html
        assert "<em>Advice: Take 3 to describe the density" in html

    def test_long_tables_are_cut(self):
        found = select(load_dataset("galaxies"), range(1, 12), structures="EII", n_starts=2, seed=0)
        assert "Criteria, best 10 of 11" in repr(found)


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ({"n_components": []}, "n_components is empty"),
            ({"n_components": [0, 1]}, "n_components=0 must be a positive whole number"),
            ({"n_components": "1:3"}, "n_components='1:3' must be a positive whole number"),
            ({"n_components": [2.5]}, "n_components=2.5"),
            ({"structures": []}, "structures is empty"),
            ({"structures": ["round"]}, "structure='round' is not known"),
            ({"criterion": "waic"}, "criterion='waic' is not known"),
            ({"n_starts": 0}, "n_starts=0"),
            ({"n_threads": 0}, "n_threads=0"),
            ({"reg_covar": -1.0}, "reg_covar=-1.0"),
            ({"bayes": True, "n_survivors": 0}, "n_survivors=0"),
            ({"draws": 100}, "without bayes=True there are no posteriors to pass draws on to"),
            ({"seed": -1}, "seed=-1"),
        ],
    )
    def test_illegal_arguments(self, arguments, said):
        with pytest.raises(ArgumentError, match=said):
            select(load_dataset("galaxies"), **({"n_components": [1]} | arguments))

    def test_nothing_that_can_be_fitted(self):
        with pytest.raises(FitError, match="no cell could be fitted; 9 components"):
            select(np.random.default_rng(0).normal(size=(5, 1)), [9, 10], structures="full", seed=0)
