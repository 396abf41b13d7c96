"""Every public name is there, whatever was imported before it, and importing the package is cheap."""

import pkgutil
import subprocess
import sys
from importlib import import_module

import bayesgmm as bg


def test_every_public_name_is_what_it_says_after_every_module_was_imported():
    for module in pkgutil.walk_packages(bg.__path__, "bayesgmm."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    for name in bg.__all__:
        value = getattr(bg, name)
        assert not isinstance(value, type(bg)), f"bayesgmm.{name} is a module"
    assert set(bg.__all__) <= set(dir(bg))


def test_the_package_knows_its_version():
    assert bg.__version__.count(".") >= 2


def test_importing_the_package_loads_no_heavy_library():
    code = (
        "import sys, bayesgmm; print(*sorted({'pymc', 'pytensor', 'matplotlib', 'numba', 'pandas', 'arviz', 'sklearn'}"
        " & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(bg, "fit_everything")
