"""Each promise of SECURITY.md and README.md has a row in docs/explanation/claims.md, whose proof exists."""

import ast
import re
from pathlib import Path

import pytest
from harness import ROOT

PAGE = ROOT / "docs/explanation/claims.md"
SOURCES = ["SECURITY.md", "README.md"]
#: A test, a program that measures, or a session of nox.
PROOF = re.compile(r"`(?:((?:tests|benchmarks)/[\w./]+)(?:::(\w+))?|nox -s ([\w-]+))`|\[[^\]]+\]\(([^)#]+)\)")


def words(text: str) -> str:
    """Return the text of Markdown as it is read: without links, emphasis, and line breaks."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]+\)", r"\1", text)
    return " ".join(re.sub(r"^- ", "", text.replace("**", ""), flags=re.MULTILINE).split())


def section(text: str, heading: str) -> str:
    return re.split(rf"^## {re.escape(heading)}$", text, flags=re.MULTILINE)[1].split("\n## ")[0]


def claims(source: str) -> list[tuple[str, str]]:
    """Return the rows for a document: the promise that is quoted, and its proof."""
    table = section(PAGE.read_text(encoding="utf-8"), source)
    rows = re.findall(r"^\| (.+) \| (.+) \|$", table, re.MULTILINE)
    assert rows[0][0] == "Promise"
    return rows[2:] if set(rows[1][0]) == {"-"} else rows[1:]


def flaw_of_proof(proof: str) -> str | None:
    """Return why a cell proves nothing, or None."""
    found = PROOF.findall(proof)
    if words(PROOF.sub("", proof)).strip(", "):
        return f"not a test, benchmark, session, or decision: {PROOF.sub('', proof)}"
    for path, name, session, link in found:
        file = (PAGE.parent / link).resolve() if link else ROOT / path
        if session and f"def {session.replace('-', '_')}(" not in (ROOT / "noxfile.py").read_text("utf-8"):
            return f"no session: {session}"
        if not file.exists():
            return f"no file: {path or link}"
        if name and name not in functions(file):
            return f"no test: {path}::{name}"
        if path.startswith("tests/") and not name:
            return f"a test needs its name: {path}"
    return None if found else "no proof"


def functions(file: Path) -> set[str]:
    nodes = ast.parse(file.read_text(encoding="utf-8")).body
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("source", SOURCES)
def test_each_claim_quotes_its_source_and_has_a_proof(source: str) -> None:
    text = words((ROOT / source).read_text(encoding="utf-8"))
    for promise, proof in claims(source):
        assert words(promise) in text, f"{source} does not say: {promise}"
        assert flaw_of_proof(proof) is None, promise


def test_each_promise_of_security_has_a_claim() -> None:
    promised = section((ROOT / "SECURITY.md").read_text(encoding="utf-8"), "What is promised")
    items = re.findall(r"^- (.+)$", promised, re.MULTILINE)
    leads = [found[1] for item in items if (found := re.match(r"\*\*(.+?)\*\*", item))]
    assert len(leads) == len(items), "each promise begins with a bold sentence"
    assert leads == [promise for promise, _ in claims("SECURITY.md")]


def unclaimed(text: str) -> str:
    """Return the words of a text that no row for README.md quotes."""
    left = words(text)
    for promise, _proof in claims("README.md"):
        left = left.replace(words(promise), "")
    return left.strip()


def test_each_promise_of_the_readme_has_a_claim() -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    introduction = re.split(r"^# .+$", page, flags=re.MULTILINE)[1].split("\n## ")[0]
    assert unclaimed(introduction) == ""
    assert unclaimed(section(page, "What it does")) == ""
    assert unclaimed("- **Never** fails.") == "Never fails."


@pytest.mark.parametrize(
    "proof",
    [
        "",
        "see the tests",
        "`tests/test_ids.py::test_that_does_not_exist`",
        "`tests/test_that_does_not_exist.py::test_it`",
        "`tests/test_ids.py`",
        "`nox -s that-does-not-exist`",
        "[0000](../decisions/0000-nothing.md)",
    ],
)
def test_a_claim_without_proof_is_noticed(proof: str) -> None:
    assert flaw_of_proof(proof) is not None


def test_a_claim_may_be_proved_by_a_benchmark_a_session_or_a_decision() -> None:
    proof = "`benchmarks/bulk.py`, `nox -s bench-guard`, [0033](../decisions/0033-http-stack.md)"
    assert flaw_of_proof(proof) is None
