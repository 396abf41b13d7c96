"""The command ``bayesgmm``: from a file to a comparison, a page and saved fits.

Whatever is wrong with what the user asked for ends in one sentence on the error stream and a status that is not zero,
never in a traceback: 2 for a command that makes no sense, 1 for data that cannot be used, 130 after Ctrl-C. Results go
to the output stream, progress and warnings to the error stream. Heavy libraries load inside the commands, so that help
is there at once.
"""

import os
import re
import shlex
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bayesgmm.errors import ArgumentError, BayesGMMError, BayesGMMWarning, DataError

if TYPE_CHECKING:
    import pandas as pd

    from bayesgmm.data import PreparedData
    from bayesgmm.fit import MixtureFit
    from bayesgmm.selection import Selection

__all__ = ["cli", "main"]

_EXAMPLES = """\b
Examples:
  bayesgmm compare faithful -k 2 --out results
  bayesgmm fit measurements.csv -k 3 --method em
  bayesgmm select measurements.csv -k 1:9
  bayesgmm datasets
"""
_COMPARE_EXAMPLES = """\b
Examples:
  bayesgmm compare faithful -k 2 --out results
  bayesgmm compare measurements.csv -k 3 --columns height,weight
"""
_FIT_EXAMPLES = """\b
Examples:
  bayesgmm fit measurements.parquet -k 3 --method em
  bayesgmm fit iris -k 3 --method nuts --structure diag --out results
"""
_SELECT_EXAMPLES = """\b
Examples:
  bayesgmm select iris -k 1:9 --structures all
  bayesgmm select measurements.csv -k 2,3,4 --structures full,diag --bayes --report selection.html
"""

# A slip such as 1:99999 is named, not begun.
_MOST_COMPONENTS = 1000


class Interrupted(BaseException):
    """Ctrl-C; not a KeyboardInterrupt, which a sampler would take as a wish for fewer draws."""


@click.group(epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="bayesgmm", message="%(prog)s %(version)s")
def cli() -> None:
    """Fit a Gaussian mixture by EM and as a posterior, and see how far the estimate can be trusted."""


class Numbers(click.ParamType[list[int]]):
    """Numbers of components: 3, 2,4 or 1:9, both ends included."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[int]:
        """Return the numbers in increasing order, each once."""
        found: set[int] = set()
        for part in str(value).split(","):
            first, colon, last = (piece.strip() for piece in part.partition(":"))
            if not first.isdecimal() or not (last.isdecimal() or not colon):
                self.fail(f"{value!r} is neither a number, nor 1:9, nor 2,3,5.", param, ctx)
            ends = int(first), int(last or first)
            if not 1 <= ends[0] <= ends[1] <= _MOST_COMPONENTS:
                self.fail(f"{value!r} must lie between 1 and {_MOST_COMPONENTS} and go upwards, as 1:9.", param, ctx)
            found |= set(range(ends[0], ends[1] + 1))
        return sorted(found)


def _shared_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the argument and the options that `compare` and `fit` have in common."""
    decorators = [
        click.argument("file"),
        click.option("-k", "--components", type=click.IntRange(min=1), required=True, help="Number of components."),
        click.option("--structure", default="full", show_default=True, help="full, tied, diag, spherical, or a code."),
        *_data_options(),
        *_sampling_options(),
        click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder to write results to."),
        click.option("-q", "--quiet", is_flag=True, help="Show no progress and no warnings."),
    ]
    return _decorated(command, decorators)


