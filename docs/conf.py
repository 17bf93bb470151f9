"""How Sphinx builds the documentation; ``make docs`` writes build/docs, which needs no server."""

from mesems_mri import __version__

project = "mesems-mri"
author = "mesems-mri maintainers"
copyright = "mesems-mri maintainers"
release = version = __version__

extensions = ["myst_parser"]
# tools are programs; what they write lies in reference/
exclude_patterns = ["tools"]
# Anchors of headings as GitHub makes them, so that a link works in both places.
myst_heading_anchors = 4
nitpicky = True
# Blocks that name no language are commands and folders, not Python.
highlight_language = "none"

html_theme = "furo"
html_title = f"mesems-mri {release}"
html_show_copyright = False
# The sources are in the repository; a second copy would only get stale.
html_copy_source = False
html_show_sourcelink = False
