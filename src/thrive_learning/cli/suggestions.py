"""Suggestions for misspelled names, and for options after the wrong command."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import click

#: Options that users may type as commands.
_OPTIONS_NOT_COMMANDS = {"help": "--help", "version": "--version"}
#: The key of `Context.meta` for the path of the last command that was found, such as `thrive activity`.
COMMAND_PATH = "thrive_learning.command_path"

_MOST_LISTED = 4
_LONGEST_SHOWN = 80


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most similar to a wrong one; None if no name is similar."""
    import difflib  # noqa: PLC0415 - needed only after a mistake

    names = {candidate.lower(): candidate for candidate in known}
    wanted = name.lower()[:_LONGEST_SHOWN]
    # For difflib, `act` is too short to be similar to `activity`.
    begun = [candidate for candidate in names if len(wanted) > 1 and candidate.startswith(wanted)]
    found = difflib.get_close_matches(wanted, names, n=1) or begun
    return names[found[0]] if found else None


def did_you_mean(meant: str | None) -> str:
    """Return the question to add to a message; empty without a suggestion."""
    return "" if meant is None else f" Did you mean {meant!r}?"


class Choice(click.Choice[str]):
    """A choice between names that suggests the most similar one. Its messages have one line."""

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str:  # noqa: ARG002
        """Return the text to add to the message about a missing choice."""
        return f"Choose one of {', '.join(self.choices)}"

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        """Return the message about a value that is not one of the choices."""
        message = super().get_invalid_choice_message(value, ctx)
        return f"{message}{did_you_mean(nearest(str(value), self.choices))}"


class Group(click.Group):
    """A group of commands that suggests the most similar one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the arguments begin with.

        Raises:
            click.UsageError: The command is unknown. The message suggests one.
        """
        name = args[0]
        if self.get_command(ctx, name) is not None:
            ctx.meta[COMMAND_PATH] = f"{ctx.command_path} {name}"
        elif not (name.startswith("-") or ctx.resilient_parsing):
            raise click.UsageError(
                f"No such command {name[:_LONGEST_SHOWN]!r}.{did_you_mean(self._meant(ctx, name))}", ctx
            )
        return super().resolve_command(ctx, args)

    def _meant(self, ctx: click.Context, name: str) -> str | None:
        path = ctx.command_path
        if name in _OPTIONS_NOT_COMMANDS:
            return f"{path} {_OPTIONS_NOT_COMMANDS[name]}"
        below = {words[-1]: words for words, _ in reversed([*_commands_below(self, ctx)])}
        near = nearest(name, self.list_commands(ctx)) or nearest(name, below)
        return None if near is None else " ".join([path, *below[near]])


def _commands_below(
    group: click.Group, ctx: click.Context, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield the commands below a group, its own first, with the words that lead to each."""
    commands = [(name, group.get_command(ctx, name)) for name in group.list_commands(ctx)]
    for name, command in commands:
        if command is not None:
            yield (*words, name), command
    for name, command in commands:
        if isinstance(command, click.Group):
            yield from _commands_below(command, ctx, (*words, name))


def placement(error: click.NoSuchOption, arguments: Sequence[str]) -> str | None:
    """Return a message about an option after the wrong command; None if no command has the option.

    Args:
        error: click's error.
        arguments: The arguments after `thrive`.
    """
    context = error.ctx
    if context is None:
        return None
    option = error.option_name
    above = context.parent
    while above is not None:
        if _has(above.command, option):
            return (
                f"{option!r} is an option of '{above.command_path}'. "
                f"Write it there: {above.command_path} {option}"
            )
        above = above.parent
    if not isinstance(context.command, click.Group):
        return None
    below = [*_commands_below(context.command, context)]
    takers = [words for words, command in below if _has(command, option)]
    if not takers:
        return _misspelled(context, option, below, arguments)
    # Prefer the command that the arguments name.
    named = [words for words in takers if _in_order(words, arguments)]
    if named:
        path = " ".join([context.command_path, *named[-1]])
        return f"{option!r} is an option of '{path}'. Write it there: {path} {option} ..."
    paths = [" ".join([context.command_path, *words]) for words in takers]
    listed = ", ".join(f"'{path}'" for path in paths[:_MOST_LISTED])
    others = " and others" if len(paths) > _MOST_LISTED else ""
    return f"{option!r} is an option of {listed}{others}. Write it after the command: {paths[0]} {option} ..."


def _misspelled(
    context: click.Context,
    option: str,
    below: Sequence[tuple[tuple[str, ...], click.Command]],
    arguments: Sequence[str],
) -> str | None:
    """Return a message with the most similar option of a subcommand; None if no option is similar."""
    names = {name for _, command in below for parameter in command.params for name in parameter.opts}
    near = nearest(option, sorted(name for name in names if name.startswith("--")))
    if near is None:
        return None
    takers = [words for words, command in below if _has(command, near)]
    words = next((words for words in takers if _in_order(words, arguments)), takers[0])
    return f"No such option {option!r}.{did_you_mean(' '.join([context.command_path, *words, near]))}"


def _has(command: click.Command, option: str) -> bool:
    return any(option in (*parameter.opts, *parameter.secondary_opts) for parameter in command.params)


def _in_order(words: Sequence[str], arguments: Sequence[str]) -> bool:
    left = iter(arguments)
    return all(word in left for word in words)
