"""Check that a compose file follows the specification of Compose.

python -m tools.compose FILE
"""

import sys
from pathlib import Path

import compose_spec


def problem_with(text: str) -> str | None:
    """Return why the text of a compose file is not valid, or None.

    Source:
        https://github.com/compose-spec/compose-spec/blob/main/spec.md
    """
    options = compose_spec.PyOptions()
    options.apply_merge = True  # the key <<
    try:
        options.from_yaml(text).validate()
    except ValueError as error:
        return str(error)
    return None


def main() -> None:
    """Check one file."""
    [file] = sys.argv[1:]
    problem = problem_with(Path(file).read_text(encoding="utf-8"))
    if problem is not None:
        sys.exit(f"{file}: {problem}")
    print(f"{file} follows the specification of Compose")


if __name__ == "__main__":
    main()
