"""The `thrive` command. Everything that needs the extra `cli` stands in the modules below this one."""

import sys

EXAMPLE_ID = "60d5ec49b60b4b3a2c8f9a10"  # the reference page's own, which the sandbox holds


def main(name: str = "thrive") -> None:
    """Run the command that the process was started with, and exit with its code.

    Args:
        name: How the command was called, for its help and its messages.
    """
    from thrive_learning.cli.streams import open_closed_streams  # noqa: PLC0415 - before anything is opened

    open_closed_streams()
    try:
        from thrive_learning.cli.program import run  # noqa: PLC0415 - without the extra, it cannot be imported
    except ImportError as error:
        if error.name != "click":  # then something is broken, and the extra would not mend it
            raise
        sys.stderr.write(
            "thrive: error: the command line needs the extra 'cli', which is not installed.\n"
            "Install it: python3 -m pip install 'thrive-learning[cli]'\n"
        )
        sys.exit(2)  # ExitCode.USAGE, which cannot be imported either
    sys.exit(run(sys.argv[1:], name))
