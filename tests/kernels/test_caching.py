"""Machine code is kept until any kernel changes."""

import shutil
import subprocess
import sys
from pathlib import Path

import bayesgmm

CALL = "import numpy as np; from package.kernels.caller import twice; print(twice(3.0))"
CALLER = """
import numba
from package.kernels.called import once

@numba.njit(cache=True)
def twice(x):
    return once(once(x))
"""
CALLED = """
import numba

@numba.njit(cache=True)
def once(x):
    return x + {step}
"""


def test_a_kernel_is_compiled_anew_when_one_that_it_calls_in_another_file_has_changed(tmp_path):
    source, folder = Path(bayesgmm.__file__).parent / "kernels", tmp_path / "package" / "kernels"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    shutil.copy(source / "caching.py", folder)
    (folder / "__init__.py").write_text("from package.kernels.caching import keep_together\nkeep_together()\n")
    (folder / "caller.py").write_text(CALLER)
    found = []
    for step in (1.0, 1.0, 10.0):
        (folder / "called.py").write_text(CALLED.format(step=step))
        out = subprocess.run([sys.executable, "-c", CALL], cwd=tmp_path, capture_output=True, text=True, check=True)
        found.append(float(out.stdout))
    assert found == [5.0, 5.0, 23.0]
    assert list(folder.glob("__pycache__/*.nbc"))  # it was the cache that had to notice
