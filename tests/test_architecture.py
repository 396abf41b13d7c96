"""docs/architecture.md says what is there: the modules, the order of the rooms, where the heavy libraries live."""

import ast
import re
import tomllib
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[1]
LISTED = re.compile(r"^\s*- `(bayesgmm(?:\.\w+)*)`: \S.*$", flags=re.MULTILINE)
NUMBER = r"\d+(?:\.\d+)?"


@pytest.fixture(scope="module")
def listed():
    return LISTED.findall((ROOT / "docs" / "architecture.md").read_text())


@pytest.fixture(scope="module")
def contract():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (found,) = (entry for entry in settings["tool"]["importlinter"]["contracts"] if entry["id"] == "rooms")
    return found


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph(
        "bayesgmm", include_external_packages=True, exclude_type_checking_imports=True, cache_dir=None
    )


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def summary(path):
    """Return the first paragraph of a module's docstring."""
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    return " ".join(docstring.split("\n\n")[0].split())


def test_every_module_is_listed_once_and_nothing_else(listed):
    present = {module_of(path): path for path in (ROOT / "bayesgmm").rglob("*.py")}
    missing = [f"- `{name}`: {summary(path)}" for name, path in sorted(present.items()) if name not in listed]
    assert missing == []  # these lines are ready to be pasted
    assert sorted(listed) == sorted(present)


def test_every_formula_that_a_docstring_cites_is_there():
    numbers = set(re.findall(r"^#{2,3} ([\d.]+) ", (ROOT / "docs" / "math.md").read_text(), flags=re.MULTILINE))
    cited = {
        (module_of(path), number)
        for path in (ROOT / "bayesgmm").rglob("*.py")
        for citation in re.findall(rf"math\.md,\s+({NUMBER}(?:(?:,| and| to)\s+{NUMBER})*)", path.read_text())
        for number in re.findall(NUMBER, citation)
    }
    assert {(module, number) for module, number in cited if number not in numbers} == set()


def test_rooms_stand_in_the_order_that_import_linter_enforces(listed, contract):
    rooms = list(dict.fromkeys(name.split(".")[1] for name in listed if "." in name))
    # The page follows the data; the contract puts the room that may import everything first.
    assert rooms == contract["layers"][::-1]


def test_exceptions_to_the_order_belong_to_the_fit(contract):
    assert all(entry.startswith("bayesgmm.fit.mixture_fit -> ") for entry in contract["ignore_imports"])


@pytest.mark.parametrize(
    ("library", "rooms"),
    [
        ("numba", {"kernels"}),
        ("pymc", {"bayes"}),
        ("pytensor", {"bayes"}),
        ("nutpie", {"bayes"}),
        ("matplotlib", {"plots", "reporting"}),
        ("click", {"cli"}),
    ],
)
def test_a_heavy_library_stays_in_its_room(graph, library, rooms):
    importers = graph.find_modules_that_directly_import(library) if library in graph.modules else set()
    assert {name.split(".")[1] for name in importers} <= rooms
