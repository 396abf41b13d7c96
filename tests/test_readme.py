"""The README's example runs as it stands, and what the README names exists."""

import re
from pathlib import Path

import matplotlib as mpl

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_example_runs_as_it_stands(capsys):
    mpl.use("agg")
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    assert len([line for line in code.splitlines() if line]) <= 12
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    printed = capsys.readouterr().out
    assert printed.startswith("The EM estimate can be trusted")
    assert round(names["em"].log_likelihood, 3) == -1130.264


def test_what_it_names_is_there():
    for name in set(re.findall(r"\]\((?!http)([^)]+)\)", TEXT)):
        assert (ROOT / name).exists(), name
    targets = set(re.findall(r"^make (\w+)", TEXT, flags=re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert targets
    assert all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in targets)
