"""`tools/language.py` finds the English that the project avoids, and nothing else."""

import textwrap
from pathlib import Path

import pytest

from tools import language, language_patterns

EXAMPLES = {
    "is-none": ("A proxy whose URL\nis none.", "None if it is not set, and none of them is a proxy."),
    "is-no": (
        "It is no valid ID, and 'regoin' is no key.",
        "It is not a valid ID, there is no key, and no longer one.",
    ),
    "no-such": ("There is no such region.", "Unknown region 'eu'."),
    "whoever": ("Whoever waits for it gets the same token.", "Every waiting caller gets the same token."),
    "what-as-subject": (
        "One line.\n\nWhat may pass was tried three times.",
        "What is a region? What to do next.",
    ),
    "way-out": ("This is the only way out.", "This is the only workaround."),
    "told": ("The hook is told of it, and told apart.", "The hook is called with it. It tells you why."),
    "said": ("A full disk is said once.", "A full disk is reported once. The server said no."),
    "has-to": (
        "A caller has to wait.",
        "A caller must wait. You do not have to wait, or it has to do with TLS.",
    ),
    "british": (
        "The cancelled task has a colour.",
        "The canceled task has a color. A cancellation is organic.",
    ),
    "time-out": ("A time-out per read.", "A timeout per read."),
    "colon-sentence": (
        "Nothing is stored: it is a secret.",
        "Three regions: one for each market, and `a: int`.",
    ),
    "in-plain": ("The secret is stored in plain.", "The secret is stored in plain text."),
    "one-plural": ("Read 1 records.", "Read 1 record, 2 records, and 0.1 seconds of 21 seconds."),
    "either-number": ("Read 2 record(s).", "Read 2 records with call(self)."),
    "at-the-most": ("It waits 5 s at the most, or for ever.", "It waits at most 5 s, or forever."),
    "anew": ("Write the page anew.", "Write the page again."),
    "go-on-with": ("The file cannot be gone on with.", "The export cannot be resumed; it goes on."),
    "stands-in": (
        "The ID stands in the first column.",
        "The ID is in the first column; N stands for a number.",
    ),
    "made-of": ("The reply made no sense.", "The response is not valid."),
    "archaic": ("It is a secret, hence hidden.", "It is a secret, so it is hidden."),
    "on-its-way": ("An ID that is on its way already.", "An ID that is in flight."),
    "and-the-like": ("Threads and the like.", "Threads and tasks."),
    "for-good": ("It is stopped for good.", "It is stopped forever, for good reasons."),
}


def rules(found: list[language.Finding]) -> list[str]:
    return [finding.rule for finding in found]


def check(tmp_path: Path, name: str, text: str) -> list[language.Finding]:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return language.findings(path)


def test_every_pattern_has_examples() -> None:
    assert list(EXAMPLES) == [pattern.name for pattern in language_patterns.PATTERNS]


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_pattern_finds_its_words_and_passes_good_english(tmp_path: Path, name: str) -> None:
    wrong, right = EXAMPLES[name]
    assert name in rules(check(tmp_path, "page.md", wrong))
    assert rules(check(tmp_path, "page.md", right)) == []


def test_strings_docstrings_and_comments_are_read_across_lines(tmp_path: Path) -> None:
    found = check(
        tmp_path,
        "module.py",
        '''\
        """A module.

        Its secret is
        none."""
        message = (
            f"{message} has"
            " to wait"
        )
        # It is written
        # anew.
        other = 1  # for good.
        ''',
    )
    assert [(each.line, each.rule) for each in found] == [
        (3, "is-none"),
        (6, "has-to"),
        (10, "anew"),
        (11, "for-good"),
    ]


def test_code_is_not_prose(tmp_path: Path) -> None:
    page = "Write `is none` here.\n\n```python\nx = 'is none'\n```\n\n<!-- is none -->\n\n## What is none\n"
    assert check(tmp_path, "page.md", page) == []
    module = 'PATTERN = r"\\bis none\\b"\nWORD = "anew"\n'
    assert check(tmp_path, "module.py", module) == []
    module = 'if WORD is None:\n    """See `is none`.\n\n    >>> "is none"\n    """\n'
    assert check(tmp_path, "module.py", module) == []


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        ("Return the ID.", []),
        ("Give the ID.", ["not-imperative"]),
        ("Returns the ID.", ["not-imperative"]),
        ("The ID.", ["not-imperative"]),
    ],
)
def test_a_docstring_of_a_function_begins_with_an_imperative(
    tmp_path: Path, docstring: str, expected: list[str]
) -> None:
    assert rules(check(tmp_path, "module.py", f'def name():\n    """{docstring}"""\n')) == expected


@pytest.mark.parametrize(
    "decorator", ["property", "functools.cached_property", "pytest.fixture(scope='module')"]
)
def test_a_docstring_of_a_property_may_name_it(tmp_path: Path, decorator: str) -> None:
    assert check(tmp_path, "module.py", f'@{decorator}\ndef name():\n    """The ID."""\n') == []


def test_names_of_tests_are_read_and_their_strings_are_not(tmp_path: Path) -> None:
    module = """\
        def test_what_is_no_concurrency():
            assert "is none"

        def test_an_invalid_concurrency_is_rejected():
            # This has to fail.
            pass

        def test_a_missing_id_is_none():
            pass

        def test_an_id_that_is_none():
            pass
        """
    assert rules(check(tmp_path, "tests/test_it.py", module)) == ["is-no", "vague-test", "has-to", "is-none"]


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("# language: allow is-none (quotes OpenSSL)", []),
        ("# language: allow is-none", ["is-none"]),
        ("# language: allow is-no (quotes OpenSSL)", ["is-none"]),
    ],
)
def test_a_comment_with_a_reason_allows_one_rule(tmp_path: Path, comment: str, expected: list[str]) -> None:
    assert rules(check(tmp_path, "module.py", f'{comment}\ntext = "the cipher is none"\n')) == expected
    assert rules(check(tmp_path, "module.py", f'text = "the cipher is none"  {comment}\n')) == expected


def test_a_planted_break_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A page\n\nThe region is valid.\n", encoding="utf-8")
    assert language.main([str(tmp_path)]) == 0
    page.write_text("# A page\n\nThe region is none.\n", encoding="utf-8")
    assert language.main([str(tmp_path)]) == 1
    assert f"{page}:3: 'is none' (is-none). Write" in capsys.readouterr().out


def test_the_check_reads_every_folder_without_an_argument() -> None:
    read = {path.relative_to(language.ROOT).as_posix() for path in language.everything()}
    for name in (
        "src/thrive_learning/errors.py",
        "docs/README.md",
        "noxfile.py",
        "openapi/thrive.yaml",
        ".ci/run",
    ):
        assert name in read
    assert not any(name.startswith("generated/") for name in read)
