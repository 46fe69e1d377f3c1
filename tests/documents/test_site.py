"""The site of documentation: each break that its build must notice is planted here once."""

import re
from typing import Any

import pytest
from harness import ROOT

import thrive_learning
from thrive_learning import dask, sandbox, testing, webhooks
from tools.site import assembly, built_pages, contract_page, diagrams, links, reference

URL = "https://github.com/example/sdk"
FILES = ["README.md", "docs/README.md", "docs/how-to/list.md", "docs/images/page.png", "src/sdk/client.py"]
REPOSITORY = links.Repository(FILES, assembly.places_of(FILES), URL)


# The public names


def test_the_reference_describes_each_public_name_once() -> None:
    pages = reference.public_names()
    paths = [public.path for names in pages.values() for public in names]
    modules = (thrive_learning, dask, sandbox, testing, webhooks)
    exported = [f"{module.__name__}.{name}" for module in modules for name in module.__all__]
    assert sorted(paths) == sorted(exported)
    for page, names in pages.items():
        text = reference.page_of(page, names)
        entries = set(
            re.findall(r"^\.\. (?:autoclass|autofunction|py:data):: (?:.+\.)?(\w+)$", text, re.MULTILINE)
        )
        assert {public.name for public in names} == entries


def test_each_public_module_is_introduced() -> None:
    page = (ROOT / "docs/reference/api.md").read_text(encoding="utf-8")
    for module in ("", *(f".{name}" for name in reference.public_modules())):
        assert f"| `thrive_learning{module}` |" in page


def test_each_public_name_has_a_summary() -> None:
    for names in reference.public_names().values():
        for public in names:
            if public.name != "__version__":
                assert reference._summary(public), public.path


def test_a_name_that_the_built_reference_lacks_is_found() -> None:
    described = {"thrive_learning.Activity", "thrive_learning.Region"}
    assert built_pages.find_missing_names(described, {"thrive_learning.Activity"}) == []
    assert built_pages.find_missing_names(described, {"thrive_learning.Scope"}) == ["thrive_learning.Scope"]


# Links of the sources


@pytest.mark.parametrize(
    ("link", "rewritten"),
    [
        ("how-to/list.md#filters", "how-to/list.md#filters"),
        ("images/page.png", "images/page.png"),
        ("../README.md", f"{URL}/blob/main/README.md"),
        ("../src/sdk/client.py#L1", f"{URL}/blob/main/src/sdk/client.py#L1"),
        ("../src/sdk", f"{URL}/tree/main/src/sdk"),
        ("#tutorial", "#tutorial"),
        ("https://example.com/x.md", "https://example.com/x.md"),
    ],
)
def test_a_link_leads_to_the_site_or_to_the_repository(link: str, rewritten: str) -> None:
    for text in ("See [it]({}), and ![it]({}).\n", "[label]: {}\n", '<img src="{}">\n'):
        page = text.replace("{}", link)
        assert links.rewrite_links(page, "docs/README.md", REPOSITORY) == text.replace("{}", rewritten)


@pytest.mark.parametrize(("link", "rewritten"), [("../README.md#a", "../index.md#a"), ("..", "../index.md")])
def test_a_link_to_an_index_leads_to_the_index_of_the_site(link: str, rewritten: str) -> None:
    page = links.rewrite_links(f"[x]({link})", "docs/how-to/list.md", REPOSITORY)
    assert page == f"[x]({rewritten})"


@pytest.mark.parametrize(
    "code", ["`[x](gone.md)`", "``` text\n[x](gone.md)\n```", "> ~~~\n> [x](gone.md)\n> ~~~\n"]
)
def test_code_is_left_alone(code: str) -> None:
    assert links.rewrite_links(code, "docs/README.md", REPOSITORY) == code


@pytest.mark.parametrize("link", ["gone.md", "how-to/list", "../../outside.md", "list.md"])
def test_a_link_to_a_missing_file_fails_the_build(link: str) -> None:
    with pytest.raises(links.BrokenLinkError, match=link):
        links.rewrite_links(f"[x]({link})", "docs/README.md", REPOSITORY)


@pytest.mark.parametrize(
    ("name", "language"),
    [("examples/flask/service.py", "python"), ("examples/github/nightly-export.yml", "yaml")],
)
def test_a_program_is_shown_below_the_link_to_it(name: str, language: str) -> None:
    link = f"[`{name}`](../../{name})"
    code = (ROOT / name).read_text(encoding="utf-8")
    shown = assembly.with_programs(f"Text.\n\n{link}\n\nSee {link}.\n", ROOT / "docs/how-to")
    assert shown == f"Text.\n\n{link}\n\n```{language}\n{code}```\n\nSee {link}.\n"


