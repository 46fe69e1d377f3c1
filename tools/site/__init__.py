"""Builds the documentation site: docs/decisions/0038 says why it is made this way.

`python -m tools.site` assembles the pages (`assembly`), runs Sphinx on them, and checks what it wrote
(`built_pages`).
"""
