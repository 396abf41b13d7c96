"""What a user may hand in has one right behaviour: it works and the result is right, or one error names the thing.

The cases are in input_cases.py and input_files.py. What the errors say is in docs/guide/what-goes-in.md, a table for
each list of cases, and is read from there: page and package cannot drift apart.
"""

import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bayesgmm as bg
from bayesgmm.cli import main
from bayesgmm.storage import load
from tests import input_cases as cases
from tests import input_files as files
from tests.input_cases import ROWS, TABLE
from tests.tolerances import ALGEBRA, assert_close

PAGE = Path(__file__).parents[1] / "docs" / "guide" / "what-goes-in.md"
#: The lists of cases, by the names of their tables in the page.
LISTS = {
    "tables": cases.TABLES,
    "units": cases.UNITS,
    "works": cases.WORKS,
    "files": files.FILES,
    "refused tables": cases.REFUSED_TABLES,
    "refused sizes": cases.REFUSED_SIZES,
    "refused weights": cases.REFUSED_WEIGHTS,
    "refused new rows": cases.REFUSED_NEW_ROWS,
    "refused priors": cases.REFUSED_PRIORS,
    "refused comparisons": files.REFUSED_COMPARISONS,
    "refused arguments": files.REFUSED_ARGUMENTS,
    "refused mixtures": cases.REFUSED_MIXTURES,
    "refused files": files.REFUSED_FILES,
    "refused commands": files.REFUSED_COMMANDS,
    "refused places": files.REFUSED_PLACES,
    "refused fits": files.REFUSED_FITS,
}


