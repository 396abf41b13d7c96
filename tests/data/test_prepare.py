"""prepare: what passes, what is refused and in which words, and that units and zero weights are of no concern."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bayesgmm.data.prepare import PreparedData, prepare, read_rows
from bayesgmm.errors import ArgumentError, DataError
from bayesgmm.structure import STRUCTURES
from tests.tolerances import ALGEBRA, EXACT, OPTIMUM, assert_close

RNG = np.random.default_rng(8)
FRAME = pd.DataFrame(RNG.normal(size=(12, 3)) * [1.0, 10.0, 0.1] + [0.0, 5.0, -3.0], columns=["a", "b", "c"])


def with_values(column, rows, value):
    table = FRAME.copy()
    table.loc[rows, column] = value
    return table


class TestWhatPasses:
    def test_carries_values_names_and_labels(self):
        prepared = prepare(FRAME.set_axis(list("lkjihgfedcba"), axis=0))
        np.testing.assert_array_equal(prepared.values, FRAME)
        assert prepared.features == ("a", "b", "c")
        assert prepared.rows.tolist() == list("lkjihgfedcba")
        assert (prepared.n_rows, prepared.n_features, prepared.effective_rows) == (12, 3, 12.0)
        assert (prepared.sample_weight, prepared.scale, prepared.n_dropped) == (None, "auto", 0)

    def test_values_can_be_written_to_neither_here_nor_there(self):
        values = FRAME.to_numpy(copy=True)
        prepared = prepare(values, sample_weight=np.ones(12))
        values[:] = 0.0
        np.testing.assert_array_equal(prepared.values, FRAME)
        for array in (prepared.values, prepared.sample_weight):
            assert not array.flags.writeable
        assert prepared.values.flags.c_contiguous

    def test_columns_are_picked(self):
        np.testing.assert_array_equal(prepare(FRAME, columns=["c", "a"]).values, FRAME[["c", "a"]])

    def test_prepared_data_are_returned_as_they_are(self):
        prepared = prepare(FRAME, scale="common", sample_weight=np.arange(12.0))
        assert prepare(prepared) is prepared

    @pytest.mark.parametrize(
        "arguments", [{"columns": ["a"]}, {"scale": "none"}, {"missing": "drop"}, {"sample_weight": np.ones(12)}]
    )
    def test_prepared_data_are_not_prepared_twice(self, arguments):
        with pytest.raises(ArgumentError, match=r"prepared already; pass .* to the first prepare\(\)"):
            prepare(prepare(FRAME), **arguments)

    def test_repr_says_what_it_is(self):
        assert repr(prepare(FRAME)) == "PreparedData(12 rows x 3 columns: a, b, c)"
        table = with_values("a", [3, 5], np.nan)
        found = repr(prepare(table, missing="drop", sample_weight=np.ones(12)))
        assert found == "PreparedData(10 rows x 3 columns: a, b, c, 2 rows with missing values dropped, weighted)"

    @pytest.mark.parametrize(
        ("argument", "value"), [("scale", "standard"), ("scale", None), ("missing", "ignore"), ("missing", True)]
    )
    def test_an_unknown_choice_is_answered_with_the_known_ones(self, argument, value):
        with pytest.raises(ArgumentError, match=f"{argument}={value!r} is not known; use one of '(auto|error)', '"):
            prepare(FRAME, **{argument: value})


class TestMissing:
    def test_are_refused_with_columns_counts_and_rows(self):
        table = with_values("b", [2, 7], np.nan)
        table.loc[4, "c"] = np.nan
        with pytest.raises(DataError) as caught:
            prepare(table)
        assert str(caught.value) == (
            "column 'b' has 2 missing values (rows 2, 7); column 'c' has 1 missing value (row 4); "
            "pass missing='marginalize' to use what was observed, missing='drop' to leave these rows out, or fill them"
        )

    def test_many_rows_and_columns_are_not_all_listed(self):
        wide = pd.DataFrame(np.full((21, 9), np.nan), columns=list("abcdefghi"))
        wide.loc[20] = 1.0
        with pytest.raises(DataError) as caught:
            prepare(wide)
        assert "column 'e' has 20 missing values (rows 0, 1, 2, 3, 4, ...); and so have 4 other columns;" in str(
            caught.value
        )

    def test_rows_are_called_by_their_labels(self):
        table = with_values("b", [2, 7], np.nan).set_axis(list("lkjihgfedcba"), axis=0)
        with pytest.raises(DataError, match=r"column 'b' has 2 missing values \(rows j, e\)"):
            prepare(table)

    def test_drop_leaves_the_rows_out_and_counts_them(self):
        table = with_values("b", [2, 7], np.nan)
        prepared = prepare(table, missing="drop", sample_weight=np.arange(1.0, 13.0))
        np.testing.assert_array_equal(prepared.values, table.dropna())
        np.testing.assert_array_equal(prepared.rows, table.dropna().index)
        np.testing.assert_array_equal(prepared.sample_weight, np.delete(np.arange(1.0, 13.0), [2, 7]))
        assert prepared.n_dropped == 2

    def test_drop_without_missing_values_drops_nothing(self):
        assert prepare(FRAME, missing="drop").n_dropped == 0

    def test_a_column_that_is_not_used_may_have_them(self):
        assert prepare(with_values("b", [2], np.nan), columns=["a", "c"]).n_rows == 12

    def test_nothing_left(self):
        with pytest.raises(DataError, match="every row has a missing value; nothing is left with missing='drop'"):
            prepare(FRAME.mask(np.arange(36).reshape(12, 3) % 3 == np.arange(12)[:, None] % 3), missing="drop")

    @pytest.mark.parametrize("missing", ["error", "drop", "marginalize"])
    def test_a_column_without_any_value(self, missing):
        with pytest.raises(DataError, match="column 'b' has no values at all; leave it out"):
            prepare(FRAME.assign(b=np.nan), missing=missing)

    def test_no_weight_left(self):
        weights = np.zeros(12)
        weights[2] = 1.0
        with pytest.raises(DataError, match="every sample_weight is zero; at least one row must count"):
            prepare(with_values("b", [2], np.nan), missing="drop", sample_weight=weights)


class TestRefusals:
    @pytest.mark.parametrize("sign", [1, -1])
    def test_infinite_values(self, sign):
        with pytest.raises(DataError) as caught:
            prepare(with_values("c", [1, 2, 3, 5, 8, 9], sign * np.inf))
        expected = "column 'c' has 6 infinite values (rows 1, 2, 3, 5, 8, ...); replace or remove them"
        assert str(caught.value) == expected

    @pytest.mark.parametrize("value", [0.0, 7.25, -1e9, 1e-300])
    def test_a_constant_column(self, value):
        with pytest.raises(DataError) as caught:
            prepare(FRAME.assign(b=value))
        assert str(caught.value) == (
            f"column 'b' is constant (every value is {value:g}), and a density along it is not defined; leave it out"
        )

    def test_a_column_that_is_constant_but_for_rounding(self):
        with pytest.raises(DataError, match="column 'b' is constant"):
            prepare(FRAME.assign(b=np.nextafter(0.1, [0, 1] * 6)))

    def test_a_column_that_is_constant_where_it_counts(self):
        table = FRAME.assign(b=[1.0, 2.0, *[5.0] * 10])
        weights = np.array([0.0, 0.0, *[1.0] * 10])
        assert prepare(table).n_rows == 12
        with pytest.raises(DataError, match="column 'b' is constant"):
            prepare(table, sample_weight=weights)

    def test_small_numbers_are_not_constant(self):
        assert prepare(FRAME * 1e-100).n_rows == 12
        assert prepare(1e9 + 1e-3 * FRAME).n_rows == 12

    @pytest.mark.parametrize(
        "table", [[], np.empty((0, 3)), FRAME[:0], pl.DataFrame({"a": []}, schema={"a": pl.Float64})]
    )
    def test_no_rows(self, table):
        with pytest.raises(DataError, match="the table has no rows"):
            prepare(table)

    def test_one_row(self):
        for arguments in ({}, {"sample_weight": [3.0]}):
            with pytest.raises(DataError, match="a single row is left to be fitted; a mixture needs at least two"):
                prepare(FRAME[:1], **arguments)

    def test_one_row_with_weight(self):
        with pytest.raises(DataError, match="a single row is left"):
            prepare(FRAME, sample_weight=np.arange(12) == 4)


class TestWeights:
    @pytest.mark.parametrize(
        ("weights", "match"),
        [
            (np.ones(11), r"sample_weight has shape \(11,\); it needs one weight for each of the 12 rows"),
            (np.ones((12, 1)), r"sample_weight has shape \(12, 1\)"),
            (1.0, r"sample_weight has shape \(\)"),
            (-np.arange(12.0), "sample_weight must not be negative; the smallest is -11"),
            ([np.nan, np.inf, *[1.0] * 10], "sample_weight has 2 values that are NaN or infinite"),
            (pd.Series([None, *[1.0] * 11]), "sample_weight has 1 value that is NaN or infinite; 0 leaves"),
            (np.zeros(12), "every sample_weight is zero; at least one row must count"),
            (
                np.full(12, 1e308),
                r"the sum of sample_weight overflows \(the largest is 1e\+308\); divide by a constant",
            ),
            (["1"] * 12, "sample_weight holds text values"),
            (np.array(["1"] * 12, dtype=object), r"sample_weight holds '1' \(str\)"),
            (np.full(12, 1j), "sample_weight holds complex values"),
            ([[1, 2], [3]], "sample_weight must be numbers, one for each row"),
        ],
    )
    def test_impossible_ones_are_refused(self, weights, match):
        with pytest.raises(DataError, match=match):
            prepare(FRAME, sample_weight=weights)

    @pytest.mark.parametrize(
        "make",
        [
            list,
            tuple,
            np.array,
            np.float32,
            pd.Series,
            pl.Series,
            lambda w: pd.Series(w, index=range(50, 62), dtype="Int64"),
        ],
    )
    def test_any_numbers_will_do(self, make):
        weights = [0, 1, 2] * 4
        prepared = prepare(FRAME, sample_weight=make(weights))
        np.testing.assert_array_equal(prepared.sample_weight, weights)
        assert prepared.sample_weight.dtype == np.float64
        assert prepared.effective_rows == 12.0

    def test_a_mask_will_do(self):
        prepared = prepare(FRAME, sample_weight=np.arange(12) < 5)
        np.testing.assert_array_equal(prepared.sample_weight, [1.0] * 5 + [0.0] * 7)


class TestScaling:
    @pytest.mark.parametrize("code", STRUCTURES)
    def test_auto_leaves_the_model_as_it_is(self, code):
        scaling = prepare(FRAME).scaling(STRUCTURES[code])
        sds = FRAME.std(ddof=0).to_numpy()
        common = np.full(3, np.sqrt(np.mean(sds**2)))
        assert_close(scaling.shift, FRAME.mean(), EXACT)
        assert_close(scaling.scale, sds if STRUCTURES[code].is_scale_equivariant else common, EXACT)

    @pytest.mark.parametrize(("scale", "spread"), [("feature", [1, 1, 1]), ("none", FRAME.std(ddof=0))])
    def test_what_is_asked_for(self, scale, spread):
        prepared = prepare(FRAME, scale=scale)
        Z = prepared.scaling(STRUCTURES["EII"]).standardize(prepared.values)
        assert_close(Z.mean(axis=0), np.zeros(3), EXACT)
        assert_close(Z.std(axis=0), spread, EXACT)

    def test_common_keeps_the_proportions(self):
        prepared = prepare(FRAME, scale="common")
        Z = prepared.scaling(STRUCTURES["VVV"]).standardize(prepared.values)
        assert_close(np.mean(Z.var(axis=0)), 1.0, EXACT)
        assert_close(Z.std(axis=0) / Z.std(axis=0)[0], FRAME.std() / FRAME["a"].std(), EXACT)

    def test_weights_count_as_repeated_rows(self):
        counts = np.array([0, 1, 2] * 4)
        weighted = prepare(FRAME, sample_weight=counts).scaling(STRUCTURES["VVV"])
        repeated = prepare(np.repeat(FRAME.to_numpy(), counts, axis=0)).scaling(STRUCTURES["VVV"])
        assert_close(weighted.shift, repeated.shift, EXACT)
        assert_close(weighted.scale, repeated.scale, EXACT)

    @pytest.mark.parametrize("value", [3.0, 1e20, 1e200])
    @pytest.mark.parametrize("position", [0, 5, 12])
    def test_a_row_without_weight_has_no_effect(self, value, position):
        rows = np.insert(FRAME.to_numpy(), position, value, axis=0)
        scaling = prepare(rows, sample_weight=np.insert(np.ones(12), position, 0.0)).scaling(STRUCTURES["VVV"])
        alone = prepare(FRAME).scaling(STRUCTURES["VVV"])
        assert_close(scaling.shift, alone.shift, EXACT)
        assert_close(scaling.scale, alone.scale, EXACT)

    @settings(deadline=None, derandomize=True)
    @given(
        hnp.arrays(float, (20, 2), elements=st.floats(-10, 10), unique=True),
        st.sampled_from([1e-9, 1e-3, 1.0, 1e6]),
        st.sampled_from([0.0, 1.0, -1e9, 1e9]),
    )
    def test_standardised_rows_do_not_depend_on_the_units(self, X, unit, offset):
        def standardised(rows):
            prepared = prepare(rows)
            return prepared.scaling(STRUCTURES["VVV"]).standardize(prepared.values)

        # The columns must vary by more than the digits that the offset takes from them.
        rounding = 1e-15 * (10.0 + abs(offset)) / max(X.std(axis=0).min(), 1e-300)
        assume(rounding < OPTIMUM)
        np.testing.assert_allclose(standardised((X + offset) * unit), standardised(X), atol=10 * rounding + ALGEBRA)


class TestComponents:
    @pytest.mark.parametrize("wrong", [0, -1, 1.5, 2.0, True, "2", None, np.float64(2)])
    def test_impossible_numbers_are_refused(self, wrong):
        with pytest.raises(ArgumentError) as caught:
            prepare(FRAME).check_components(wrong)
        assert str(caught.value) == f"n_components={wrong!r} must be a positive whole number"

    @pytest.mark.parametrize("k", [1, 11, np.int64(3)])
    def test_possible_numbers_pass(self, k):
        prepare(FRAME).check_components(k)

    @pytest.mark.parametrize("k", [12, 13, 10**6])
    def test_more_than_rows_allow(self, k):
        with pytest.raises(DataError, match=f"12 rows cannot support n_components={k}; use more rows or fewer comp"):
            prepare(FRAME).check_components(k)

    def test_rows_without_weight_do_not_count(self):
        prepared = prepare(FRAME, sample_weight=np.arange(12) < 4)
        prepared.check_components(3)
        with pytest.raises(DataError, match="4 rows cannot support n_components=4"):
            prepared.check_components(4)

    @pytest.mark.parametrize("copies", [10, 1000])
    def test_distinct_rows_are_counted(self, copies):
        # Long enough, in the second case, that the first rows alone do not tell.
        prepared = prepare(np.repeat(FRAME.to_numpy()[:4], copies, axis=0))
        prepared.check_components(3)
        prepared.check_components(1)
        for k in (4, 5):
            with pytest.raises(
                DataError, match=f"the table has 4 distinct rows, too few for n_components={k}; use fewer"
            ):
                prepared.check_components(k)


class TestNewRows:
    features = ("b", "a")

    @pytest.mark.parametrize("make", [lambda t: t, pl.from_pandas, lambda t: t.to_xarray().drop_vars("index"), prepare])
    def test_columns_are_found_by_name_in_any_order(self, make):
        found = read_rows(make(FRAME), self.features)
        assert found.features == self.features
        np.testing.assert_array_equal(found.values, FRAME[["b", "a"]])

    def test_other_columns_may_hold_anything(self):
        table = FRAME.assign(name="text", c=np.nan)
        np.testing.assert_array_equal(read_rows(table, self.features).values, FRAME[["b", "a"]])

    @pytest.mark.parametrize("make", [np.asarray, lambda t: t.values.tolist(), lambda t: prepare(t.to_numpy())])
    def test_without_names_they_are_taken_in_order(self, make):
        found = read_rows(make(FRAME[["c", "a"]]), self.features)
        assert found.features == self.features
        np.testing.assert_array_equal(found.values, FRAME[["c", "a"]])

    def test_a_fit_without_names_takes_any_in_order(self):
        np.testing.assert_array_equal(read_rows(FRAME[["c", "a"]], ("x0", "x1")).values, FRAME[["c", "a"]])

    def test_one_column_without_a_name(self):
        for column in (FRAME["a"].rename(None), pl.Series(FRAME["a"].to_numpy()), FRAME["a"].tolist()):
            np.testing.assert_array_equal(read_rows(column, ("height",)).values, FRAME[["a"]])

    def test_rows_keep_their_labels(self):
        assert read_rows(FRAME.set_axis(list("lkjihgfedcba"), axis=0), self.features).rows.tolist() == list(
            "lkjihgfedcba"
        )

    @pytest.mark.parametrize("features", [("b", "q"), ("xmin", "xmax")])
    def test_an_absent_column_is_named(self, features):
        absent = next(name for name in features if name not in FRAME)
        for table in (FRAME, FRAME[["a", "b"]], prepare(FRAME)):
            with pytest.raises(DataError, match=f"the fit needs a column named '{absent}'; the table has a, b"):
                read_rows(table, features)

    @pytest.mark.parametrize("table", [np.ones((4, 3)), np.ones(4), FRAME])
    def test_another_number_of_columns(self, table):
        features = ("x0", "x1") if table is FRAME else self.features
        n = "1 column" if np.ndim(table) == 1 else "3 columns"
        with pytest.raises(DataError, match=rf"the table has {n}; the fit has 2: {', '.join(features)}"):
            read_rows(table, features)

    def test_missing_and_infinite_values_are_refused_with_a_remedy_that_exists(self):
        with pytest.raises(DataError) as caught:
            read_rows(with_values("a", [3], np.nan), self.features)
        assert str(caught.value) == "column 'a' has 1 missing value (row 3); fill them or leave these rows out"
        with pytest.raises(DataError, match=r"column 'b' has 1 infinite value \(row 3\)"):
            read_rows(with_values("b", [3], np.inf), self.features)

    def test_no_rows_are_no_error(self):
        assert read_rows(FRAME[:0], self.features).values.shape == (0, 2)


def test_prepared_data_can_be_made_by_hand():
    prepared = PreparedData(FRAME.to_numpy(), ("a", "b", "c"), np.arange(12))
    assert prepare(prepared) is prepared
    assert prepared.effective_rows == 12.0
