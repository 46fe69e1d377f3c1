"""Write the part of docs/reference/cli.md that `--help` prints. A test compares the two.

python -m tools.cli_reference write     what `nox -s reference` does
"""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from thrive_learning.cli import program
from thrive_learning.cli.commands import thrive

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "cli.md"
BEGIN = "<!-- The text from here to the last comment is written by `nox -s reference`. -->\n"
END = "<!-- Here ends what `nox -s reference` writes. -->\n"


def commands(command: click.Command = thrive, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words after `thrive` of every command, the groups included."""
    yield words
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from commands(below, (*words, name))


def help_of(words: tuple[str, ...]) -> str:
    """Return what a command's --help prints."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert program.run([*words, "--help"]) == 0
    return printed.getvalue()


def reference() -> str:
    """Return the generated part."""
    parts: list[str] = []
    for words in commands():
        name = " ".join(["thrive", *words])
        parts.append(f"### {name}\n\n```console\n$ {name} --help\n{help_of(words)}```\n")
    return "\n" + "\n".join(parts) + "\n"


def with_reference(page: str) -> str:
    """Return the page with its generated part as it should be."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + reference() + END + after


if __name__ == "__main__":
    os.environ["COLUMNS"] = "80"
    assert sys.argv[1:] == ["write"], "say `write`"
    PAGE.write_text(with_reference(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
