"""Build an image from the steps of a Dockerfile in a clean folder, without Docker."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.dockerfile import Instruction, Stage, exec_form, is_ignored, stages_of
from tools.interpreters import find_interpreter

#: The variables of this machine that a step gets: where packages come from, and which certificates are valid.
_SETTINGS = re.compile(r"(PIP|UV|SSL|REQUESTS|HTTPS?|NO)_\w+", re.IGNORECASE)
_ABSOLUTE = re.compile(r"(?<![\w=.:/~-])/\w")


class Failure(Exception):  # noqa: N818 - it ends the tool, with its text
    """A step that did not do what it should."""


def copied_context(context: Path, ignore: Sequence[str], into: Path) -> None:
    """Copy the files of a context that a .dockerignore leaves in.

    Only files that git knows or would add are considered, so that environments of nox are not searched.

    Args:
        context: The folder.
        ignore: The lines of the .dockerignore.
        into: The copy.
    """
    listed = ["git", "-C", str(context), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, check=True, capture_output=True, text=True).stdout.split("\0"):
        if name and (context / name).is_file() and not is_ignored(name, ignore):
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(context / name, into / name)


class Image:
    """An image, built in a folder from the steps of a Dockerfile.

    The folder takes the place of `/`, so steps and programs have paths below it.

    Args:
        dockerfile: The text of the file.
        context: The files that it may copy.
        folder: An empty folder.
    """

    def __init__(self, dockerfile: str, context: Path, folder: Path) -> None:
        self.root: Path = folder / "root"
        self._context = context
        self._folder = folder
        self.environment: dict[str, str] = {}
        self.workdir: str = "/"
        stages = stages_of(dockerfile)
        for stage in stages:
            self._build(stage)
            if stage is not stages[-1]:
                # The next stage gets the same path, because an environment of Python contains its own.
                self.root.rename(folder / f"stage {stage.name}")
        self._check_permissions()
        final = stages[-1]
        self.entrypoint: list[str] = _words(final.last("ENTRYPOINT"))
        self.command: list[str] = _words(final.last("CMD"))
        self.stop_signal: str = " ".join(_words(final.last("STOPSIGNAL"))) or "SIGTERM"
        self.user: dict[str, Any] = self._user(" ".join(_words(final.last("USER"))))
        health = final.last("HEALTHCHECK")
        self.health: list[str] = exec_form(health.text.removeprefix("CMD ")) or [] if health else []

    def _check_permissions(self) -> None:
        for path in self.root.rglob("*"):
            if not path.is_symlink() and not path.stat().st_mode & 0o004:
                raise Failure(f"only the owner may read {path.relative_to(self.root)}")

    def _user(self, user: str) -> dict[str, Any]:
        """Return the user as arguments of Popen, which only root can choose."""
        if os.getuid() != 0:
            return {}
        owner, _, group = user.partition(":")
        chosen: dict[str, Any] = {"user": int(owner), "group": int(group), "extra_groups": []}
        try:
            subprocess.run([self.place("/usr/local/bin/python3"), "-c", ""], check=True, **chosen)
        except (OSError, subprocess.CalledProcessError):
            print(f"  NOT TRIED as user {user}, who may not start this machine's Python")
            return {}
        return chosen

    def place(self, path: str) -> Path:
        """Return the path that stands for one of the image."""
        return self.root / path.lstrip("/")

    def environ(self, more: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a process in the image.

        Args:
            more: Variables of a service.
        """
        given = {"PATH": "/usr/local/bin", **self.environment, **more}
        mapped = {name: self._mapped(value) for name, value in given.items()}
        return {
            **mapped,
            "PATH": f"{mapped['PATH']}{os.pathsep}/usr/bin{os.pathsep}/bin",
            "HOME": "/nonexistent",
        }

    def _mapped(self, value: str) -> str:
        parts = value.split(os.pathsep) if value.startswith("/") else [value]
        return os.pathsep.join(str(self.place(part)) if part.startswith("/") else part for part in parts)

    def _build(self, stage: Stage) -> None:
        print(f"FROM {stage.base}", flush=True)
        self._make_base(stage.base)
        self.environment, self.workdir = {}, "/"
        for instruction in stage.instructions:
            print(f"{instruction.name} {instruction.text[:90]}", flush=True)
            self._step(instruction)

    def _make_base(self, base: str) -> None:
        version = re.fullmatch(r"python:(\d+\.\d+)-slim", base)
        if version is None:
            raise Failure(f"there is nothing to use instead of the image {base}")
        found = find_interpreter(version[1])
        if found is None:
            print(f"  There is no Python {version[1]} here, so {sys.executable} takes its place")
        subprocess.run([found or sys.executable, "-m", "venv", self.root / "usr/local"], check=True)

    def _step(self, instruction: Instruction) -> None:
        match instruction.name:
            case "ENV":
                for setting in instruction.words:
                    name, _, value = setting.partition("=")
                    old = self.environment.get(name, "/usr/local/bin" if name == "PATH" else "")
                    self.environment[name] = value.replace(f"${name}", old)
            case "WORKDIR":
                self.workdir = instruction.text
                self.place(self.workdir).mkdir(parents=True, exist_ok=True)
            case "COPY":
                self._copy(instruction)
            case "RUN":
                if _ABSOLUTE.search(instruction.text):
                    raise Failure(
                        f"line {instruction.line}: RUN has an absolute path, so it could leave the folder"
                    )
                settings = {name: value for name, value in os.environ.items() if _SETTINGS.fullmatch(name)}
                # pip and uv find their settings below HOME.
                environ = {**settings, **self.environ({}), "HOME": str(Path.home())}
                done = subprocess.run(
                    ["/bin/sh", "-c", instruction.text],
                    check=False,
                    cwd=self.place(self.workdir),
                    env=environ,
                    capture_output=True,
                    text=True,
                )
                if done.returncode:
                    raise Failure(f"line {instruction.line}: RUN ended with {done.returncode}: {done.stderr}")
            case _:
                pass  # it describes the image, or how to start it

    def _copy(self, instruction: Instruction) -> None:
        *sources, target = instruction.words
        stage = instruction.flags.get("from")
        origin = self._context if stage is None else self._folder / f"stage {stage}"
        into = self.place(target if target.startswith("/") else f"{self.workdir}/{target}")
        for source in sources:
            path = origin / source.lstrip("/")
            if not path.exists():
                raise Failure(f"line {instruction.line}: COPY finds no {source}")
            if path.is_dir():  # its content is copied
                shutil.copytree(path, into, symlinks=True, dirs_exist_ok=True)
            else:
                to = into / path.name if target.endswith("/") else into
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, to)

    def files(self) -> dict[str, tuple[int, int]]:
        """Return the size and the time of the last change of each file."""
        found = (path for path in self.root.rglob("*") if path.is_file() and not path.is_symlink())
        return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in found}


def _words(instruction: Instruction | None) -> list[str]:
    return [] if instruction is None else instruction.words
