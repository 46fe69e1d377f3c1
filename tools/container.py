"""Carry out the steps of examples/sandbox without Docker: the Dockerfile, and the services of compose.yaml.

python -m tools.container        what `nox -s container` does; it needs redis-server on PATH

A service listens on a free port instead of its own, and its name means 127.0.0.1. The workflow
`container.yml` does the same with Docker.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tools.container_image import Failure, Image, copied_context

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples/sandbox"
_PATIENCE_S = 30.0


class Services:
    """The services of a compose file, each as a process.

    Args:
        compose: The parsed file.
        images: The images by name. A service of another image uses the programs of this machine.
        folder: The folder of the file, and of the logs.
        logs: The folder of the logs.
    """

    def __init__(
        self, compose: Mapping[str, Any], images: Mapping[str, Image], folder: Path, logs: Path
    ) -> None:
        self.services: Mapping[str, Any] = compose["services"]
        self._images = images
        self._folder = folder
        self._logs = logs
        self.processes: dict[str, subprocess.Popen[Any]] = {}
        numbers = re.findall(r"(?<=port=)\d+|(?<=:)\d{4,5}\b|(?<=')\d{4,5}(?=')", str(compose))
        self._ports = {number: _free_port() for number in sorted(set(numbers))}

    def mapped(self, text: str) -> str:
        """Return a text of the file with the ports and the addresses of this machine."""
        for name in self.services:
            text = text.replace(f"//{name}:", "//127.0.0.1:")
        return re.sub(
            r"(?<![\w.])\d{4,5}(?!\w)", lambda found: str(self._ports.get(found[0], found[0])), text
        )

    def start(self, name: str) -> None:
        """Start a service after those that it depends on, and those that they do."""
        service = self.services[name]
        for needed, how in service.get("depends_on", {}).items():
            if needed not in self.processes:
                self.start(needed)
            if how["condition"] == "service_healthy":
                self.wait_until_healthy(needed)
        with (self._logs / f"{name}.out").open("wb") as out, (self._logs / f"{name}.err").open("wb") as err:
            self.processes[name] = self._process(name, self.command(name), stdout=out, stderr=err)

    def command(self, name: str) -> list[str]:
        """Return the command of a service, with the paths and ports of this machine."""
        service, image = self.services[name], self._images.get(self.services[name]["image"])
        entrypoint = service.get("entrypoint", image.entrypoint if image else [])
        command = service.get("command", image.command if image else [])
        words = [self.mapped(str(word)) for word in (*entrypoint, *command)]
        for mount in service.get("volumes", ()):
            here, there, *_ = mount.split(":")
            words = [str(self._folder / here) if word == there else word for word in words]
        return words

    def _process(self, name: str, command: Sequence[str], **streams: Any) -> subprocess.Popen[Any]:
        service = self.services[name]
        image = self._images.get(service["image"])
        variables = {key: self.mapped(value) for key, value in service.get("environment", {}).items()}
        if image is None:
            environ, more = {"PATH": os.environ["PATH"], **variables}, {}
        else:
            environ, more = image.environ(variables), {"cwd": image.place(image.workdir), **image.user}
        program = shutil.which(command[0], path=environ["PATH"]) or command[0]
        arguments: dict[str, Any] = {**more, **streams}
        process: subprocess.Popen[Any] = subprocess.Popen([program, *command[1:]], env=environ, **arguments)
        return process

    def is_healthy(self, name: str) -> bool:
        """Run the health check of a service once."""
        service = self.services[name]
        image = self._images.get(service["image"])
        check = service.get("healthcheck", {}).get("test") or ["CMD", *(image.health if image else [])]
        command = [self.mapped(word) for word in check[1:]]
        quiet = self._process(name, command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return quiet.wait(_PATIENCE_S) == 0

    def wait_until_healthy(self, name: str) -> None:
        """Repeat the health check of a service until it succeeds."""
        ends_at = time.monotonic() + _PATIENCE_S
        while not self.is_healthy(name):
            code = self.processes[name].poll()
            if code is not None or time.monotonic() > ends_at:
                raise Failure(f"{name} is not healthy (exit code {code}): {self.log(name)}")
            time.sleep(0.1)

    def log(self, name: str, stream: str = "err") -> str:
        """Return what a service has written to stderr, or with `out` to stdout."""
        return (self._logs / f"{name}.{stream}").read_text(encoding="utf-8")

    def end(self, name: str, number: signal.Signals) -> int:
        """Send a signal to a service, and return its exit code. It must end within 3 s."""
        process = self.processes.pop(name)
        process.send_signal(number)
        try:
            return process.wait(3)
        except subprocess.TimeoutExpired:
            raise Failure(f"{name} did not end within 3 s of {number.name}") from None

    def kill(self) -> None:
        """End all that still run."""
        for process in self.processes.values():
            process.kill()
            process.wait()


def _free_port() -> int:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
        return int(free.getsockname()[1])


@contextlib.contextmanager
def built(folder: Path) -> Iterator[Services]:
    """Build the image in a folder, and yield the services, which end with the context.

    Args:
        folder: An empty folder, which other users may read.
    """
    ignore = (FOLDER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    copied_context(ROOT, ignore, folder / "context")
    image = Image((FOLDER / "Dockerfile").read_text(encoding="utf-8"), folder / "context", folder / "image")
    compose = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
    before, logs = image.files(), folder / "logs"
    logs.mkdir()
    for name in ("export.py",):  # a bind mount must be readable for the user of the image
        shutil.copy2(FOLDER / name, folder / name)
    services = Services(compose, {"thrive-sandbox": image}, folder, logs)
    try:
        yield services
    finally:
        services.kill()
    if image.files() != before:
        raise Failure("a service wrote to the image, which is read-only in the compose file")


def expect(*, that: bool, otherwise: str) -> None:
    """Raise a failure with a text unless a condition holds."""
    if not that:
        raise Failure(otherwise)


def use(services: Services) -> None:
    """Start the services as the compose file says, export twice at once, and stop them."""
    expect(that=not services.is_healthy("sandbox"), otherwise="the health check succeeds without a sandbox")
    copies = ["export", "export again"]
    services.services = {**services.services, copies[1]: services.services[copies[0]]}
    for name in copies:
        services.start(name)
    for name in copies:
        code = services.processes.pop(name).wait(120)
        expect(that=code == 0, otherwise=f"{name} ended with {code}: {services.log(name)}")
        ids = [json.loads(line)["id"] for line in services.log(name, "out").splitlines()]
        generated = int(re.findall(r"--generate=(\d+)", str(services.services))[0])
        expect(that=len(set(ids)) == len(ids) == generated, otherwise=f"{name} has {len(ids)} records")
        print(f"{name}: {services.log(name).strip()}")

    requests = services.log("sandbox").splitlines()
    tokens = [line for line in requests if line.startswith("POST /oauth2/token/")]
    expect(that=len(tokens) == 1, otherwise=f"{len(tokens)} token requests: {tokens}")
    rejected = sum(line.endswith("rate limit") for line in requests)
    expect(that=rejected == 0, otherwise=f"{rejected} requests were above the sandbox's rate limit")
    print(f"sandbox: {len(requests)} lines of log, 1 token request, no request above the rate limit")
    received = [json.loads(line) for line in services.log("receiver", "out").splitlines() if line[:1] == "{"]
    expect(that=bool(received), otherwise="the receiver got no webhook")
    print(f"receiver: {len(received)} webhooks, such as {json.dumps(received[0])[:100]}")
    for name, number, wanted in (
        ("sandbox", signal.SIGTERM, {0, -signal.SIGTERM}),
        ("receiver", signal.SIGINT, {0}),
        ("redis", signal.SIGTERM, {0}),
    ):
        code = services.end(name, number)
        expect(that=code in wanted, otherwise=f"{name} ended with {code} after {number.name}")
        print(f"{name}: {number.name}, exit code {code}")
    services.start("sandbox")
    services.wait_until_healthy("sandbox")
    code = services.end("sandbox", signal.SIGINT)
    expect(that=code == 0, otherwise=f"the sandbox ended with {code} after SIGINT, its STOPSIGNAL")
    print("sandbox: SIGINT, exit code 0")


def main() -> None:
    """Carry out everything in a temporary folder."""
    if shutil.which("redis-server") is None:
        sys.exit("The compose file needs redis-server. Install it, as with: apt-get install redis-server")
    with tempfile.TemporaryDirectory(prefix="thrive-container-") as folder:
        Path(folder).chmod(0o755)
        try:
            with built(Path(folder)) as services:
                use(services)
        except Failure as failure:
            sys.exit(str(failure))
    print("The steps of examples/sandbox work")


if __name__ == "__main__":
    main()
