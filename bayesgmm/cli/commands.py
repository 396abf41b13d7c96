"""The commands: compare, fit, select, datasets; and `main`, which runs them and turns what goes wrong into a status."""

import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bayesgmm.cli.options import SAMPLERS, selection_options, shared_options
from bayesgmm.cli.results import check_page, folder_for, name_files, write_report
from bayesgmm.cli.tables import prepare_file, read_for_em
from bayesgmm.cli.talking import (
    Interrupted,
    complain,
    describe_defect,
    interruptible,
    progress,
    sentence,
    shorten_warnings,
)
from bayesgmm.errors import BayesGMMError

if TYPE_CHECKING:
    from bayesgmm.data import PreparedData
    from bayesgmm.fit import MixtureFit
    from bayesgmm.selection import Selection

__all__ = ["cli", "main"]

# Set in the environment, it lets a traceback through, for whoever mends the package.
_DEBUG = "BAYESGMM_DEBUG"

_EXAMPLES = """\b
Examples:
  bayesgmm compare faithful -k 2 --out results
  bayesgmm fit measurements.csv -k 3 --method em
  bayesgmm select measurements.csv -k 1:9
  bayesgmm datasets

\b
Exit status:
  0    all went well
  1    the data, a file or the fit: one sentence says what is wrong
  2    the command makes no sense: an option that is missing or not known
  130  interrupted by Ctrl-C
"""
_DATASETS_EXAMPLES = """\b
Examples:
  bayesgmm datasets
  bayesgmm fit iris -k 3
"""
_COMPARE_EXAMPLES = """\b
Examples:
  bayesgmm compare faithful -k 2 --out results
  bayesgmm compare measurements.csv -k 3 --columns height,weight
  bayesgmm compare measurements.csv -k 3 --sampler gibbs
"""
_FIT_EXAMPLES = """\b
Examples:
  bayesgmm fit measurements.parquet -k 3 --method em
  bayesgmm fit iris -k 3 --method nuts --structure diag --out results
  bayesgmm fit measurements.csv -k 3 --method laplace
  bayesgmm fit measurements.csv -k 3 --labels species
"""
_SELECT_EXAMPLES = """\b
Examples:
  bayesgmm select iris -k 1:9 --structures all
  bayesgmm select measurements.csv -k 2,3,4 --structures full,diag --bayes --report selection.html
"""


@click.group(epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="bayesgmm", message="%(prog)s %(version)s")
def cli() -> None:
    """Fit a Gaussian mixture by EM and as a posterior, and see how far the estimate can be trusted."""


@cli.command(epilog=_COMPARE_EXAMPLES, short_help="Fit by EM and as a posterior, and compare the two.")
@shared_options
@click.option("--sampler", type=click.Choice(SAMPLERS), default="nuts", show_default=True, help="How to sample.")
@click.pass_context
def compare(
    context: click.Context, /, file: str, components: int, quiet: bool, out: Path | None, **options: Any
) -> None:
    """Fit the columns of FILE by EM and as a posterior, and compare the two.

    FILE is a CSV or Parquet file, or the name of a data set (see `bayesgmm datasets`). With --out, writes report.html
    and both fits, fit.nc (the posterior) and em.nc.
    """
    with progress(quiet=quiet) as step:
        step("reading")
        data = prepare_file(file, options["columns"], options["missing"], quiet=quiet)
        context.with_resource(folder_for(out))
        step("fitting by EM")
        em = _fit_em(data, components, options)
        shows = step("sampling the posterior", hands_over=True)
        post = _fit_bayes(data, components, options, em, options["sampler"], progress=shows)
        shows = step("comparing", hands_over=True)
        from bayesgmm.comparison import compare as compare_fits

        check = compare_fits(em, post, progress=shows)
        text = str(check)
        written = []
        if out is not None:
            shows = step("writing", hands_over=True)
            written = [
                write_report(check, out / "report.html", file, context, progress=shows),
                post.save(out / "fit.nc"),
                em.save(out / "em.nc"),
            ]
    click.echo(text)
    name_files(written)


@cli.command(epilog=_FIT_EXAMPLES, short_help="Fit by EM, or draw from the posterior.")
@shared_options
@click.option("--method", "--sampler", "method", type=click.Choice(["em", *SAMPLERS]), default="em",
              show_default=True, help="How to fit: by EM, or which sampler.")  # fmt: skip
@click.option("--labels", metavar="COLUMN",
              help="Column with the component of rows where that is known, empty elsewhere (EM).")  # fmt: skip
