"""`thrive completion`: what a shell needs to complete commands, options and profiles."""

import click
from click.shell_completion import get_completion_class

from thrive_learning.cli.terminal import write

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
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script for tab completion."""
    kind = get_completion_class(shell)
    if kind is None:  # pragma: no cover - click has all three
        raise click.UsageError(f"this version of click knows no completion for {shell}")
    write(kind(context.find_root().command, {}, "thrive", COMPLETION_VARIABLE).source().rstrip())
