"""The `thrive` command. All modules below this one need the extra `cli`."""

import sys

EXAMPLE_ID = "60d5ec49b60b4b3a2c8f9a10"  # the example of the vendor's reference page; the sandbox has it


def main(name: str = "thrive") -> None:
    """Run the command line of the process, and exit with its code.

    Args:
        name: The name of the command in its help and messages.
    """
    from thrive_learning.cli.streams import open_closed_streams  # noqa: PLC0415 - must run before any file is opened

    open_closed_streams()
    try:
        from thrive_learning.cli.program import run  # noqa: PLC0415 - not importable without the extra
    except ImportError as error:
        if error.name != "click":  # something else is broken, and installing the extra would not help
            raise
        sys.stderr.write(
            "thrive: error: the command line needs the extra 'cli', which is not installed.\n"
            "Install it with: python3 -m pip install 'thrive-learning[cli]'\n"
        )
        sys.exit(2)  # ExitCode.USAGE, which is not importable either
    sys.exit(run(sys.argv[1:], name))