def _selection_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the argument and the options of `select`."""
    decorators = [
        click.argument("file"),
        click.option("-k", "--components", type=Numbers(), default="1:9", show_default=True, metavar="NUMBERS",
                     help="Numbers of components: 1:9, or 2,3,5."),
        click.option("--structures", default="full,diag", show_default=True, metavar="A,B",
                     help="Covariance structures, or all."),
        click.option("--criterion", type=click.Choice(["bic", "icl", "aic"]), default="bic", show_default=True,
                     help="What ranks the fits; smaller is better."),
        *_data_options(),
        click.option("--bayes", is_flag=True, help="Sample the posteriors of the best: prediction, evidence."),
        click.option("--survivors", type=click.IntRange(min=1), default=3, show_default=True, help="How many of them."),
        *_sampling_options(),
        click.option("--report", type=click.Path(path_type=Path), metavar="PAGE", help="HTML page to write."),
        click.option("-q", "--quiet", is_flag=True, help="Show no progress and no warnings."),
    ]  # fmt: skip
    return _decorated(command, decorators)


def _data_options() -> list[Any]:
    return [
        click.option("--columns", multiple=True, metavar="A,B", help="Columns to use. Default: every numeric one."),
        click.option("--missing", type=click.Choice(["error", "drop", "marginalize"]), default="error",
                     show_default=True,
                     help="Rows with missing values: refuse the table, leave them out, or (EM) use what is there."),
        click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Same seed, same fit."),
    ]  # fmt: skip


def _sampling_options() -> list[Any]:
    return [
        click.option("--draws", type=click.IntRange(min=1), default=1000, show_default=True, help="Draws, each chain."),
        click.option("--tune", type=click.IntRange(min=0), default=500, show_default=True, help="Steps before them."),
        click.option("--chains", type=click.IntRange(min=1), default=4, show_default=True, help="Chains."),
    ]


def _decorated(command: Callable[..., None], decorators: Sequence[Any]) -> Callable[..., None]:
    for decorate in reversed(decorators):
        command = decorate(command)
    return command


@cli.command(epilog=_COMPARE_EXAMPLES)
@_shared_options
@click.pass_context
def compare(
    context: click.Context, /, file: str, components: int, quiet: bool, out: Path | None, **options: Any
) -> None:
    """Fit the columns of FILE by EM and as a posterior, and compare the two.

    FILE is a CSV or Parquet file, or the name of a data set (see `bayesgmm datasets`). With --out, writes report.html
    and both fits, fit.nc (the posterior) and em.nc.
    """
    with _progress(quiet=quiet) as step:
        step("reading")
        data = _prepare(file, options["columns"], options["missing"], quiet=quiet)
        _make_folder(out)
        step("fitting by EM")
        em = _fit_em(data, components, options)
        step("sampling the posterior")
        post = _fit_bayes(data, components, options, em)
        step("comparing")
        from bayesgmm.comparison import compare as compare_fits

        check = compare_fits(em, post)
        text = str(check)
        written = []
        if out is not None:
            step("writing")
            written = [
                _write_report(check, out / "report.html", file, context),
                post.save(out / "fit.nc"),
                em.save(out / "em.nc"),
            ]
    click.echo(text)
    _name_files(written)


@cli.command(epilog=_FIT_EXAMPLES)
@_shared_options
@click.option("--method", type=click.Choice(["em", "nuts"]), default="em", show_default=True, help="How to fit.")
@click.pass_context
def fit(
    context: click.Context, /, file: str, components: int, quiet: bool, out: Path | None, method: str, **options: Any
) -> None:
    """Fit the columns of FILE by EM, or sample the posterior by NUTS.

    FILE is a CSV or Parquet file, or the name of a data set (see `bayesgmm datasets`). With --out, writes report.html
    and the fit, fit.nc.
    """
    with _progress(quiet=quiet) as step:
        step("reading")
        data = _prepare(file, options["columns"], options["missing"], quiet=quiet)
        _make_folder(out)
        step("fitting by EM")
        found = _fit_em(data, components, options)
        if method == "nuts":
            step("sampling the posterior")
            found = _fit_bayes(data, components, options, found)
        text = str(found.summary())
        written = []
        if out is not None:
            step("writing")
            written = [_write_report(found, out / "report.html", file, context), found.save(out / "fit.nc")]
    click.echo(text)
    _name_files(written)


@cli.command(epilog=_SELECT_EXAMPLES)
@_selection_options
@click.pass_context
def select(
    context: click.Context, /, file: str, components: list[int], quiet: bool, report: Path | None, **options: Any
) -> None:
    """Choose the number of components and the covariance structure for the columns of FILE.

    FILE is a CSV or Parquet file, or the name of a data set (see `bayesgmm datasets`). Every structure is fitted with
    every number of components by EM; the table is sorted by the criterion.
    """
    with _progress(quiet=quiet) as step:
        step("reading")
        data = _prepare(file, options["columns"], options["missing"], quiet=quiet)
        _check_page(report)
        step("fitting the grid by EM")
        found = _select(data, components, options)
        if options["bayes"]:
            step("sampling posteriors")
            wanted = {name: options[name] for name in ("draws", "tune", "chains")}
            found = found.with_posteriors(options["survivors"], **wanted)
        text = str(found)
        written = []
        if report is not None:
            step("writing")
            written = [_write_report(found, report, file, context)]
    click.echo(text)
    _name_files(written)


@cli.command()
def datasets() -> None:
    """List the data sets that come with bayesgmm."""
    from bayesgmm.data import DATASETS

    width = max(map(len, DATASETS))
    for name, description in DATASETS.items():
        click.echo(f"{name:<{width}}  {description}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit with its status.

    Parameters
    ----------
    arguments : sequence of str, optional
        What follows ``bayesgmm`` on the command line. Default ``sys.argv[1:]``.

    Raises
    ------
    SystemExit
        Always, with the status: 0 when all went well.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Pictures go to files; a backend for windows or notebooks may be set in the environment and not be there.
    os.environ["MPLBACKEND"] = "Agg"
    try:
        with _interruptible(), warnings.catch_warnings():
            _shorten_warnings()
            cli.main(given, prog_name="bayesgmm", standalone_mode=False, obj=given)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (BayesGMMError, OSError) as error:
        _complain(f"Error: {_sentence(error)}")
        sys.exit(1)
    except (Interrupted, KeyboardInterrupt, click.Abort):
        _complain("Interrupted; what was not finished has not been written.")
        sys.exit(130)
    sys.exit(0)


# -------------------------------------------------------------------- data and fits


def _prepare(file: str, columns: Sequence[str], missing: str, *, quiet: bool) -> "PreparedData":
    from bayesgmm.data import prepare

    table = _read(file)
    chosen = _named(columns, table) or _numeric(table, file, quiet=quiet)
    return prepare(table, chosen, missing=missing)


def _read(file: str) -> "pd.DataFrame":
    from bayesgmm.data import DATASETS, load_dataset
    from bayesgmm.data.files import read_file

    if file in DATASETS:
        return load_dataset(file)
    if not Path(file).suffix and not Path(file).exists():
        raise DataError(f"there is no file {file!r}, and no data set of that name ({', '.join(DATASETS)})")
    return read_file(file)


def _named(columns: Sequence[str], table: "pd.DataFrame") -> list[str]:
    """Return the names given with --columns: each a name, or names with commas between them."""
    names = [str(name) for name in table.columns]
    return [part for given in columns for part in ([given] if given in names else map(str.strip, given.split(",")))]


def _numeric(table: "pd.DataFrame", file: str, *, quiet: bool) -> list[str]:
    numbers = [str(name) for name in table.select_dtypes("number").columns]
    others = [str(name) for name in table.columns if str(name) not in numbers]
    if not numbers:
        raise DataError(f"{file!r} has no numeric column; it has {', '.join(others)}")
    if others and not quiet:
        _complain(f"Left out, since not numeric: {', '.join(others)}.")
    return numbers


def _fit_em(data: "PreparedData", components: int, options: dict[str, Any]) -> "MixtureFit":
    from bayesgmm.em.fit import fit_em

    return fit_em(data, components, structure=options["structure"], seed=options["seed"])


def _fit_bayes(data: "PreparedData", components: int, options: dict[str, Any], em: "MixtureFit") -> "MixtureFit":
    from bayesgmm.bayes import fit_bayes

    wanted = {name: options[name] for name in ("structure", "seed", "draws", "tune", "chains")}
    return fit_bayes(data, components, em=em, **wanted)


def _select(data: "PreparedData", components: list[int], options: dict[str, Any]) -> "Selection":
    from bayesgmm.selection import select as select_fits

    named = [part.strip() for part in options["structures"].split(",")]
    structures = "all" if named == ["all"] else named
    return select_fits(data, components, structures=structures, criterion=options["criterion"], seed=options["seed"])


# -------------------------------------------------------------------- files


def _make_folder(out: Path | None, option: str = "--out") -> None:
    """Make the folder before minutes are spent on what goes into it."""
    if out is None:
        return
    if out.exists() and not out.is_dir():
        raise ArgumentError(f"{option} {str(out)!r} is a file; name a folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / f".{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ArgumentError(f"{option} {str(out)!r} cannot be written to: {error.strerror}") from None


def _check_page(page: Path | None) -> None:
    """Refuse a page that could not be written before minutes are spent on what goes into it."""
    if page is None:
        return
    if page.suffix.lower() not in (".html", ".htm"):
        raise ArgumentError(f"--report {str(page)!r} does not end in .html")
    _make_folder(page.parent, "--report")


def _write_report(subject: Any, page: Path, file: str, context: click.Context) -> Path:
    from bayesgmm.data import DATASETS
    from bayesgmm.reporting import report

    source = f"{file}: {DATASETS[file]}" if file in DATASETS else file
    return report(subject, page, source=source, command=shlex.join(["bayesgmm", *context.obj]))


def _name_files(written: Sequence[Path]) -> None:
    if written:
        click.echo("\nWritten:")
    for path in written:
        click.echo(f"  {path}")


# -------------------------------------------------------------------- talking


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Show what is being done on the error stream, where that is a terminal; give the function that says it."""
    if quiet:
        _silence_warnings()
    if quiet or not sys.stderr.isatty():
        yield lambda _text: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("starting", total=None)
        yield lambda text: progress.update(task, description=text)


def _shorten_warnings() -> None:
    """Show bayesgmm's own warnings in a line each, and nobody else's: what they mean to a user we say ourselves."""
    warnings.simplefilter("ignore")
    warnings.simplefilter("always", BayesGMMWarning)
    warnings.showwarning = lambda message, *_rest: _complain(f"Warning: {message}.")


def _silence_warnings() -> None:
    warnings.simplefilter("ignore")


def _complain(text: str) -> None:
    click.echo(text, err=True)


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and not isinstance(error, BayesGMMError):
        where = f" {str(error.filename)!r}" if error.filename is not None else ""
        return f"cannot read or write{where}: {error.strerror}."
    # The remedies in messages are Python's; here they are options.
    text = re.sub(r"missing='(\w+)'", r"--missing \1", str(error)).replace("columns=", "--columns")
    return text if text.endswith(".") else f"{text}."


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C end the command at once: nutpie takes a KeyboardInterrupt as a wish to return what it has."""

    def interrupt(_number: int, _frame: Any) -> None:
        raise Interrupted

    try:
        before = signal.signal(signal.SIGINT, interrupt)
    except ValueError:
        # Only the main thread may set handlers.
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
