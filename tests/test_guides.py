"""The examples of the guides run as they stand, and the names in their tables exist; notebooks are kept as they ran."""

import json
import re
import warnings
from pathlib import Path

import matplotlib as mpl
import pytest

import bayesgmm as bg

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs" / "guide").glob("*.md"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


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


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_a_notebook_is_kept_as_it_ran(notebook):
    cells = json.loads(text_of(notebook))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    outputs = [output for cell in code for output in cell["outputs"]]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert outputs
    # What a reader would stumble over: errors, stray warnings, the paths of somebody's machine.
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]
    assert "site-packages" not in json.dumps(outputs)
