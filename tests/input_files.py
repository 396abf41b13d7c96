"""Files that users hand in, places for results, saved fits, pairs of fits: cases like those of input_cases.py.

Every case runs in an empty folder; `given` writes what the words say and returns the arguments of the command, or, for
saved fits, the path to load.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import bayesgmm as bg
from bayesgmm.storage import load
from tests.input_cases import ROWS, TABLE, Case

LINES = [f"{a:.3f},{b:.3f}" for a, b in ROWS]
BODY = "\n".join(LINES) + "\n"
SEMICOLONS = BODY.replace(",", ";")
TWO_LINES = "".join(f'{line},"first\nsecond"\n' for line in LINES)
NUMBERED = "".join(f"{i},{line}\n" for i, line in enumerate(LINES))


def table(text: str | bytes, name: str = "table.csv") -> Callable[[], list[str]]:
    """Write a table when called; return the command that fits it."""

    def write() -> list[str]:
        Path(name).write_bytes(text.encode() if isinstance(text, str) else text)
        return ["fit", name, "-k", "2"]

    return write


def frame(name: str, **more: Any) -> Callable[[], list[str]]:
    def write() -> list[str]:
        TABLE.assign(**more).to_parquet(name)
        return ["fit", name, "-k", "2"]

    return write


# ------------------------------------------------------------------------------------------------ files that work

FILES = [
    Case("commas between fields", table("a,b\n" + BODY)),
    Case("a byte order mark (BOM)", table("\ufeffa,b\n" + BODY)),
    Case("lines that end as on Windows", table("a,b\r\n" + BODY.replace("\n", "\r\n"))),
    Case("semicolons between fields", table("a;b\n" + SEMICOLONS)),
    Case("semicolons, and decimal commas", table("a;b\n" + SEMICOLONS.replace(".", ","))),
    Case("tabs between fields", table("a\tb\n" + BODY.replace(",", "\t"), "table.tsv")),
    Case("bars between fields", table("a|b\n" + BODY.replace(",", "|"), "table.txt")),
    Case("blanks after the commas", table("a, b\n" + BODY.replace(",", ", "))),
    Case("blank lines between rows", table("a,b\n" + BODY.replace("\n", "\n\n"))),
    Case("no line break at the end", table("a,b\n" + BODY.rstrip())),
    Case("numbers in quotation marks", table("a,b\n" + "".join(f'"{a:.3f}","{b:.3f}"\n' for a, b in ROWS))),
    Case("a line break in the name of a column", table('"a\nin cm";b\n' + SEMICOLONS)),
    Case("a line break in a field of words", table("a,b,note\n" + TWO_LINES)),
    Case("row numbers that pandas or R wrote", table(",a,b\n" + NUMBERED)),
    Case("Parquet", frame("table.parquet")),
    Case("columns named to lead out of a folder", frame("table.parquet", **{"../../c": "x"})),
]  # fmt: skip

# ------------------------------------------------------------------------------------------------ files that do not

REFUSED_FILES = [
    Case("no such file", lambda: ["fit", "absent.csv", "-k", "2"]),
    Case("a folder", lambda: [Path("folder").mkdir(), "fit", "folder", "-k", "2"][1:]),
    Case("a spreadsheet", table("PK", "table.xlsx")),
    Case("an empty file", table("")),
    Case("a blank first line", table("\na,b\n" + BODY)),
    Case("only a first line with names", table("a,b\n")),
    Case("no line with names: numbers at once", table(BODY)),
    Case("no line with names: numbers and words at once", table("5,3,x\n4,3,x\n6,2,y\n5,1,y\n")),
    Case("a row with a field too few", table("a,b\n1,2\n3\n" + BODY)),
    Case("a field too many in every row", table("a,b\n1,2,3\n4,5,6\n")),
    Case("a quotation mark that is not closed", table('a,b\n1,"2\n' + BODY)),
    Case("two columns of one name", table("a,a\n" + BODY)),
    Case("a column without a name", table("a,,c\n1,2,3\n")),
    Case("commas that may be decimal or not", table('a,b\n"1,5",2\n"2,5",3\n')),
    Case("points and commas in one number", table("a;b\n1.234,5;2\n2.345,5;3\n3.456,5;9\n")),
    Case("only words", table("a,b\nx,y\n")),
    Case("a cell with a formula, in a column that was asked for",
         lambda: [*table("a,b\n" + BODY + "=SUM(A2:A61),3\n")(), "--columns", "a,b"]),
    Case("another encoding than UTF-8", table("größe,b\n1,2\n".encode("latin-1"))),
    Case("UTF-16, as some spreadsheets export", table(("a,b\n" + BODY).encode("utf-16"))),
    Case("zero bytes", table("a,b\0\n" + BODY)),
    Case("a million columns", table(",".join(f"x{j}" for j in range(10**6)) + "\n" + "1," * (10**6 - 1) + "1\n")),
    Case("a missing value", table("a,b\n,2\n" + BODY)),
    Case("an infinite value", table("a,b\ninf,2\n" + BODY)),
    Case("a number beyond double precision", table("a,b\n1e999,2\n" + BODY)),
    Case("one row", table("a,b\n1,2\n")),
    Case("Parquet that is none", table("a,b\n1,2\n", "table.parquet")),
    Case("Parquet, cut off", lambda: _cut("table.parquet")),
    Case("a column that is not there", lambda: [*table("a,b\n" + BODY)(), "--columns", "a,c"]),
]  # fmt: skip


# What the file holds cannot be fitted as it was asked for.
REFUSED_COMMANDS = [
    Case("more components than rows", lambda: [*table("a,b\n" + BODY)()[:2], "--components", "100"]),
    Case("the same, with `-k`", lambda: [*table("a,b\n" + BODY)()[:2], "-k", "100"]),
    Case("a column that is the sum of others", table("a,b,c\n1,2,3\n2,3,5\n3,1,4\n4,2,6\n5,9,14\n6,6,12\n")),
    Case("`--reg-covar nan`", lambda: [*table("a,b\n" + BODY)(), "--reg-covar", "nan"]),
]  # fmt: skip


def _cut(name: str) -> list[str]:
    command = frame(name)()
    whole = Path(name).read_bytes()
    Path(name).write_bytes(whole[: len(whole) // 2])
    return command


# ------------------------------------------------------------------------------------------------ where results go


def results(*arguments: str) -> list[str]:
    return [*table("a,b\n" + BODY)(), *arguments]


def occupied(name: str) -> None:
    Path(name).write_text("years of work")


REFUSED_PLACES = [
    Case("`--out` is a file", lambda: (occupied("thesis"), results("--out", "thesis"))[1]),
    Case("`--out` below a file", lambda: (occupied("thesis"), results("--out", "thesis/results"))[1]),
    Case("`--out` in a folder that is read-only", lambda: results("--out", "locked/results")),
    Case("`--report` of another kind", lambda: ["select", "galaxies", "-k", "1", "--report", "page.pdf"]),
    Case("`--report` below a file",
         lambda: (occupied("thesis"), ["select", "galaxies", "-k", "1", "--report", "thesis/page.html"])[1]),
]  # fmt: skip

# ------------------------------------------------------------------------------------------------ saved fits


def saved(fit: Any, name: str = "fit.nc") -> Path:
    return fit.save(name)


def cut_off(fit: Any) -> Path:
    path = saved(fit)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return path


def changed(fit: Any) -> Path:
    path = saved(fit, "fit.zarr")
    chunk = next(file for file in path.joinpath("posterior", "means", "c").rglob("0") if file.is_file())
    chunk.write_bytes(b"0")
    return path


def marked(fit: Any, **marks: Any) -> Path:
    tree = fit.tree.copy()
    tree.attrs = {**fit.tree.attrs, "bayesgmm_format": "bayesgmm mixture fit", "bayesgmm_format_version": 1} | marks
    tree.to_netcdf("fit.nc", engine="netcdf4")
    return Path("fit.nc")


def foreign(_fit: Any) -> Path:
    xr.Dataset({"x": ("t", np.arange(2.0))}).to_netcdf("fit.nc", engine="netcdf4")
    return Path("fit.nc")


def half(fit: Any) -> Path:
    shutil.rmtree(saved(fit, "fit.zarr") / "posterior")
    return Path("fit.zarr")


def written(name: str, content: bytes) -> Callable[[Any], Path]:
    def write(_fit: Any) -> Path:
        Path(name).write_bytes(content)
        return Path(name)

    return write


REFUSED_FITS = [
    Case("there is no such file", lambda _fit: Path("fit.nc")),
    Case("a file that is cut off", cut_off),
    Case("a Zarr store that was changed", changed),
    Case("a Zarr store of which a part is gone", half),
    Case("from a newer version", lambda fit: marked(fit, bayesgmm_format_version=99)),
    Case("a version that is no number", lambda fit: marked(fit, bayesgmm_format_version="new")),
    Case("without a word on how it was made", lambda fit: marked(fit, bayesgmm_info="{}")),
    Case("NetCDF of another program", foreign),
    Case("text with the ending of NetCDF", written("fit.nc", b"a,b\n1,2\n")),
    Case("an empty file", written("fit.nc", b"")),
    Case("a pickle", written("fit.pkl", b"\x80\x04N.")),
    Case("a table", written("table.csv", b"a,b\n1,2\n")),
    Case("a folder", lambda _fit: (Path("fit.nc").mkdir(), Path("fit.nc"))[1]),
]

# ------------------------------------------------------------------------------------------------ comparisons


def of(table_: Any, n_components: int = 2, **options: Any) -> Any:
    return bg.fit_em(table_, n_components, **{"seed": 0, "n_starts": 4} | options)


REFUSED_COMPARISONS = [
    Case("a mixture, not a fit", lambda em, draws: bg.compare(em.mixture, draws)),
    Case("two point estimates", lambda em, _draws: bg.compare(em, em)),
    Case("the two in the wrong order", lambda em, draws: bg.compare(draws, em)),
    Case("fits of other columns", lambda _em, draws: bg.compare(of(TABLE), draws)),
    Case("fits with other numbers of components",
         lambda em, draws: bg.compare(of(em.prepared, 3), draws)),
    Case("fits of other structures", lambda em, draws: bg.compare(of(em.prepared, structure="diag"), draws)),
    Case("fits of other rows", lambda _em, draws: bg.compare(of(bg.load_dataset("faithful")[:200]), draws)),
    Case("`ci_prob=95`", lambda em, draws: bg.compare(em, draws, ci_prob=95)),
    Case("`n_boot=1`", lambda em, draws: bg.compare(em, draws, n_boot=1)),
    Case("a posterior's EM fit with other components",
         lambda em, _draws: bg.fit_bayes(em.prepared, 3, em=em, seed=0)),
    Case("an EM fit that is none", lambda em, _draws: bg.fit_bayes(em.prepared, 2, em=em.mixture, seed=0)),
    Case("priors that are none", lambda em, _draws: bg.fit_bayes(em.prepared, 2, priors={"dof": 6.0}, seed=0)),
    Case("a seed of text", lambda em, draws: bg.compare(em, draws, seed="x")),
    Case("`draws=0`", lambda em, _draws: bg.fit_bayes(em.prepared, 2, draws=0, seed=0)),
    Case("`chains=0`", lambda em, _draws: bg.fit_bayes(em.prepared, 2, chains=0, seed=0)),
    Case("`tune=-1`", lambda em, _draws: bg.fit_bayes(em.prepared, 2, tune=-1, seed=0)),
    Case("`target_accept=1.5`", lambda em, _draws: bg.fit_bayes(em.prepared, 2, target_accept=1.5, seed=0)),
    Case("`chains=100000`", lambda em, _draws: bg.fit_bayes(em.prepared, 2, chains=100000, seed=0)),
    Case("`target_accept='high'`", lambda em, _draws: bg.fit_bayes(em.prepared, 2, target_accept="high", seed=0)),
    Case("a model that is none", lambda em, _draws: bg.fit_bayes(em.prepared, 2, em=em, model="normal", seed=0)),
    Case("a checkpoint that is no path",
         lambda em, _draws: bg.fit_bayes(em.prepared, 2, sampler="gibbs", checkpoint=3, seed=0)),
    Case("`build_model(table, 2, priors=3)`", lambda _em, _draws: bg.build_model(TABLE, 2, priors=3)),
    Case("`number_of_components(table, priors='wide')`",
         lambda _em, _draws: bg.number_of_components(TABLE, priors="wide")),
    Case("`number_of_components(table, concentration='high')`",
         lambda _em, _draws: bg.number_of_components(TABLE, concentration="high")),
    Case("`priors.describe(table, 'two')`", lambda _em, _draws: bg.Priors().describe(TABLE, "two")),
    Case("an unknown sampler", lambda em, _draws: bg.fit_bayes(em.prepared, 2, sampler="metropolis")),
    Case("an option that the sampler has not",
         lambda em, _draws: bg.fit_bayes(em.prepared, 2, sampler="gibbs", target_accept=0.9)),
]  # fmt: skip

# ------------------------------------------------------------------------------------------------ what is no fit, ...

ONE = bg.Mixture([1.0], [[0.0]], [[[1.0]]])

#: What takes a mixture or a fit.
OF_A_MODEL = {
    "impute": lambda model: bg.impute(model, ROWS),
    "regress": lambda model: bg.regress(model, TABLE[["a"]]),
    "anomaly_scores": lambda model: bg.anomaly_scores(model, ROWS),
    "highest_density_level": bg.highest_density_level,
}
#: What draws a fit.
OF_A_PLOT = {
    "plot_comparison": bg.plot_comparison,
    "plot_components": bg.plot_components,
    "plot_density": bg.plot_density,
    "plot_entropy": bg.plot_entropy,
    "plot_memberships": bg.plot_memberships,
    "plot_pairs": bg.plot_pairs,
    "plot_parameters": bg.plot_parameters,
    "plot_projection": bg.plot_projection,
    "plot_similarity": bg.plot_similarity,
}
NO_MODEL, NO_PLOT = (
    "`impute(None, rows)`, and other functions of a mixture or a fit",
    "`plot_density(None)`, and others",
)
#: What takes the probability of a region or of intervals.
OF_A_PROB = {
    "highest_density_level": lambda em, _draws, prob: bg.highest_density_level(em, prob),
    "memberships": lambda em, _draws, prob: em.memberships(prob=prob),
    "summary": lambda _em, draws, prob: draws.summary(prob=prob),
    "standard_errors": lambda em, _draws, prob: em.standard_errors(prob=prob),
    "partition of a fit": lambda _em, draws, prob: draws.partition(prob=prob),
    "partition": lambda _em, _draws, prob: bg.partition([[0, 1], [0, 1]], prob=prob),
    "plot_density": lambda em, _draws, prob: bg.plot_density(em, prob=prob),
}
NO_PROB = "`prob='high'`, wherever there is a probability"
#: What takes a path.
OF_A_PATH = {
    "load": lambda _em, path: load(path),
    "save": lambda em, path: em.save(path),
    "report": bg.report,
    "Selection.load": lambda _em, path: bg.Selection.load(path),
}
NO_PATH = "`load(3)`, `fit.save(3)`, `report(fit, 3)`"


def _selected() -> Any:
    return bg.select(TABLE, [1, 2], structures="diag", n_starts=2, seed=0)


REFUSED_ARGUMENTS = [
    Case(NO_MODEL, lambda _em, _draws: OF_A_MODEL["impute"](None)),
    Case("`cdf(fit, 0.0)`", lambda em, _draws: bg.cdf(em, 0.0)),
    Case("`quantile('text', 0.5)`", lambda _em, _draws: bg.quantile("text", 0.5)),
    Case("`relabel(None, rows)`", lambda _em, _draws: bg.relabel(None, ROWS)),
    Case("`relabel(draws, rows, reference=fit)`", lambda em, draws: bg.relabel(draws.mixture, ROWS, reference=em)),
    Case("`label_free_diagnostics(fit, rows)`", lambda _em, draws: bg.label_free_diagnostics(draws, ROWS)),
    Case("`optimum_masses(None)`", lambda _em, _draws: bg.optimum_masses(None)),
    Case("`optimum_masses(draws)`", lambda _em, draws: bg.optimum_masses(draws)),
    Case("`log_evidence(fit, em=3)`", lambda em, _draws: bg.log_evidence(em, em=3)),
    Case("`log_evidence(fit, model=3)`", lambda em, _draws: bg.log_evidence(em, model=3)),
    Case(NO_PLOT, lambda _em, _draws: bg.plot_density(None)),
    Case("`report(None, 'page.html')`", lambda _em, _draws: bg.report(None, "page.html")),
    Case("`cdf(mixture, 'text')`", lambda _em, _draws: bg.cdf(ONE, "text")),
    Case("`cdf(mixture, [0.0, nan])`", lambda _em, _draws: bg.cdf(ONE, [0.0, np.nan])),
    Case("`quantile(mixture, 'text')`", lambda _em, _draws: bg.quantile(ONE, "text")),
    Case("`quantile(mixture, [nan, nan])`", lambda _em, _draws: bg.quantile(ONE, [np.nan, np.nan])),
    Case(NO_PROB, lambda em, draws: OF_A_PROB["memberships"](em, draws, "high")),
    Case("`compare(em, draws, ci_prob='high')`", lambda em, draws: bg.compare(em, draws, ci_prob="high")),
    Case("`selection.bootstrap_lrt(level='high')`", lambda _em, _draws: _selected().bootstrap_lrt(level="high")),
    Case("`selection.fit('diag', '2')`", lambda _em, _draws: _selected().fit("diag", "2")),
    Case("`select(table, structures=None)`", lambda _em, _draws: bg.select(TABLE, structures=None)),
    Case("`bootstrap_lrt(table, 1, n_starts='many')`", lambda _em, _draws: bg.bootstrap_lrt(TABLE, 1, n_starts="many")),
    Case("`bootstrap_lrt(table, 1, tol=None)`", lambda _em, _draws: bg.bootstrap_lrt(TABLE, 1, tol=None)),
    Case("`bootstrap_lrt(table, 1, n_threads=-1)`",
         lambda _em, _draws: bg.bootstrap_lrt(TABLE, 1, n_starts=1, n_boot=1, n_threads=-1, seed=0)),
    Case("`relabel(draws, 'text')`",
         lambda em, draws: bg.relabel(draws.mixture, "text", reference=em.mixture)),
    Case("`relabel` of rows with weights of text",
         lambda em, draws: bg.relabel(draws.mixture, ROWS, reference=em.mixture, sample_weight=["heavy"] * len(ROWS))),
    Case("`label_free_diagnostics(draws, [])`", lambda _em, draws: bg.label_free_diagnostics(draws.mixture, [])),
    Case("`relabel_allocations(labels, [])`", lambda _em, _draws: bg.relabel_allocations([[0, 1], [0, 0]], [])),
    Case("`plot_density(fit, ax=3)`", lambda em, _draws: bg.plot_density(em, ax=3)),
    Case("`plot_pairs(fit, figure=3)`", lambda em, _draws: bg.plot_pairs(em, figure=3)),
    Case("`plot_memberships(fit, n_rows='all')`", lambda em, _draws: bg.plot_memberships(em, n_rows="all")),
    Case(NO_PATH, lambda _em, _draws: load(3)),
]  # fmt: skip
