"""The examples of the guides run as they stand, one page after the other, and the names in their tables exist."""

import re
import warnings
from pathlib import Path

import matplotlib as mpl
import pytest

import bayesgmm as bg

PAGES = sorted((Path(__file__).parents[1] / "docs" / "guide").glob("*.md"))


def text_of(page):
    return page.read_text(encoding="utf-8")


def marked(page):
    """Leave what samples to the slow suite."""
    return pytest.param(page, marks=[pytest.mark.slow] if "fit_bayes(" in examples(page) else [], id=page.stem)


def examples(page):
    return "\n".join(re.findall(r"```python\n(.*?)```", text_of(page), flags=re.DOTALL))


@pytest.mark.parametrize("page", [marked(page) for page in PAGES if examples(page)])
def test_the_examples_run(page, tmp_path, monkeypatch):
    mpl.use("agg")
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bg.BayesGMMWarning)
        exec(compile(examples(page), str(page), "exec"), {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_is_named_exists(page):
    for name in set(re.findall(r"\bbg\.(\w+)", text_of(page))):
        assert name in bg.__all__, name
