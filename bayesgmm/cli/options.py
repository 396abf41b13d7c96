"""The options of the commands, and the kinds of values that they take."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from bayesgmm.errors import ArgumentError
from bayesgmm.structure import as_structure

__all__ = ["SAMPLERS", "Numbers", "Structures", "selection_options", "shared_options"]

#: Names of the samplers, as `bayesgmm.bayes.samplers` has them; asking there would load PyMC for a line of help.
SAMPLERS = ("nuts", "gibbs", "laplace", "smc", "advi", "pathfinder")

# A slip such as 1:99999 is named, not begun.
_MOST_COMPONENTS = 1000
_MOST_CHAINS = 1000
_MOST_STEPS = 10**8


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


class Structures(click.ParamType[list[str]]):
    """Names of covariance structures with commas between them, or all; names only, since D may change what they mean.

    Parameters
    ----------
    single : bool, default False
        Whether there must be one name.
    """

    name = "structures"

    def __init__(self, *, single: bool = False) -> None:
        self.single = single

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        """Return the names, each of them known."""
        names = [str(value)] if self.single else [part.strip() for part in str(value).split(",")]
        if names == ["all"] and not self.single:
            return names
        for name in names:
            try:
                as_structure(name)
            except ArgumentError as error:
                self.fail(f"{str(error).removeprefix('structure=')}.", param, ctx)
        return names


def shared_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the argument and the options that `compare` and `fit` have in common."""
    decorators = [
        click.argument("file"),
        click.option("-k", "--components", type=click.IntRange(min=1), required=True, help="Number of components."),
        click.option("--structure", type=Structures(single=True), default="full", show_default=True, metavar="NAME",
                     help="full, tied, diag, spherical, or a code such as VEV."),
        *_data_options(),
        *_sampling_options(),
        click.option("--checkpoint", type=click.Path(path_type=Path), metavar="STORE",
                     help="Zarr store (.zarr) in which nuts and gibbs leave their draws; the same command goes on."),
        click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder to write results to."),
        click.option("-q", "--quiet", is_flag=True, help="Show no progress and no warnings."),
    ]  # fmt: skip
    return _decorated(command, decorators)


def selection_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the argument and the options of `select`."""
    decorators = [
        click.argument("file"),
        click.option("-k", "--components", type=Numbers(), default="1:9", show_default=True, metavar="NUMBERS",
                     help="Numbers of components: 1:9, or 2,3,5."),
        click.option("--structures", type=Structures(), default="full,diag", show_default=True, metavar="A,B",
                     help="Covariance structures by name or code, or all."),
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
                     help="Rows with missing values: refuse the table, leave them out, use what is there."),
        click.option("--reg-covar", type=click.FloatRange(min=0), metavar="NUMBER",
                     help="What EM adds to variances, as a share of those of the columns, such as 1e-3."),
        click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Same seed, same fit."),
    ]  # fmt: skip


def _sampling_options() -> list[Any]:
    return [
        click.option(
            "--draws", type=click.IntRange(1, _MOST_STEPS), default=1000, show_default=True, help="Draws, each chain."
        ),
        click.option(
            "--tune",
            type=click.IntRange(0, _MOST_STEPS),
            show_default="500, or 150 where nuts needs no more",
            help="Steps before them.",
        ),
        click.option("--chains", type=click.IntRange(1, _MOST_CHAINS), default=4, show_default=True, help="Chains."),
    ]


def _decorated(command: Callable[..., None], decorators: Sequence[Any]) -> Callable[..., None]:
    for decorate in reversed(decorators):
        command = decorate(command)
    return command
