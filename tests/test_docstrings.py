"""Docstrings say everything: each parameter, each return value, with numpydoc's own validator on the living objects.

The public names and their methods need every section. Elsewhere a docstring may be plain prose, for a function whose
parameters speak for themselves; once it has a section, it has them all.
"""

import importlib
import inspect
import pkgutil

import pytest
from numpydoc.validate import validate

import bayesgmm

CODES = {"GL08", "PR01", "PR02", "PR03", "PR07", "RT01", "RT03", "SS03", "YD01"}


def functions_of(owner, path):
    """Yield the paths of the functions and properties that a class or module defines under a public name."""
    for name, member in vars(owner).items():
        if name.startswith("_"):
            continue
        inner = inspect.unwrap(getattr(member, "__func__", member))
        if (inspect.isfunction(inner) and inner.__module__.startswith("bayesgmm")) or isinstance(member, property):
            yield f"{path}.{name}"


def everything():
    """Yield (path, whether it is public) for every function and class of the package."""
    exported = {id(getattr(bayesgmm, name)) for name in bayesgmm.__all__}
    for info in pkgutil.walk_packages(bayesgmm.__path__, "bayesgmm."):
        module = importlib.import_module(info.name)
        for name, member in vars(module).items():
            if name.startswith("_") or getattr(member, "__module__", None) != info.name:
                continue
            public = id(member) in exported
            if inspect.isclass(member) and issubclass(member, BaseException):
                continue  # its parameters are those of every exception
            if inspect.isclass(member):
                yield f"{info.name}.{name}", public
                yield from ((path, public) for path in functions_of(member, f"{info.name}.{name}"))
            elif inspect.isfunction(member):
                yield f"{info.name}.{name}", public


def is_prose(docstring):
    return docstring != "" and "\n----" not in docstring


@pytest.mark.parametrize(("path", "public"), list(everything()))
def test_docstring_is_complete(path, public):
    found = validate(path)
    if not public and is_prose(found["docstring"]):
        return
    assert [f"{code}: {text}" for code, text in found["errors"] if code in CODES] == []
