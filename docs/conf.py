"""The configuration of Sphinx. `nox -s docs` builds the site; docs/decisions/0038 says how it is made."""

from thrive_learning import __version__
from tools.site import assembly

_PROJECT = assembly.project()

project = "thrive-learning"
version = release = __version__
author = _PROJECT["authors"][0]["name"]
copyright = author  # noqa: A001 - Sphinx's name
root_doc = "index"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "tools.site.autodoc"]
myst_heading_anchors = 4

autodoc_default_options = {"member-order": "bysource"}
autodoc_typehints_format = "short"
autoclass_content = "both"
python_maximum_signature_line_length = 100
python_use_unqualified_type_names = True
add_module_names = False
toc_object_entries_show_parents = "hide"
napoleon_numpy_docstring = False
napoleon_use_ivar = False

nitpick_ignore_regex = [
    # Sphinx has no inventory of other libraries, because the build reads nothing from the network.
    ("py:.*", r"(?:collections|dask|datetime|httpx|opentelemetry|os|pathlib|redis|ssl|types)\..+"),
    # Type variables, and classes of the sandbox and of the generated code that users receive.
    ("py:.*", r"thrive_learning\.\w+\._\w+"),
    ("py:.*", r"(?:_thrive_learning_api|thrive_learning\.sandbox\.collection)\..+"),
]

pygments_dark_style = "github-dark"
html_theme = "furo"
html_title = f"thrive-learning {version}"
html_baseurl = _PROJECT["urls"]["Documentation"]
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options: dict[str, list[str]] = {"top_of_page_buttons": []}
