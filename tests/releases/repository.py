"""A small repository with a tag, in which tests plant changes."""

import os
import subprocess
from pathlib import Path

FILES = {
    "src/thrive_learning/_version.py": '__version__ = "0.1.0"\n',
    "src/thrive_learning/__init__.py": """
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thrive_learning.inner import Client, Kind, Limits, NotFound, Options

__all__ = ["Client", "Kind", "Limits", "NotFound", "Options"]


def __getattr__(name: str) -> object:
    raise AttributeError(name)
""",
    "src/thrive_learning/inner.py": """
import attrs
from dataclasses import dataclass
from typing import ClassVar, TypedDict
from _thrive_learning_api.kinds import Kind

class _Base:
    def shared(self, count: int = 1) -> str: ...

class Client(_Base):
    name: str | None

    def __init__(self, region: str, *, strict: bool = False) -> None: ...
    def get(self, key: str | int, limit: int = 1) -> str: ...
    def _hidden(self) -> None: ...
    @property
    def state(self) -> str: ...

@attrs.frozen
class Limits:
    total: float = attrs.field(default=1.0)
    reads: int = attrs.field(factory=int)
    _secret: str = "x"
    made: int = attrs.field(init=False, default=1)
    shared: ClassVar[int] = 1

class Failure(Exception): ...
class NotFound(Failure, KeyError): ...

class Options(TypedDict, total=False):
    timeout: float

def internal(value): ...
""",
    "src/thrive_learning/webhooks.py": '__all__ = ["verify"]\n\n\ndef verify(body: bytes) -> None: ...\n',
    "src/thrive_learning/kinds.py": """
import enum
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple, Protocol, TypeAlias, TypedDict, overload

import attrs
from _thrive_learning_api import kinds as wire

__all__ = ["Alias", "Color", "Fields", "Given", "LIMIT", "Many", "Mode", "Page", "Store", "Try"]

Alias: TypeAlias = wire.Kind
Mode: TypeAlias = Literal["a", "b"]
LIMIT = 5

class Store(Protocol):
    def load(self, key: str) -> str | None: ...

class Color(enum.Enum):
    RED = "red"

class Try(NamedTuple):
    number: int
    status: int | None = None
    error: str | None = None

class Page(Sequence[str]):
    def __enter__(self) -> "Page": ...

class Many:
    LIMIT: int = 3
    async def fetch(self, key: str) -> str: ...
    @classmethod
    def parse(self, name: str) -> "Many": ...
    @staticmethod
    def still(name: str) -> str: ...
    @property
    def size(self) -> int: ...
    @size.setter
    def size(self, value: int) -> None: ...
    @contextmanager
    def opened(self) -> Iterator[str]: ...
    @overload
    def over(self, one: int) -> int: ...
    @overload
    def over(self, one: str) -> str: ...
    def over(self, one): ...

@attrs.frozen
class Fields:
    first: int
    second: int = attrs.field(default=2)
    third: int = attrs.field(default=3, alias="three")

class Given(TypedDict, total=False):
    timeout: float
""",
    "src/thrive_learning/testing.py": """
from typing import Protocol

__all__ = ["ClientProtocol"]

class ClientProtocol(Protocol):
    def get(self, key: str) -> str: ...
""",
    "generated/_thrive_learning_api/__init__.py": "",
    "generated/_thrive_learning_api/kinds.py": "class Kind(str):\n    A = 'a'\n    B = 'b'\n",
    "openapi/thrive.yaml": """openapi: 3.1.1
paths:
  /things:
    get:
      operationId: listThings
      description: All of them.
      parameters: [{name: page, in: query, schema: {type: integer}}]
      responses: {'200': {description: Things.}}
""",
    "pyproject.toml": """
[project]
requires-python = ">=3.11"

[project.optional-dependencies]
cli = []
fast = []

[project.scripts]
thrive = "thrive_learning.cli:main"

[project.entry-points.pytest11]
thrive = "thrive_learning.testing"
""",
    "CHANGELOG.md": "# Changelog\n\n## [Unreleased]\n\n## [0.1.0] - 2026-11-01\n\n- Breaking: nothing.\n",
}


class Repository:
    """A repository of git in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.git("init", "--quiet")
        for name, text in FILES.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        self.commit()

    def git(self, *arguments: str) -> None:
        """Run git as somebody who has an empty configuration."""
        person = {
            f"GIT_{role}_{kind}": "x@y" for role in ("AUTHOR", "COMMITTER") for kind in ("NAME", "EMAIL")
        }
        own = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        subprocess.run(["git", *arguments], cwd=self.folder, check=True, env={**os.environ, **person, **own})  # noqa: S607

    def commit(self, tag: str | None = None) -> None:
        """Commit everything, and tag it."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "x")
        if tag is not None:
            self.git("tag", tag)

    def replace(self, name: str, old: str, new: str) -> None:
        """Replace text that a file has exactly once."""
        path = self.folder / name
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, (name, old)
        path.write_text(text.replace(old, new), encoding="utf-8")
