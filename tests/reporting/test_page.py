"""The page stands alone, says what it should, and lets nobody's column names become markup."""

import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from shutil import which

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib import pyplot as plt

from bayesgmm.comparison import compare
from bayesgmm.data.prepare import prepare
from bayesgmm.errors import ArgumentError
from bayesgmm.fit import FitInfo, MixtureFit, assemble
from bayesgmm.mixture import Mixture, simulate
from bayesgmm.reporting.page import report
from bayesgmm.structure import as_structure

VOID = {"img", "meta"}


class Reader(HTMLParser):
    """Checks that tags are balanced, and keeps tags, attributes and text."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.sources, self.text = [], [], [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += data


def read(path):
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    assert reader.open == []
    return reader


def renamed(fit, names):
    prepared = replace(fit.prepared, features=names)
    return assemble(replace(fit.mixture, features=names), prepared, fit.info, fit.scaling)


@pytest.fixture(scope="module")
def comparison_page(faithful_check, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    return report(faithful_check, path, source="a table", command="bayesgmm compare faithful -k 2")


class TestComparison:
    def test_needs_no_other_file(self, comparison_page):
        page = read(comparison_page)
        assert len(page.sources) == page.tags.count("img") == 5
        assert all(source.startswith("data:image/png;base64,") for source in page.sources)
        assert not {"script", "link", "iframe"} & set(page.tags)
        assert "http://" not in comparison_page.read_text() + ""
        assert "url(" not in comparison_page.read_text()

    def test_says_everything(self, comparison_page, faithful_check):
        text = " ".join(read(comparison_page).text.split())
        for finding in faithful_check.findings:
            assert finding.text in text
        for name in faithful_check.parameters.index:
            assert name in text
        for advice in faithful_check.advice:
            assert advice in text
        assert "-1,130.26" in text
        assert f"{faithful_check.prediction.loc['posterior', 'elpd_loo']:,.2f}" in text
        assert "bayesgmm compare faithful -k 2" in text
        assert "a table" in text

    def test_the_row_between_the_components_is_listed(self, comparison_page):
        assert "243component 1" in read(comparison_page).text

    @pytest.mark.parametrize("name", ["iris_check", "iris_em", "galaxies_draws"])
    def test_other_subjects(self, name, request, tmp_path):
        page = read(report(request.getfixturevalue(name), tmp_path / "page.html", title="A title"))
        assert page.tags.count("h1") == 1
        assert "A title" in page.text
        assert "img" in page.tags

    def test_names_do_not_become_markup(self, faithful_em, faithful_draws, tmp_path):
        names = ("<script>alert(1)</script>", '"><img src=http://x.invalid/y> $\\frac$ 重さ')
        check = compare(renamed(faithful_em, names), renamed(faithful_draws, names))
        page = read(report(check, tmp_path / "page.html", title="<b>", source="<i>", command="<u>"))
        assert not {"script", "b", "i", "u"} & set(page.tags)
        assert all(source.startswith("data:") for source in page.sources)
        assert f"means[0, {names[0]}]" in page.text

    def test_many_columns_and_long_names(self, tmp_path):
        names = tuple(f"gene number {j}, expression in transcripts per million" for j in range(30))
        mixture = Mixture([0.5, 0.5], np.stack([np.zeros(30), np.ones(30)]), np.tile(np.eye(30), (2, 1, 1)), names)
        prepared = prepare(pd.DataFrame(simulate(mixture, 60, 0)[0], columns=list(names)))
        fit = assemble(mixture, prepared, FitInfo("em", "VVV", 2), prepared.scaling(as_structure("VVV")))
        page = read(report(fit, tmp_path / "page.html"))
        assert "Gaussian mixture of gene number 0, expression in transcripts per million, ..." in page.text
        assert "The first 150 of 992 rows" in page.text
        assert page.sources[2:] != []
        assert "mean and sdcomponent 0component 1" in page.text

    def test_a_fit_that_holds_a_sample_of_its_rows(self, faithful_em, tmp_path):
        known = {"n_rows": 5000, "effective_rows": 5000.0, "log_likelihood": -9.0, "log_certainty": -1.0}
        tree = faithful_em.tree.copy()
        tree["all_rows"] = xr.DataTree(xr.Dataset(known))
        page = read(report(MixtureFit(tree), tmp_path / "page.html"))
        assert "5,000, read chunk by chunk; the fit holds a random sample of 272" in page.text
        assert "The memberships of the least certain rows of the 272 that the fit holds." in page.text

    def test_progress_is_shown_on_a_terminal_only(self, galaxies_draws, tmp_path, capsys, monkeypatch):
        monkeypatch.delenv("FORCE_COLOR", raising=False)
        monkeypatch.delenv("TTY_COMPATIBLE", raising=False)
        report(galaxies_draws, tmp_path / "page.html", progress=True)
        assert capsys.readouterr() == ("", "")
        monkeypatch.setenv("TTY_COMPATIBLE", "1")
        report(galaxies_draws, tmp_path / "page.html", progress=True)
        out, err = capsys.readouterr()
        assert out == ""
        assert "drawing pictures" in err

    def test_users_style_and_page_do_not_meet(self, galaxies_draws, tmp_path):
        open_before = plt.get_fignums()
        plain = read(report(galaxies_draws, tmp_path / "plain.html"))
        with mpl.rc_context({"axes.facecolor": "pink"}):
            pink = read(report(galaxies_draws, tmp_path / "pink.html"))
            assert mpl.rcParams["axes.facecolor"] == "pink"
        assert pink.sources == plain.sources
        assert plt.get_fignums() == open_before


class TestWriting:
    def test_replaces_an_old_page_and_leaves_nothing_else(self, galaxies_draws, tmp_path):
        (tmp_path / "page.html").write_text("old")
        assert report(galaxies_draws, str(tmp_path / "page.html")) == tmp_path / "page.html"
        assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
        assert read(tmp_path / "page.html").tags[0] == "html"

    def test_refusals(self, galaxies_draws, tmp_path):
        with pytest.raises(ArgumentError, match=r"ends in \.html or \.md"):
            report(galaxies_draws, tmp_path / "page.pdf")
        with pytest.raises(ArgumentError, match="not str"):
            report("galaxies", tmp_path / "page.html")
        with pytest.raises(FileNotFoundError, match="there is no folder"):
            report(galaxies_draws, tmp_path / "absent" / "page.html")


CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := which(name))), None)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to open the page in")
class TestInABrowser:
    """What a reader sees: the page is laid out, nothing overflows, and nothing is asked of the network."""

    def test_the_page_renders_without_the_network(self, comparison_page, faithful_check, tmp_path):
        done = subprocess.run(
            [
                CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}",
                "--host-resolver-rules=MAP * ~NOTFOUND", "--window-size=400,900", "--virtual-time-budget=4000",
                "--dump-dom", comparison_page.as_uri(),
            ],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        reader = Reader()
        reader.feed(done.stdout)
        assert faithful_check.opening in " ".join(reader.text.split())
        assert reader.tags.count("img") == 5

    def test_it_can_be_seen(self, comparison_page, tmp_path):
        shot = tmp_path / "page.png"
        subprocess.run(
            [
                CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
                "--host-resolver-rules=MAP * ~NOTFOUND", "--hide-scrollbars", "--window-size=1000,3000",
                f"--screenshot={shot}", comparison_page.as_uri(),
            ],
            capture_output=True, timeout=120, check=True,
        )  # fmt: skip
        pixels = plt.imread(shot)[:, :, :3]
        assert pixels.shape[:2] == (3000, 1000)
        # Pictures and coloured words are there: many colours besides those of paper and ink.
        assert len(np.unique((pixels * 15).astype(int).reshape(-1, 3), axis=0)) > 50
