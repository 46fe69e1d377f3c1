"""Count the files of ours that one `get` uses, and the private names of other libraries.

    python -m benchmarks.path sync|async ENGINE API_URL     prints the result as JSON

Both are watched, not listed by hand. The files are those whose functions a warm `get` calls. The private
names are the attributes with a leading underscore that our code reads or writes on objects and modules of
other libraries, and the private modules that it imports, from the construction of a client to its close.
"""

import asyncio
import builtins
import functools
import importlib
import json
import pkgutil
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.contenders import OURS, OURS_FAST
from benchmarks.figures import Row
from benchmarks.ours import our_async_client, our_client
from benchmarks.pairing import Place
from benchmarks.subject import ACTIVITY_ID, mismatch

FILES, PRIVATE = "our own files that one get passes through", "private names of other libraries"
#: The libraries whose private names count. Each is imported completely before the client is created.
LIBRARIES = ("anyio", "asyncio", "certifi", "h11", "httpcore", "httpx", "idna", "selectors", "socket", "ssl")
_OUR_PACKAGE = "thrive_learning"
_HEAP_TYPE, _IMMUTABLE_TYPE = 1 << 9, 1 << 8  # of tp_flags
_WARM_UP_CALLS = 2


def contender(engine: str, flavor: str) -> str:
    """Return the name of a client in the tables."""
    name = OURS_FAST if engine == "fast" else OURS
    return name if flavor == "sync" else f"{name}, {flavor}"


def is_private(name: str) -> bool:
    """Return whether a name has a leading underscore and is not one that Python itself defines."""
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__"))


def called_files(call: Callable[[], object], package: Path) -> set[str]:
    """Return the files below a package whose functions a call runs, in this thread and in new ones."""
    files: set[str] = set()

    def profile(frame: types.FrameType, event: str, _argument: object) -> None:
        if event == "call":
            files.add(frame.f_code.co_filename)

    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    paths = [Path(file) for file in files]
    return {path.relative_to(package).as_posix() for path in paths if path.is_relative_to(package)}


class Watch:
    """Collects the private names of other libraries that the code of a package uses.

    Args:
        package: The folder of the package.
    """

    def __init__(self, package: Path) -> None:
        self.names: set[str] = set()
        self._folder = f"{package}/"
        self._set_by_us: set[tuple[int, str]] = set()

    def _asks(self) -> bool:
        """Return whether the frame that runs the watched operation is ours."""
        return sys._getframe(2).f_code.co_filename.startswith(self._folder)  # noqa: SLF001 - Python has no public name for it

    def _is_theirs(self, found: object, name: str) -> bool:
        """Return whether a private name belongs to another library.

        On an object of our own class, it does unless our code set it, or one of our classes defines it.
        """
        classes = type(found).__mro__
        if classes[0].__module__.partition(".")[0] != _OUR_PACKAGE:
            return True
        for each in classes:
            if name in vars(each):
                return each.__module__.partition(".")[0] != _OUR_PACKAGE
        return (id(found), name) not in self._set_by_us

    def _note(self, found: object, name: str) -> None:
        if isinstance(found, types.ModuleType):
            self.names.add(f"{found.__name__}.{name}")
        elif self._is_theirs(found, name):
            kind = type(found)
            theirs = next(each for each in kind.__mro__ if each.__module__.partition(".")[0] != _OUR_PACKAGE)
            self.names.add(f"{theirs.__module__}.{theirs.__qualname__}.{name}")

    def watch_class(self, watched: type) -> None:
        """Watch the attributes of a class's objects."""
        read: Any = watched.__getattribute__
        write: Any = watched.__setattr__

        @functools.wraps(read)
        def getattribute(found: Any, name: str) -> Any:
            if is_private(name) and self._asks():
                self._note(found, name)
            return read(found, name)

        @functools.wraps(write)
        def setattribute(found: Any, name: str, value: object) -> None:
            if is_private(name) and self._asks():
                if type(found).__module__.partition(".")[0] == _OUR_PACKAGE and not hasattr(found, name):
                    self._set_by_us.add((id(found), name))
                self._note(found, name)
            write(found, name, value)

        hooks: dict[str, Any] = {"__getattribute__": getattribute, "__setattr__": setattribute}
        for name, hook in hooks.items():
            setattr(watched, name, hook)

    def watch_module(self, module: types.ModuleType) -> None:
        """Watch the attributes of a module."""
        watch = self

        class Watched(types.ModuleType):
            def __getattribute__(self, name: str) -> Any:
                if is_private(name) and watch._asks():
                    watch._note(self, name)
                return super().__getattribute__(name)

        module.__class__ = Watched

    def watch_imports(self) -> None:
        """Watch the modules that the package imports."""
        original: Any = builtins.__import__

        def watched(name: str, *arguments: Any, **options: Any) -> Any:
            library, *parts = name.split(".")
            if library in LIBRARIES and any(map(is_private, parts)) and self._asks():
                self.names.add(name)
            return original(name, *arguments, **options)

        builtins.__import__ = watched


