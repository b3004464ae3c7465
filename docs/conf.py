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
# Cross-references to the standard library would need its inventory from the network. Links between
# pages, and into them, are checked by MyST: one that leads nowhere is a warning, so an error.
nitpicky = False

html_theme = "furo"
html_title = f"tines {version}"
html_copy_source = False
html_static_path = ["_static"]
html_logo = html_favicon = "_static/logo.svg"
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0f766e", "color-brand-content": "#0f766e"},
    "dark_css_variables": {"color-brand-primary": "#2dd4bf", "color-brand-content": "#2dd4bf"},
}

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
