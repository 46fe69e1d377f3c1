"""Find English that reads as if translated, in all text that a person sees.

python -m tools.language [PATH…]     without a path, everything

It reads string literals, docstrings, and comments of Python (in tests, no literals), and
all text of Markdown, YAML, TOML, and shell files outside code. Each finding says what to write instead. Where
the words are right, a comment in the same line or in the line above says why:

    # language: allow is-none (quotes a message of OpenSSL)
    <!-- language: allow is-none (quotes a message of OpenSSL) -->
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tools.language_patterns import PATTERNS, VAGUE_TEST, VERBS

ROOT = Path(__file__).parent.parent
EVERYTHING = [
    *(
        "src",
        "tests",
        "tools",
        "benchmarks",
        "examples",
        "docs",
        "openapi",
        ".github",
        ".ci/run",
        "noxfile.py",
    ),
    *("pyproject.toml", "generator-config.yaml", "README.md", "ARCHITECTURE.md", "CHANGELOG.md"),
    *("CONTRIBUTING.md", "SECURITY.md"),
]
OTHERS = {"__pycache__", "_build", "viewer"}  # folders with text of others
TEXT = {".py", ".md", ".yaml", ".yml", ".toml", ""}
_ALLOWED = re.compile(r"language: allow ([a-z-]+)(?: \((.{8,})\))?")
_CODE_SPAN = re.compile(r"(`+)(?:.|\n)+?\1|https?://\S+")
_FENCE = re.compile(r"^( *)(```+|~~~+).*?^\1\2`*~* *$", re.MULTILINE | re.DOTALL)
_HTML_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_HEADING = re.compile(r"^ *#+ .*$", re.MULTILINE)
_EXAMPLE = re.compile(r"^ *>>> .*$", re.MULTILINE)
_NOUN_DECORATORS = {"property", "cached_property", "fixture", "overload", "setter", "lazy_property"}


class Finding(NamedTuple):
    """Words to replace."""

    path: Path
    line: int
    rule: str
    found: str
    instead: str

    def __str__(self) -> str:
        """Return the line that the check prints."""
        path = self.path.relative_to(ROOT) if self.path.is_relative_to(ROOT) else self.path
        return f"{path}:{self.line}: {' '.join(self.found.split())!r} ({self.rule}). Write {self.instead}."


class Passage(NamedTuple):
    """Consecutive lines of prose."""

    line: int
    text: str


def _masked(text: str, pattern: re.Pattern[str], cover: str) -> str:
    """Return the text with each match covered, its length and lines kept."""
    return pattern.sub(lambda match: re.sub(r"[^\n]", cover, match[0]), text)


def _comments(source: str) -> Iterator[Passage]:
    """Yield the comments of Python code; those on consecutive lines are one passage."""
    begun, lines, last = 0, list[str](), -1
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        row = token.start[0]
        alone = not token.line[: token.start[1]].strip()
        if lines and not (alone and row == last + 1):
            yield Passage(begun, "\n".join(lines))
            lines = []
        begun = begun if lines else row
        lines.append(token.string.lstrip("#:").strip())
        last = row if alone else -1
    if lines:
        yield Passage(begun, "\n".join(lines))


def _string(node: ast.expr) -> str | None:
    """Return the text of a literal, with `…` for each value of an f-string; None if it is not a literal."""
    if isinstance(node, ast.JoinedStr):
        return "".join(_string(part) or "…" for part in node.values)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return None


class _Reader(ast.NodeVisitor):
    """Collects the prose of a module."""

    def __init__(self, *, of_tests: bool) -> None:
        self.of_tests = of_tests
        self.passages: list[Passage] = []
        self.not_imperative: list[Passage] = []
        self.names: list[Passage] = []

    def _visit_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        if node.name.startswith("test_"):
            self.names.append(Passage(node.lineno, node.name))
        docstring = ast.get_docstring(node)
        nouns = {ast.unparse(each).partition("(")[0].rpartition(".")[2] for each in node.decorator_list}
        if docstring and not self.of_tests and not nouns & _NOUN_DECORATORS:
            word = re.split(r"[\s,:]", docstring, maxsplit=1)[0]
            if word not in VERBS:
                self.not_imperative.append(Passage(node.body[0].lineno, docstring.partition("\n")[0]))
        self.generic_visit(node)

    visit_FunctionDef = _visit_function  # noqa: N815 - the names that ast.NodeVisitor calls
    visit_AsyncFunctionDef = _visit_function  # noqa: N815

    def visit_Expr(self, node: ast.Expr) -> None:
        """Read a docstring, or go on to what the expression holds."""
        text = _string(node.value)
        if text is None:
            self.generic_visit(node)
        else:
            self.passages.append(Passage(node.lineno, text))

    def _visit_string(self, node: ast.Constant | ast.JoinedStr) -> None:
        text = _string(node)
        # A pattern for `re` is not prose, and neither is a single word.
        if text is not None and not self.of_tests and " " in text and not re.search(r"\\[bwsd]", text):
            self.passages.append(Passage(node.lineno, text))
        if isinstance(node, ast.JoinedStr):
            for part in node.values:
                if isinstance(part, ast.FormattedValue):
                    self.visit(part.value)

    visit_Constant = _visit_string  # noqa: N815
    visit_JoinedStr = _visit_string  # noqa: N815


def _found(path: Path, passage: Passage) -> Iterator[Finding]:
    """Yield what the patterns find in a passage."""
    text = _masked(_masked(passage.text, _EXAMPLE, " "), _CODE_SPAN, "·")
    text = re.sub(r"^[ \t]+", lambda match: " " * len(match[0]), text, flags=re.MULTILINE)
    for pattern in PATTERNS:
        for match in pattern.words.finditer(text):
            start = match.start() + len(match[0]) - len(match[0].lstrip())
            line = passage.line + text.count("\n", 0, start)
            yield Finding(path, line, pattern.name, passage.text[start : match.end()][:80], pattern.instead)


def _python(path: Path, source: str) -> Iterator[Finding]:
    """Yield the findings of a Python file."""
    reader = _Reader(of_tests="tests" in path.parts)
    reader.visit(ast.parse(source))
    for passage in (*reader.passages, *_comments(source)):
        yield from _found(path, passage)
    for line, text in reader.not_imperative:
        yield Finding(
            path, line, "not-imperative", text[:60], "an imperative verb first: Return, Build, Check, Raise"
        )
    for line, name in reader.names:
        if VAGUE_TEST.match(name):
            yield Finding(
                path, line, "vague-test", name, "the rejected or tested thing: test_invalid_id_is_rejected"
            )
        for finding in _found(path, Passage(line, name.replace("_", " "))):
            if finding.rule != "is-none" or "that_is_none" in name:  # otherwise, `none` is Python's None
                yield finding._replace(found=name)


def _text(path: Path, source: str) -> Iterator[Finding]:
    """Yield the findings of a file that is text, without its code, headings, and HTML comments."""
    if path.suffix == ".md":
        source = _masked(_masked(source, _FENCE, " "), _HTML_COMMENT, " ")
        source = _masked(source, _HEADING, " ")
    else:
        source = re.sub(r"^( *)#:? ?", lambda match: " " * len(match[0]), source, flags=re.MULTILINE)
    yield from _found(path, Passage(1, source))


def _is_allowed(finding: Finding, lines: Sequence[str]) -> bool:
    """Return whether a comment with a reason allows a finding."""
    near = lines[max(finding.line - 2, 0) : finding.line]
    allowed = (match for line in near for match in _ALLOWED.finditer(line))
    return any(match[1] == finding.rule and match[2] for match in allowed)


def findings(path: Path) -> list[Finding]:
    """Return what is to be rewritten in a file, in the order of its lines."""
    source = path.read_text(encoding="utf-8")
    lines = source.split("\n")
    found = _python(path, source) if path.suffix == ".py" else _text(path, source)
    return sorted({each for each in found if not _is_allowed(each, lines)}, key=lambda each: each[1:])


def files(paths: Sequence[Path]) -> Iterator[Path]:
    """Yield the files that hold text of ours."""
    for path in paths:
        for each in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if each.suffix in TEXT and each.is_file() and not OTHERS & set(each.parts):
                yield each


def everything() -> list[Path]:
    """Return the files that are read without an argument."""
    return [*files([ROOT / name for name in EVERYTHING])]


def main(arguments: Sequence[str]) -> int:
    """Print the findings, and return the exit status."""
    paths = [Path(argument) for argument in arguments] or everything()
    found = [finding for path in files(paths) for finding in findings(path)]
    for finding in found:
        print(finding)
    print(f"{len(found)} to rewrite" if found else "clean")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