@click.pass_context
def fit(
    context: click.Context,
    /,
    file: str,
    components: int,
    quiet: bool,
    out: Path | None,
    method: str,
    labels: str | None,
    **options: Any,
) -> None:
    """Fit the columns of FILE by EM, or draw from the posterior.

    FILE is a CSV or Parquet file, or the name of a data set (see `bayesgmm datasets`). With --out, writes report.html
    and the fit, fit.nc. By EM, a Parquet file may be larger than memory.
    """
    if labels is not None and method != "em":
        raise click.UsageError(f"--labels goes with --method em; {method} does not know the components of rows.")
    if options["checkpoint"] is not None and method == "em":
        raise click.UsageError("--checkpoint goes with --method nuts or gibbs; em is repeated, not gone on with.")
    with progress(quiet=quiet) as step:
        step("reading")
        wanted = (file, options["columns"], options["missing"])
        data, told = (
            read_for_em(*wanted, labels, quiet=quiet) if method == "em" else (prepare_file(*wanted, quiet=quiet), {})
        )
        context.with_resource(folder_for(out))
        step("fitting by EM")
        found = _fit_em(data, components, options, **told)
        if method != "em":
            shows = step("sampling the posterior", hands_over=True)
            found = _fit_bayes(data, components, options, found, method, progress=shows)
        text = str(found.summary())
        written = []
        if out is not None:
            shows = step("writing", hands_over=True)
            page = write_report(found, out / "report.html", file, context, progress=shows)
            written = [page, found.save(out / "fit.nc")]
    click.echo(text)
    name_files(written)


@cli.command(epilog=_SELECT_EXAMPLES, short_help="Choose the number of components and the structure.")
@selection_options
@click.pass_context
def select(
    context: click.Context, /, file: str, components: list[int], quiet: bool, report: Path | None, **options: Any
) -> None:
    """Choose the number of components and the covariance structure for the columns of FILE.

    FILE is a CSV or Parquet file, or the name of a data set (see `bayesgmm datasets`). Every structure is fitted with
    every number of components by EM; the table is sorted by the criterion.
    """
    with progress(quiet=quiet) as step:
        step("reading")
        data = prepare_file(file, options["columns"], options["missing"], quiet=quiet)
        check_page(report)
        shows = step("fitting the grid by EM", hands_over=True)
        found = _select(data, components, options, progress=shows)
        if options["bayes"]:
            shows = step("sampling posteriors", hands_over=True)
            wanted = {name: options[name] for name in ("draws", "tune", "chains")}
            found = found.with_posteriors(options["survivors"], progress=shows, **wanted)
            step("judging them")
        text = str(found)
        written = []
        if report is not None:
            shows = step("writing", hands_over=True)
            written = [write_report(found, report, file, context, progress=shows)]
    click.echo(text)
    name_files(written)


@cli.command(epilog=_DATASETS_EXAMPLES)
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
        with interruptible(), warnings.catch_warnings():
            shorten_warnings(given)
            cli.main(given, prog_name="bayesgmm", standalone_mode=False, obj=given)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # Whoever read the output has had enough, as `head` does; what is left goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (BayesGMMError, OSError) as error:
        complain(f"Error: {sentence(error, given)}")
        sys.exit(1)
    except (Interrupted, KeyboardInterrupt, click.Abort):
        is_kept = any(argument.startswith("--checkpoint") for argument in given)
        kept = "with the draws so far in the checkpoint the same command goes on."
        complain(f"Interrupted; {kept if is_kept else 'what was not finished has not been written.'}")
        sys.exit(130)
    except MemoryError:
        complain("Error: there is not enough memory. Use fewer rows, columns or draws, or a Parquet file with EM.")
        sys.exit(1)
    except Exception as error:
        if os.environ.get(_DEBUG):
            raise
        complain(f"Error: {describe_defect(error)} {_DEBUG}=1 shows where it happened.")
        sys.exit(1)
    sys.exit(0)


def _fit_em(data: Any, components: int, options: dict[str, Any], **told: Any) -> "MixtureFit":
    from bayesgmm.em.fit import fit_em

    (structure,) = options["structure"]
    return fit_em(data, components, structure=structure, seed=options["seed"], **_tamed(options), **told)


def _fit_bayes(
    data: "PreparedData", components: int, options: dict[str, Any], em: "MixtureFit", sampler: str, *, progress: bool
) -> "MixtureFit":
    from bayesgmm.bayes import fit_bayes

    wanted = {name: options[name] for name in ("seed", "draws", "tune", "chains")}
    if options["checkpoint"] is not None:
        wanted["checkpoint"] = options["checkpoint"]
    (structure,) = options["structure"]
    return fit_bayes(data, components, structure=structure, em=em, sampler=sampler, progress=progress, **wanted)


def _select(data: "PreparedData", components: list[int], options: dict[str, Any], *, progress: bool) -> "Selection":
    from bayesgmm.selection import select as select_fits

    structures = "all" if options["structures"] == ["all"] else options["structures"]
    wanted = {name: options[name] for name in ("criterion", "seed")} | _tamed(options)
    return select_fits(data, components, structures=structures, progress=progress, **wanted)


def _tamed(options: dict[str, Any]) -> dict[str, Any]:
    return {} if options["reg_covar"] is None else {"reg_covar": options["reg_covar"]}
