"""The Markdown form says what the page says, with its pictures beside, and lets nobody's names become markup."""

import re
from dataclasses import replace

import pytest

from bayesgmm.errors import ArgumentError
from bayesgmm.fit import MixtureFit, assemble
from bayesgmm.reporting.html import element, join, list_of, paragraphs, table, terms
from bayesgmm.reporting.markdown import as_markdown
from bayesgmm.reporting.page import report


def convert(*parts):
    return as_markdown(join(parts), "folder")[0].rstrip("\n")


class TestConversion:
    def test_headings_paragraphs_and_lists(self):
        found = convert(element("h2", "A title"), paragraphs("One.", "Two."), list_of(["a", "b"]))
        assert found == "## A title\n\nOne.\n\nTwo.\n\n- a\n- b"

    def test_tables_align_their_numbers(self):
        found = convert(table(["name", "value"], [["a|b", "1.5"], ["c", ""]]))
        assert found == "| name | value |\n| :--- | ---: |\n| a\\|b | 1.5 |\n| c |  |"

    def test_words_are_set_apart(self):
        word = element("span", "sound", class_="word good") + element("span", element("strong", "Topic"), ". ", "Text.")
        assert convert(list_of([word])) == "- *sound* **Topic**. Text."

    def test_terms_and_their_lines(self):
        assert convert(terms({"priors": "one\ntwo"})) == "- **priors**: one; two"

    def test_code_is_not_escaped_and_its_fence_holds(self):
        code = element("pre", element("code", "x_1 = a[0]\ny = '```'"))
        assert convert(code) == "````\nx_1 = a[0]\ny = '```'\n````"

    def test_what_is_special_is_escaped(self):
        assert convert(paragraphs("<b> *x* _y_ [z](u) `c` #")) == r"\<b\> \*x\* \_y\_ \[z\](u) \`c\` \#"


@pytest.fixture(scope="module")
def written(galaxies_draws, tmp_path_factory):
    return report(galaxies_draws, tmp_path_factory.mktemp("markdown") / "fit.md", title="# [A](b) title")


class TestReport:
    def test_every_picture_is_beside(self, written):
        named = re.findall(r"!\[[^]]*\]\((fit_files/figure-\w+\.png)\)", written.read_text())
        assert sorted(named) == sorted(f"fit_files/{path.name}" for path in (written.parent / "fit_files").iterdir())
        assert all((written.parent / name).read_bytes().startswith(b"\x89PNG") for name in named)
        assert len(named) >= 3

    def test_says_what_the_page_says(self, written, galaxies_draws):
        text = written.read_text()
        assert text.startswith("# \\# \\[A\\](b) title\n")
        for name in galaxies_draws.summary().table.index:
            assert name.replace("[", "\\[").replace("]", "\\]") in text
        assert "data:image" not in text

    def test_pictures_that_are_not_needed_any_more_go(self, galaxies_draws, faithful_em, tmp_path):
        report(galaxies_draws, tmp_path / "fit.md")
        before = {path.name for path in (tmp_path / "fit_files").iterdir()}
        report(faithful_em, tmp_path / "fit.md")
        after = {path.name for path in (tmp_path / "fit_files").iterdir()}
        assert not before & after
        assert all(name in (tmp_path / "fit.md").read_text() for name in after)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["fit.md", "fit_files"]

    def test_a_folder_of_somebody_else_is_left_alone(self, faithful_em, tmp_path):
        (tmp_path / "fit_files").mkdir()
        (tmp_path / "fit_files" / "letter.txt").write_text("dear")
        with pytest.raises(ArgumentError, match=r"holds something else \(letter.txt\)"):
            report(faithful_em, tmp_path / "fit.md")
        assert [path.name for path in tmp_path.iterdir()] == ["fit_files"]
        with pytest.raises(FileNotFoundError, match="there is no folder"):
            report(faithful_em, tmp_path / "absent" / "fit.md")

    def test_names_do_not_become_markup(self, faithful_em, tmp_path):
        names = ("<script>", "a|b [x](http://y.invalid)")
        fit = assemble(
            replace(faithful_em.mixture, features=names), replace(faithful_em.prepared, features=names),
            faithful_em.info, faithful_em.scaling,
        )  # fmt: skip
        text = report(fit, tmp_path / "fit.md").read_text()
        plain = re.sub(r"\\.", "", text.split("```")[0])
        assert "<script" not in plain
        assert "](http" not in plain


def test_a_comparison_with_doubtful_labels_withholds_components(faithful_em, faithful_many_draws, tmp_path):
    from bayesgmm.comparison import compare

    tree = faithful_many_draws.tree.copy()
    diagnostics = {"labels_are_doubtful": True, "ambiguous_share": 0.4}
    tree.attrs = {"bayesgmm_info": replace(faithful_many_draws.info, diagnostics=diagnostics).to_json()}
    text = report(compare(faithful_em, MixtureFit(tree)), tmp_path / "page.md").read_text()
    assert "Component by component nothing can be compared" in text
    assert "means\\[0, waiting\\]" not in text
    assert "mean\\[waiting\\]" in text
    assert "## Components" not in text
