"""How the text of a secret command is split, on each platform."""

import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thrive_learning._settings.command_line import split_command


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pass show thrive", ("pass", "show", "thrive")),
        ("  pass\tshow  thrive \n", ("pass", "show", "thrive")),
        ("pass 'a b' \"c d\"", ("pass", "a b", "c d")),
        ("pass ''", ("pass", "")),
        ("pass a'b'\"c\"d", ("pass", "abcd")),
        (r"pass a\ b \| \\", ("pass", "a b", "|", "\\")),
        (r'pass "a\$b" "\"" "\x"', ("pass", "a$b", '"', "\\x")),
        ("pass 'a|b;c$d`e' \"a|b;c>d\"", ("pass", "a|b;c$d`e", "a|b;c>d")),
        ("pass a\\\nb", ("pass", "ab")),
        ("op read op://vault/item#1", ("op", "read", "op://vault/item#1")),
        ("op x~y a=b --c=d", ("op", "x~y", "a=b", "--c=d")),
        (r"'C:\Tools\op.exe' read", (r"C:\Tools\op.exe", "read")),
        ("é ü", ("é", "ü")),
    ],
)
def test_posix_words(text: str, words: tuple[str, ...]) -> None:
    assert split_command(text, "linux") == words


@pytest.mark.parametrize(
    ("text", "character"),
    [
        ("echo x | rev", "'|'"),
        ("echo x|rev", "'|'"),
        ("cat < file", "'<'"),
        ("echo x > file", "'>'"),
        ("echo x 2>file", "'>'"),
        ("a && b", "'&'"),
        ("a & ", "'&'"),
        ("a; b", "';'"),
        ("a\nb", r"'\n'"),
        ("echo $HOME", "'$'"),
        ('echo "$HOME"', "'$'"),
        ("echo $(date)", "'$'"),
        ("echo `date`", "'`'"),
        ('echo "`date`"', "'`'"),
        ("(a)", "'('"),
        ("cat *.txt", "'*'"),
        ("cat ?", "'?'"),
        ("cat [a]", "'['"),
        ("~/bin/secret", "'~'"),
        ("cat ~/secret", "'~'"),
        ("cat x # comment", "'#'"),
        ("X=1 pass show", "'='"),
    ],
)
def test_a_character_for_a_posix_shell_is_rejected(text: str, character: str) -> None:
    problem = split_command(text, "linux")
    assert isinstance(problem, str)
    assert problem.startswith(f"the command contains {character}, which needs a shell")
    assert problem.endswith("and the command runs without one. Quote it, or run a shell with sh -c '…'")


@pytest.mark.parametrize("platform", ["linux", "win32"])
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the command is empty. Set it"),
        (" \n", "the command is empty. Set it"),
        ('""', "the command is empty. Set it"),
        ('pass "x', 'the command has no closing quotation mark ". Add it'),
    ],
)
def test_a_text_that_is_not_a_command_is_rejected(text: str, problem: str, platform: str) -> None:
    assert split_command(text, platform) == problem


def test_a_backslash_that_a_shell_would_take_away_is_rejected() -> None:
    problem = split_command(r"C:\Tools\op.exe read", "linux")
    assert problem == (
        "the backslash before 'T' in the command would be lost. Put the word in single quotation marks"
    )
    assert split_command("pass x\\", "linux") == "the command ends with a backslash. Remove it"
    assert split_command("pass 'x", "darwin") == "the command has no closing quotation mark '. Add it"


@given(st.lists(st.text("ab 'é\"\\$|~#=\n", max_size=6), min_size=1).filter(lambda words: bool(words[0])))
def test_whatever_is_quoted_for_a_posix_shell_comes_back(words: list[str]) -> None:
    quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)
    assert shlex.split(quoted) == words
    found = split_command(quoted, "linux")
    assert found == tuple(words) or ("=" in words[0] and isinstance(found, str))


# The cases of Microsoft's page, and those of list2cmdline().
@pytest.mark.parametrize(
    ("text", "words"),
    [
        (r"C:\Tools\op.exe read op://a/b", (r"C:\Tools\op.exe", "read", "op://a/b")),
        (r'"C:\Program Files\op\op.exe" read "a b"', (r"C:\Program Files\op\op.exe", "read", "a b")),
        (r'"C:\Program Files\\" x', ("C:\\Program Files\\\\", "x")),
        (r'op "abc" d e', ("op", "abc", "d", "e")),
        (r'op a\\b d"e f"g h', ("op", r"a\\b", "de fg", "h")),
        (r"op a\\\"b c d", ("op", r"a\"b", "c", "d")),
        (r'op a\\\\"b c" d e', ("op", r"a\\b c", "d", "e")),
        (r'op "a b""c d"', ("op", 'a b"c d')),
        (r'op "a\\"', ("op", "a\\")),
        ("op 'a b' $x ; * ?", ("op", "'a", "b'", "$x", ";", "*", "?")),
        ('op "a|b" "" 100%', ("op", "a|b", "", "100%")),
        ("  op\tx ", ("op", "x")),
        ("op", ("op",)),
        ("op  x", ("op", "x")),
    ],
)
def test_windows_words(text: str, words: tuple[str, ...]) -> None:
    assert split_command(text, "win32") == words


@pytest.mark.parametrize("text", ["op x | y", "op > x", "op < x", "op & x", "op ^x", "op\nx", "op %USER%"])
def test_a_character_for_cmd_is_rejected(text: str) -> None:
    problem = split_command(text, "win32")
    assert isinstance(problem, str)
    assert problem.endswith('Quote it, or run a shell with cmd /c "…"')


@given(st.lists(st.text('ab é"\\', max_size=6), max_size=4))
def test_whatever_python_quotes_for_windows_comes_back(words: list[str]) -> None:
    line = subprocess.list2cmdline(["op", *words])
    assert split_command(line, "win32") == ("op", *words)
