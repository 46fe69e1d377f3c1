"""`thrive completion`: shell completion of commands, options, and values."""

import os
from collections.abc import Mapping
from typing import TypeAlias, get_args

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    shell_complete,
)

from thrive_learning._version import __version__
from thrive_learning.cli.suggestions import Choice
from thrive_learning.cli.terminal import write

_SHELLS: dict[str, type[ShellComplete]] = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}

_Items: TypeAlias = "list[CompletionItem[str]]"

#: The variable with which a shell asks for completions.
COMPLETION_VARIABLE = "_THRIVE_COMPLETE"

#: zsh reads the first line of a file in fpath to learn what the file completes.
_ZSH_HEADER = "#compdef thrive\n"

_COMPLETION = """\b
Examples:
  thrive completion bash > ~/.local/share/bash-completion/completions/thrive
  thrive completion zsh > ~/.zfunc/_thrive
  thrive completion fish > ~/.config/fish/completions/thrive.fish

For zsh, add the folder to fpath before compinit runs. To enable completion in
the current bash or zsh only:

\b
  eval "$(thrive completion bash)"
"""


@click.command(epilog=_COMPLETION)
@click.argument("shell", type=Choice([*_SHELLS]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a shell completion script."""
    # Not ShellComplete.source(): for bash, that runs bash, and warns if it is not installed.
    made = _SHELLS[shell](context.find_root().command, {}, "thrive", COMPLETION_VARIABLE)
    script = (made.source_template % made.source_vars()).strip().removeprefix(_ZSH_HEADER).lstrip()
    # Without this, fish cuts a description off at its first comma.
    script = script.replace('string split ","', 'string split -m 1 ","')
    header = f"# Tab completion of thrive {__version__} for {shell}, from `thrive completion {shell}`.\n"
    write(f"{_ZSH_HEADER if shell == 'zsh' else ''}{header}\n{script}")


def completed(command: click.Command, instruction: str) -> int:
    """Print the completions that a shell requests, such as by `bash_complete`, and return the exit code."""
    try:
        return shell_complete(command, {}, "thrive", COMPLETION_VARIABLE, instruction)
    except Exception:  # a message would end up in the middle of the command line
        if os.environ.get("THRIVE_DEBUG") == "1":
            raise
        return 1


# The completions of values


def complete_keys(context: click.Context, _parameter: click.Parameter, incomplete: str) -> _Items:
    """Return the keys of a profile that complete a word, without those already on the command line."""
    from thrive_learning._settings.layers import VARIABLES  # noqa: PLC0415 - for shells alone

    given: tuple[str, ...] = context.params.get("keys") or ()
    left = {key: variable for key, variable in VARIABLES.items() if key not in given}
    return _items(left, incomplete.replace("-", "_"))


def complete_value(context: click.Context, _parameter: click.Parameter, incomplete: str) -> _Items:
    """Return the values that complete a word: those of the key before it."""
    from thrive_learning._settings.engine_names import ENGINES  # noqa: PLC0415 - for shells alone
    from thrive_learning.credentials import ClientAuth, Scope  # noqa: PLC0415 - for shells alone
    from thrive_learning.regions import Region  # noqa: PLC0415 - for shells alone

    key = str(context.params.get("key") or "").replace("-", "_")
    if key.endswith("_file"):
        return [CompletionItem(incomplete, type="file")]
    known: dict[str, list[str]] = {
        "region": [region.name for region in Region.VENDOR],
        "scopes": [str(scope) for scope in Scope],
        "client_auth": sorted(get_args(ClientAuth)),
        "engine": [*ENGINES],
    }
    return _items(dict.fromkeys(known.get(key, [])), incomplete)


def complete_faults(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> _Items:
    """Return the faults that complete a word."""
    from thrive_learning.sandbox.faults import KINDS  # noqa: PLC0415 - for shells alone

    statuses = {"429": "too many requests", "500": "the API failed", "503": "the API is not available"}
    names = {name: kind.meaning for name, kind in KINDS.items() if name.isascii()}
    return _items(statuses | names, incomplete)


def _items(names: Mapping[str, str | None], incomplete: str) -> _Items:
    return [CompletionItem(name, help=text) for name, text in names.items() if name.startswith(incomplete)]
