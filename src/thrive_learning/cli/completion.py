"""`thrive completion`: what a shell needs to complete commands, options and profiles."""

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete

from thrive_learning.cli.suggestions import Choice
from thrive_learning.cli.terminal import write

_SHELLS = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}

#: The variable that a shell asks for completions with.
COMPLETION_VARIABLE = "_THRIVE_COMPLETE"

_COMPLETION = """\b
Examples:
  thrive completion bash > ~/.local/share/bash-completion/completions/thrive
  thrive completion zsh > ~/.zfunc/_thrive
  thrive completion fish > ~/.config/fish/completions/thrive.fish

For zsh, the folder has to stand in fpath before compinit runs. For one shell
alone, bash and zsh take it at once:

\b
  eval "$(thrive completion bash)"
"""


@click.command(epilog=_COMPLETION)
@click.argument("shell", type=Choice([*_SHELLS]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script for tab completion."""
    script = _SHELLS[shell](context.find_root().command, {}, "thrive", COMPLETION_VARIABLE).source()
    write(script.rstrip())
