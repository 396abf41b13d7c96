"""What is promised to whoever installs the package: its name, its pins, its interpreter, a light import."""

import importlib
import json
import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import bayesgmm

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def requirements():
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    found = [Requirement(line) for group in groups for line in group]
    return [requirement for requirement in found if requirement.name != PROJECT["name"]]


def pins():
    lines = (ROOT / ".ci" / "constraints.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if not line.startswith("#")]


def test_installed_version_is_the_projects():
    assert bayesgmm.__version__ == PROJECT["version"] == metadata.version("bayesgmm")


def test_changelog_knows_the_version():
    assert re.search(
        rf"^## .*\b{re.escape(PROJECT['version'])}\b", (ROOT / "docs/changelog.md").read_text(), re.MULTILINE
    )


def test_every_public_name_is_there():
    assert len(bayesgmm.__all__) == len(set(bayesgmm.__all__))
    assert [name for name in bayesgmm.__all__ if not hasattr(bayesgmm, name)] == []
    assert set(bayesgmm.__all__) <= set(dir(bayesgmm))


def test_package_is_marked_as_typed():
    assert (Path(bayesgmm.__file__).parent / "py.typed").is_file()


@pytest.mark.parametrize("target", PROJECT["scripts"].values())
def test_console_script_exists(target):
    module, function = target.split(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_importing_loads_neither_pymc_nor_matplotlib():
    code = "import json, sys, bayesgmm; print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"pymc", "pytensor", "nutpie", "matplotlib"} & set(json.loads(run.stdout))


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_constraints_pin_every_requirement_within_its_bounds(requirement):
    versions = [
        specifier.version
        for pin in pins()
        if canonicalize_name(pin.name) == canonicalize_name(requirement.name)
        for specifier in pin.specifier
    ]
    assert versions
    assert all(version in requirement.specifier for version in versions)


def test_constraints_are_exact_and_name_no_address():
    for pin in pins():
        assert pin.url is None
        assert [specifier.operator for specifier in pin.specifier] == ["=="]


def make_venv(folder, names):
    """Run .ci/make-venv with nothing on PATH but the scripts in `names`."""
    for name, script in names.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return subprocess.run(
        ["/bin/sh", ROOT / ".ci" / "make-venv"],
        cwd=folder,
        env={"PATH": os.fspath(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_a_python_that_works_one_sentence_is_said(tmp_path):
    # A version manager's shim that fails, and a Python that answers no when it is asked whether it is new enough.
    run = make_venv(tmp_path, {"python3.13": "echo 'command not found' >&2; exit 127", "python3": "exit 1"})
    assert run.returncode == 1
    assert run.stderr.count("\n") == 1
    assert "needs Python 3.12" in run.stderr
    assert not (tmp_path / ".venv").exists()


def test_the_first_python_that_works_builds_the_environment(tmp_path):
    works = 'if [ "$1" = -m ]; then echo "$*"; fi'
    run = make_venv(tmp_path, {"python3.13": "exit 127", "python3.12": works, "rm": "exit 0", "uv": "echo uv"})
    assert run.returncode == 0
    assert run.stdout.splitlines()[-1] == "-m venv .venv"


def test_uv_stands_in_where_no_python_does(tmp_path):
    run = make_venv(tmp_path, {"python3": "exit 1", "rm": "exit 0", "uv": 'echo "uv $*"'})
    assert run.returncode == 0
    assert run.stdout.splitlines()[-1].startswith("uv venv")