def read_page():
    """Return the rows of every table of the page: what is handed in, and what becomes of it."""
    blocks = re.findall(r"<!-- ([a-z ]+) -->\n(.*?)<!-- end -->", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    return {name: dict(re.findall(r"^\| (.+?) \| (.+) \|$", text, flags=re.MULTILINE)[1:]) for name, text in blocks}


SAID = read_page()


def each(name, but=""):
    chosen = [case for case in LISTS[name] if case.words != but]
    return pytest.mark.parametrize("case", chosen, ids=lambda case: case.words)


def fit(table, n_components=2, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return bg.fit_em(table, n_components, seed=0, n_starts=8, **options)


def repr_of(value):
    return type(value).__name__ if type(value) is object else repr(value)


def assert_said(found, name, case):
    """Compare what was said with the page, where three points stand for any text."""
    expected = SAID[name][case.words].strip("`")
    pattern = ".*".join(map(re.escape, expected.split("...")))
    assert re.fullmatch(pattern, found, flags=re.DOTALL), f"{found!r} is not {expected!r}"


def assert_refused(name, case, act):
    with pytest.raises((bg.BayesGMMError, FileNotFoundError)) as caught:
        act()
    assert_said(f"{caught.type.__name__}: {caught.value}", name, case)


@pytest.mark.parametrize("name", LISTS)
def test_the_page_lists_all_cases_and_no_others(name):
    assert list(SAID[name]) == [case.words for case in LISTS[name]]


def test_the_page_has_no_other_tables():
    assert set(SAID) == set(LISTS)


# ---------------------------------------------------------------- what works


@pytest.fixture(scope="module")
def expected():
    return fit(ROWS)


@pytest.fixture(scope="module")
def named():
    return fit(TABLE)


@each("tables")
def test_every_kind_of_table_gives_the_same_fit(case, expected):
    found = fit(case.given)
    tolerance = max(case.tolerance, ALGEBRA)
    assert_close(found.mixture.means, expected.mixture.means, tolerance)
    assert_close(found.log_likelihood, expected.log_likelihood, tolerance)
    np.testing.assert_array_equal(found.predict(case.given), expected.predict())


def test_a_read_only_array_is_left_as_it_is(expected):
    frozen = cases.read_only(ROWS)
    assert fit(frozen).log_likelihood == expected.log_likelihood
    np.testing.assert_array_equal(frozen, ROWS)


@each("units")
@pytest.mark.parametrize("offset", [0.0, 1e9])
def test_neither_scale_nor_offset_matters(case, offset, expected):
    scale, shift = case.given[0], case.given[1] + offset
    found = fit(scale * (ROWS + shift))
    assert_close((found.mixture.means / scale) - shift, expected.mixture.means, 1e-6)
    np.testing.assert_array_equal(found.predict(), expected.predict())


@each("works")
def test_what_works_besides(case):
    found, wanted = case.given()
    if isinstance(found, str):
        assert found == wanted
    else:
        assert_close(found, wanted, 1e-6)


# ---------------------------------------------------------------- what is refused


@each("refused tables")
def test_what_is_no_table_is_refused_by_name(case):
    assert_refused("refused tables", case, lambda: bg.fit_em(case.given, 1, seed=0))


OTHERS = {
    "fit_bayes": lambda table: bg.fit_bayes(table, 1, seed=0),
    "fit_kmeans": lambda table: bg.fit_kmeans(table, 1, seed=0),
    "select": lambda table: bg.select(table, [1], seed=0),
    "build_model": lambda table: bg.build_model(table, 1),
}


@pytest.mark.parametrize("function", OTHERS)
@each("refused tables", but="a million columns")
def test_every_function_refuses_it_in_the_same_words(case, function):
    assert_refused("refused tables", case, lambda: OTHERS[function](case.given))


@each("refused sizes")
def test_impossible_sizes_and_settings(case):
    assert_refused("refused sizes", case, case.given)


@pytest.mark.parametrize("function", [bg.fit_bayes, bg.fit_kmeans, bg.build_model])
@pytest.mark.parametrize("n_components", [0, -1, 1.5, True, None])
def test_every_function_refuses_impossible_numbers_of_components(function, n_components):
    case = next(case for case in cases.REFUSED_SIZES if case.words == f"K = {n_components}")
    assert_refused("refused sizes", case, lambda: function(TABLE, n_components))


@each("refused weights")
def test_impossible_weights(case):
    for function in (bg.fit_em, bg.fit_bayes):
        assert_refused(
            "refused weights", case, lambda function=function: function(TABLE, 2, seed=0, sample_weight=case.given)
        )


@pytest.mark.parametrize("method", ["predict", "responsibilities", "log_density", "memberships"])
@each("refused new rows")
def test_impossible_new_rows(case, method, named):
    assert_refused("refused new rows", case, lambda: getattr(named, method)(case.given))


@each("refused priors")
def test_impossible_priors(case):
    assert_refused("refused priors", case, case.given)


@each("refused comparisons")
def test_impossible_comparisons_and_settings_of_samplers(case, faithful_em, faithful_draws):
    assert_refused("refused comparisons", case, lambda: case.given(faithful_em, faithful_draws))


@each("refused arguments")
def test_what_is_no_fit_no_probability_no_path(case, faithful_em, faithful_draws):
    assert_refused("refused arguments", case, lambda: case.given(faithful_em, faithful_draws))


NOTHINGS = [None, 3, "text", [], float("nan"), object()]


def assert_refused_alike(words, function, value):
    """Compare what is said of any value with what the page says of None."""
    said = SAID["refused arguments"][words].strip("`").replace("NoneType", type(value).__name__)
    with pytest.raises(bg.ArgumentError) as caught:
        function(value)
    assert f"ArgumentError: {caught.value}" == said


@pytest.mark.parametrize("value", NOTHINGS, ids=repr_of)
@pytest.mark.parametrize("function", files.OF_A_MODEL)
def test_every_function_of_a_model_refuses_what_is_none(function, value):
    assert_refused_alike(files.NO_MODEL, files.OF_A_MODEL[function], value)


@pytest.mark.parametrize("value", NOTHINGS, ids=repr_of)
@pytest.mark.parametrize("function", files.OF_A_PLOT)
def test_every_plot_refuses_what_is_no_fit(function, value):
    assert_refused_alike(files.NO_PLOT, files.OF_A_PLOT[function], value)


@pytest.mark.parametrize("value", ["high", [], float("nan"), object(), 0, 1, 95, -0.5], ids=repr_of)
@pytest.mark.parametrize("function", files.OF_A_PROB)
def test_every_function_refuses_what_is_no_probability(function, value, faithful_em, faithful_draws):
    with pytest.raises(bg.ArgumentError, match=f"^prob={re.escape(repr(value))} must lie between 0 and 1$"):
        files.OF_A_PROB[function](faithful_em, faithful_draws, value)


@pytest.mark.parametrize("value", [None, 3, [], float("nan"), object(), b"fit.nc"], ids=repr_of)
@pytest.mark.parametrize("function", files.OF_A_PATH)
def test_every_function_refuses_what_is_no_path(function, value, faithful_em):
    said = SAID["refused arguments"][files.NO_PATH].strip("`").replace("path=3", f"path={value!r}")
    with pytest.raises(bg.ArgumentError) as caught:
        files.OF_A_PATH[function](faithful_em, value)
    assert f"ArgumentError: {caught.value}" == said


@each("refused mixtures")
def test_impossible_mixtures(case):
    assert_refused("refused mixtures", case, case.given)


# ---------------------------------------------------------------- files and the command


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run the command in an empty folder; returns status, output and errors."""
    monkeypatch.chdir(tmp_path)

    def run_command(arguments):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        streams = capsys.readouterr()
        return ended.value.code, streams.out, streams.err

    return run_command


@each("files")
def test_every_dialect_holds_the_same_rows(case, run, monkeypatch):
    seen = []

    def fit_em(data, _components, **_options):
        seen.append(data)
        raise bg.DataError("enough")

    monkeypatch.setattr("bayesgmm.em.fit.fit_em", fit_em)
    run(case.given())
    (data,) = seen
    assert data.features == ("a in cm" if "in the name" in case.words else "a", "b")
    assert_close(data.values, ROWS if Path("table.parquet").exists() else ROWS.round(3), 1e-12)


@each("refused files")
def test_what_is_no_file_of_rows_ends_in_one_sentence(case, run):
    arguments = case.given()
    before = sorted(Path().rglob("*"))
    status, out, err = run([*arguments, "--quiet", "--out", "results"])
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert_said(err.removesuffix("\n"), "refused files", case)
    assert sorted(Path().rglob("*")) == before


@each("refused commands")
def test_what_cannot_be_fitted_is_said_in_options(case, run):
    status, out, err = run([*case.given(), "--quiet"])
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert_said(err.removesuffix("\n"), "refused commands", case)


@each("refused places")
def test_where_nothing_can_be_written_nothing_is_begun(case, run, monkeypatch):
    make = Path.mkdir

    def mkdir(path, **options):
        # Root may write to folders that are read-only, so the system's answer to others is given here.
        if path.parts[0] == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        make(path, **options)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    status, out, err = run(case.given())
    assert (status, out) == (1, "")
    assert_said(err.removesuffix("\n"), "refused places", case)
    assert {path.name for path in Path().iterdir()} <= {"thesis", "table.csv"}
    assert not Path("thesis").exists() or Path("thesis").read_text() == "years of work"


def test_names_of_columns_lead_nowhere(run, tmp_path):
    (tmp_path / "inner").mkdir()
    TABLE.set_axis(["../../a", "/b"], axis=1).to_csv(tmp_path / "inner" / "table.csv", index=False)
    assert run(["fit", "inner/table.csv", "-k", "2", "--out", "inner/results"])[0] == 0
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {"inner/table.csv", "inner/results/report.html", "inner/results/fit.nc"}
    assert load("inner/results/fit.nc").features == ("../../a", "/b")


def test_results_that_are_there_are_replaced_whole(run, tmp_path):
    results = tmp_path / "results"
    results.mkdir()
    for name in ("report.html", "fit.nc"):
        (results / name).write_text("old")
    assert run(files.results("--out", "results"))[0] == 0
    assert load("results/fit.nc").n_components == 2
    assert (results / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert sorted(path.name for path in results.iterdir()) == ["fit.nc", "report.html"]


def test_a_column_that_is_text_because_of_one_field_is_named(run):
    (command, name, *rest) = files.table("a,b\n" + files.BODY + "=SUM(A2:A61),3\n")()
    _, out, err = run([command, name, *rest])
    assert "1 column: b" in out
    assert err.splitlines() == [
        "Warning: column 'a' of 'table.csv' is read as text, since '=SUM(A2:A61)' in row 60 is no number.",
        "Left out, since not numeric: a.",
    ]


@each("refused fits")
def test_what_is_no_saved_fit(case, faithful_em, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert_refused("refused fits", case, lambda: load(case.given(faithful_em)))


def test_names_in_messages_are_not_thousands():
    wide = pd.DataFrame(np.random.default_rng(0).normal(size=(4, 5000))).add_prefix("gene ")
    with pytest.raises(bg.DataError, match=r"gene 19, \.\.\. \(5,000 in all\)$"):
        bg.prepare(wide, columns=["gene x"])
