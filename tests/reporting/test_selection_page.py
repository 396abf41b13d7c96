"""The page about a selection: complete, alone, and escaped."""

import pytest

from bayesgmm.data import load_dataset
from bayesgmm.reporting import report
from bayesgmm.selection import select
from bayesgmm.selection.posteriors import Posteriors
from bayesgmm.selection.selection import Selection
from tests.reporting.test_page import read


@pytest.fixture(scope="module")
def chosen():
    table = load_dataset("faithful").rename(columns={"waiting": "<b>waiting</b>"})
    return select(table, [1, 2, 3], structures=("full", "tied"), n_starts=4, seed=0)


def test_says_what_was_chosen_and_how(chosen, tmp_path):
    path = report(chosen, tmp_path / "page.html", source="a table", command="bayesgmm select x.csv -k 1:3")
    page = read(path)
    assert all(source.startswith("data:image/png") for source in page.sources)
    assert len(page.sources) == 2
    assert "How many components: eruptions, <b>waiting</b>" in page.text
    assert "b" not in page.tags
    assert "BIC chooses 3 components, tied (EEE) (2314.3)." in page.text
    assert "Take 3 to describe the density, 2 to count clusters." in page.text
    assert "bayesgmm select x.csv -k 1:3" in page.text
    assert (
        "selection = bg.select(table, [1, 2, 3], structures=['VVV', 'EEE'], criterion=\"bic\", seed=0, n_starts=4)"
        in page.text
    )
    assert "Posteriors" not in page.text


def test_posteriors(chosen, faithful_draws, tmp_path):
    cells = tuple(chosen.cells.values())
    drawn = Posteriors({("VVV", 2): faithful_draws}, {}, {})
    page = read(
        report(Selection(chosen.prepared, cells, "icl", chosen.settings, drawn), tmp_path / "page.html", title="T")
    )
    assert len(page.sources) == 2
    assert "elpd" in page.text
    assert "selection = selection.with_posteriors(1, draws=40, tune=500, chains=2)" in page.text