def load(library: str) -> Iterator[types.ModuleType]:
    """Import a library completely, and yield its modules."""
    module = importlib.import_module(library)
    yield module
    for found in pkgutil.walk_packages(getattr(module, "__path__", []), f"{library}."):
        if found.name.endswith(".__main__"):
            continue  # a program
        try:
            yield importlib.import_module(found.name)
        except ImportError:  # a part that needs another system, or a library that is not installed
            continue


def watch_libraries(watch: Watch) -> None:
    """Watch the libraries' modules, and the classes that they define."""
    modules = [module for library in LIBRARIES for module in load(library)]
    for module in modules:
        for found in list(vars(module).values()):
            if (
                isinstance(found, type)
                and not issubclass(found, type)
                and found.__module__ == module.__name__
                and found.__flags__ & _HEAP_TYPE
                and not found.__flags__ & _IMMUTABLE_TYPE
            ):
                watch.watch_class(found)
        watch.watch_module(module)
    watch.watch_imports()


@contextmanager
def sync_get(engine: str, api_url: str) -> Iterator[Callable[[], object]]:
    """Open a client, and yield its `get`."""
    with our_client(api_url, engine) as client:
        yield lambda: client.activities.get(ACTIVITY_ID)


@contextmanager
def async_get(engine: str, api_url: str) -> Iterator[Callable[[], object]]:
    """Open a client in an event loop, and yield its `get`, which blocks."""
    with asyncio.Runner() as runner:

        async def get() -> object:
            found: object = await client.activities.get(ACTIVITY_ID)
            return found

        async def opened() -> Any:
            return our_async_client(api_url, engine)

        client = runner.run(opened())
        yield lambda: runner.run(get())
        runner.run(client.aclose())


GETS = {"sync": sync_get, "async": async_get}


def look(flavor: str, engine: str, api_url: str) -> dict[str, list[str]]:
    """Watch a client from its construction to its close."""
    [folder] = importlib.import_module(_OUR_PACKAGE).__path__
    package = Path(folder)
    watch = Watch(package)
    watch_libraries(watch)
    with GETS[flavor](engine, api_url) as get:
        for _ in range(_WARM_UP_CALLS):
            if problem := mismatch(get()):
                raise ValueError(problem)
        files = called_files(get, package)
    return {FILES: sorted(files), PRIVATE: sorted(watch.names)}


def measure(place: Place, engines: list[str]) -> list[Row]:
    """Count files and private names of each engine, in separate processes."""
    rows: list[Row] = []
    for engine in engines:
        for flavor in GETS:
            place.say(f"the path of a get: {flavor}, {engine}")
            command = [sys.executable, "-m", "benchmarks.path", flavor, engine, place.api_url]
            done = subprocess.run(
                command, env=place.environment, stdout=subprocess.PIPE, text=True, check=True
            )
            found: dict[str, list[str]] = json.loads(done.stdout)
            rows += [
                Row(
                    what,
                    contender(engine, flavor),
                    (float(len(names)),),
                    unit="count",
                    note=", ".join(f"`{name}`" for name in names),
                    kind="ours",
                )
                for what, names in found.items()
            ]
    return sorted(rows, key=lambda row: row.measure)


if __name__ == "__main__":
    print(json.dumps(look(*sys.argv[1:])))
