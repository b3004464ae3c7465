"""How the site is built: ``make docs``. Needs no network."""

from __future__ import annotations

from tines import __version__

project = "tines"
author = "the tines authors"
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["README.md"]
nitpicky = False

html_theme = "furo"
html_title = f"tines {version}"
html_copy_source = False

myst_enable_extensions = ["colon_fence", "deflist"]
# Headings down to the third level can be linked to.
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autoclass_content = "class"
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# The prompt is no part of a command.
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True

# Links from the pages into the repository's other files, and cross-references to the standard
# library, which would need its inventory from the network.
suppress_warnings = ["myst.xref_missing"]
