"""Sphinx settings. Two folders are written here, from what exists when the site is built: api/ and notebooks/."""

import re
import shutil
from importlib import metadata, util
from pathlib import Path

import bayesgmm

DOCS = Path(__file__).parent

project = "bayesgmm"
author = "the bayesgmm developers"
project_copyright = "the bayesgmm developers"
version = release = metadata.version("bayesgmm")

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build", "_static", "_templates"]
templates_path = ["_templates"]
default_role = "literal"

myst_enable_extensions = ["amsmath", "deflist", "dollarmath"]
myst_heading_anchors = 3

# Formulas are drawn by one file that goes with the site, so that it can be read without a network. Its menu would load
# more files, which are not there.
carrier = util.find_spec("sphinx-mathjax-offline")
if carrier is None:
    raise RuntimeError("sphinx-mathjax-offline, which carries MathJax, is not installed; `make docs` installs it")
html_static_path = ["_static", str(Path(carrier.origin).parent / "static" / "mathjax" / "tex-svg-full.js")]
html_css_files = ["site.css"]
mathjax_path = "tex-svg-full.js"
mathjax3_config = {"options": {"enableMenu": False}}

# Notebooks keep their outputs; `make notebooks` is what executes them.
nb_execution_mode = "off"

autosummary_generate = True
autodoc_typehints = "none"  # the docstrings say the types, with shapes
autodoc_member_order = "bysource"
numpydoc_show_class_members = False

html_theme = "pydata_sphinx_theme"
html_title = "bayesgmm"
html_show_sourcelink = False
html_sidebars = {"*": [], "decisions/*": []}  # only the API and the notebooks have pages below them
html_theme_options = {
    "header_links_before_dropdown": 4,
    "footer_start": ["copyright"],
    "footer_end": [],
    "navigation_with_keys": False,
    "show_prev_next": False,
}

GROUPS = {
    "Fitting": r"fit_\w+|compare|select|simulate|load",
    "Data": r"prepare|load_dataset|read_\w+|\w*[dD]ata\w*",
    "Pictures and reports": r"plot_\w+|report",
    "Errors and warnings": r"\w+(Error|Warning)",
}


def group_of(name):
    """Return the heading under which a public name stands."""
    return next((title for title, names in GROUPS.items() if re.fullmatch(names, name)), "Models and results")


def write_api():
    """Write the page of the public names: whatever `bayesgmm.__all__` holds."""
    lines = ["API reference", "=============", "", ".. currentmodule:: bayesgmm", ""]
    for title in ["Fitting", "Data", "Models and results", "Pictures and reports", "Errors and warnings"]:
        names = [name for name in bayesgmm.__all__ if not name.startswith("_") and group_of(name) == title]
        if names:
            lines += [title, "-" * len(title), "", ".. autosummary::", "   :toctree: generated", ""]
            lines += [f"   {name}" for name in names] + [""]
    write("api/index.rst", lines)


def reading_order(source):
    """Return where a notebook stands in the list: the first steps in their order, then the others by name."""
    first = ["quickstart", "from_k_means", "iris", "label_switching", "choosing_k"]
    return first.index(source.stem) if source.stem in first else len(first), source.stem


def write_notebooks():
    """Copy the notebooks, which live beside docs/, and write the page that lists them."""
    folder = DOCS / "notebooks"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    sources = sorted((DOCS.parent / "notebooks").glob("*.ipynb"), key=reading_order)
    for source in sources:
        shutil.copy(source, folder)
    toctree = ["```{toctree}", *(source.stem for source in sources), "```"] if sources else ["None yet."]
    write("notebooks/index.md", ["# Notebooks", "", *toctree])


def write(name, lines):
    """Write a page when it has changed, so that an unchanged one is not built again."""
    path, text = DOCS / name, "\n".join(lines) + "\n"
    path.parent.mkdir(exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


write_api()
write_notebooks()


def skip_member(_app, _what, name, _obj, skip, _options):
    """Leave out the methods that scikit-learn makes for its own routing; their texts link into its own site."""
    return skip or name in {"get_metadata_routing", "set_fit_request", "set_score_request"}


def setup(app):
    """Connect what is decided member by member."""
    app.connect("autodoc-skip-member", skip_member)
