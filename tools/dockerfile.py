"""Read a Dockerfile and its .dockerignore, as far as examples/ uses them. Anything else is an error."""

import fnmatch
import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

#: The instructions that `tools.container` carries out.
KNOWN = {
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "RUN",
    "STOPSIGNAL",
    "USER",
    "WORKDIR",
}
_FLAG = re.compile(r"--([a-z-]+)=(\S+)\s+")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction.

    Args:
        name: The name in capital letters, such as `RUN`.
        flags: The values of its flags by name, such as `from`.
        text: The rest.
        line: Its line.
    """

    name: str
    flags: dict[str, str]
    text: str
    line: int

    @property
    def words(self) -> list[str]:
        """The words of the exec form, or those of the rest as a shell would split it."""
        return exec_form(self.text) or shlex.split(self.text)


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: its base, its name, which may be empty, and its instructions without `FROM`."""

    base: str
    name: str
    instructions: list[Instruction] = field(default_factory=list)

    def last(self, name: str) -> Instruction | None:
        """Return the last instruction with this name, which is the one that counts."""
        return next((found for found in reversed(self.instructions) if found.name == name), None)


def exec_form(text: str) -> list[str] | None:
    """Return the words of an exec form, such as `["thrive"]`; None for any other text."""
    try:
        words = json.loads(text)
    except ValueError:
        return None
    return words if isinstance(words, list) and all(isinstance(word, str) for word in words) else None


def instructions_of(text: str) -> list[Instruction]:
    """Return the instructions of a Dockerfile.

    Args:
        text: The file.

    Raises:
        ValueError: There is an instruction or a flag in a form that this module does not know.

    Source:
        https://docs.docker.com/reference/dockerfile/
    """
    found: list[Instruction] = []
    logical, first = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#") or not line.strip():
            continue  # also within a continued line
        first = first or number
        if line.rstrip().endswith("\\"):
            logical += line.rstrip()[:-1]
            continue
        name, _, rest = (logical + line).strip().partition(" ")
        flags: dict[str, str] = {}
        rest = rest.strip()
        while flag := _FLAG.match(rest):
            flags[flag[1]] = flag[2]
            rest = rest[flag.end() :]
        if name not in KNOWN or rest.startswith("--"):
            raise ValueError(f"line {first}: cannot carry out {name} {rest[:40]}")
        found.append(Instruction(name, flags, rest, first))
        logical, first = "", 0
    return found


def stages_of(text: str) -> list[Stage]:
    """Return the stages of a Dockerfile.

    Raises:
        ValueError: As for `instructions_of`, or an instruction precedes the first `FROM`.
    """
    stages: list[Stage] = []
    for instruction in instructions_of(text):
        if instruction.name == "FROM":
            base, *alias = instruction.words
            stages.append(Stage(base, alias[1] if alias else ""))
        elif not stages:
            raise ValueError(f"line {instruction.line}: {instruction.name} precedes FROM")
        else:
            stages[-1].instructions.append(instruction)
    return stages


def is_ignored(path: str, patterns: Sequence[str]) -> bool:
    """Return whether a .dockerignore leaves a path out of the context. The last pattern that matches counts.

    Args:
        path: The path of a file, relative to the context.
        patterns: The lines of the file.

    Source:
        https://docs.docker.com/build/concepts/context/#dockerignore-files
    """
    ignored = False
    parts = PurePosixPath(path).parts
    # A pattern that matches a folder matches everything in it.
    prefixes = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    for line in patterns:
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        is_exception = pattern.startswith("!")
        if any(_matches(prefix, pattern.removeprefix("!").strip("/")) for prefix in prefixes):
            ignored = not is_exception
    return ignored


def _matches(path: str, pattern: str) -> bool:
    wanted, given = pattern.split("/"), path.split("/")
    if wanted[0] == "**":
        return any(_matches("/".join(given[start:]), "/".join(wanted[1:])) for start in range(len(given)))
    return len(wanted) == len(given) and all(map(fnmatch.fnmatchcase, given, wanted))