def test_the_navigation_is_that_of_the_index() -> None:
    text = "# Docs\n\nSee [List](how-to/list.md).\n\n## How-to\n\n- [List](how-to/list.md#x)\n- [Code](https://example.com)\n"
    shown = assembly.with_navigation(text, "index.md", REPOSITORY.places)
    assert shown.endswith("```{toctree}\n:hidden:\n:caption: How-to\n\nhow-to/list\n```\n\n")
    assert text in shown


def test_every_page_of_the_repository_can_be_assembled() -> None:
    sources = assembly.assemble()
    assert "```mermaid" not in "".join(text for text in sources.values() if isinstance(text, str))
    assert {"index.md", "explanation/architecture.md", "reference/api/client.rst"} <= sources.keys()


# The built pages


PAGE = '<p id="a"><a href="b.html#x">b</a><a href="https://example.com/">far</a><img src="i.png"></p>'
SITE = {"a.html": PAGE, "b.html": '<p id="x"></p>', "i.png": None, "s.css": "p { background: url(i.png) }"}


def test_a_sound_site_has_no_flaw() -> None:
    assert list(built_pages.find_flaws(SITE)) == []


@pytest.mark.parametrize(
    ("broken", "flaw"),
    [
        ('<a href="gone.html">', "links to gone.html, which does not exist"),
        ('<a href="b.html#gone">', "links to b.html#gone, and b.html has no such anchor"),
        ('<a href="#gone">', "links to #gone, and a.html has no such anchor"),
        ('<img src="gone.png">', "loads gone.png, which does not exist"),
        ('<script src="https://cdn.example/x.js">', "loads https://cdn.example/x.js, which is not part"),
        ('<link rel="stylesheet" href="//fonts.example/x">', "loads //fonts.example/x, which is not part"),
        ('<img srcset="i.png 1x, https://cdn.example/i 2x">', "loads https://cdn.example/i, which is not"),
        ("<p style=\"background: url('https://cdn.example/i')\">", "loads https://cdn.example/i, which is"),
        ("<style>@import 'https://fonts.example/x'</style>", "loads https://fonts.example/x, which is not"),
    ],
)
def test_a_planted_break_is_found(broken: str, flaw: str) -> None:
    [found] = built_pages.find_flaws({**SITE, "a.html": PAGE + broken})
    assert flaw in found


def test_a_font_that_a_style_sheet_loads_from_elsewhere_is_found() -> None:
    style = "@font-face { src: url('https://fonts.example/x.woff2') }"
    [found] = built_pages.find_flaws({**SITE, "s.css": style})
    assert "s.css loads https://fonts.example/x.woff2" in found


# Drawings and the contract


CHART = """flowchart TD
  a["a.py<br/>first & last"]
  b["b.py"]
  c["c.py"]
  a --> b
  a -.->|x| c
  b --> c
"""


def test_a_flowchart_is_drawn_with_all_its_nodes_and_arrows() -> None:
    drawn = diagrams.draw(CHART, "A flowchart")
    assert drawn.count("<rect") == 3
    assert drawn.count('class="arrow') == 3
    assert drawn.count('class="arrow dotted"') == 1
    for text in ("a.py", "first &amp; last", "b.py", "c.py", ">x<"):
        assert text in drawn
    assert "\n" not in drawn  # Markdown would end it at a blank line


@pytest.mark.parametrize("line", ["a --> d", "a ==> b", "subgraph x", 'd["'])
def test_a_flowchart_that_cannot_be_drawn_fails_the_build(line: str) -> None:
    with pytest.raises(diagrams.DiagramError):
        diagrams.draw(f"{CHART}  {line}\n", "A flowchart")


def test_another_kind_of_diagram_fails_the_build() -> None:
    with pytest.raises(diagrams.DiagramError, match="sequenceDiagram"):
        diagrams.draw("sequenceDiagram\n  a->>b: x\n", "A diagram")


def test_the_page_of_the_contract_has_everything_that_the_contract_names(contract: dict[str, Any]) -> None:
    page = contract_page.render(contract)
    for path, item in contract["paths"].items():
        for method, operation in item.items():
            assert f"### {operation['operationId']}\n\n`{method.upper()} {path}`" in page
            names = [parameter["name"] for parameter in operation.get("parameters", [])]
            assert [name for name in [*names, *operation["responses"]] if f"| `{name}`" not in page] == []
    for name, schema in contract["components"]["schemas"].items():
        assert f"### {name}\n" in page
        assert [field for field in schema.get("properties", {}) if f"| `{field}`" not in page] == []
