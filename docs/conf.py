"""The documentation as a site: `make docs`. Pages are Markdown (MyST), the reference comes from docstrings."""

from snnhw.version import __version__ as release

project = "snnhw"
author = "the snnhw developers"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 4
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}
nb_execution_mode = "off"  # make frontends runs them, each in its framework's environment
exclude_patterns = ["site"]
html_theme = "furo"
html_title = f"snnhw {release}"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_use_ivar = True
suppress_warnings = ["myst.xref_missing"]  # tests/test_docs.py checks links, those to pages outside of docs/ too
