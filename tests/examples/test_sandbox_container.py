"""The Dockerfile and the compose file of examples/sandbox, and the tool that carries out their steps."""

import json
import os
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness import ROOT

from thrive_learning.cli.commands import thrive
from thrive_learning.cli.commands.sandbox import sandbox as sandbox_command
from thrive_learning.cli.commands.webhook import webhook as webhook_command
from thrive_learning.sandbox import Sandbox, SandboxRateLimit
from thrive_learning.sandbox.server import client_variables
from thrive_learning.sandbox.webhooks import WEBHOOK_SECRET
from tools.container_image import Failure, Image, copied_context
from tools.dockerfile import exec_form, instructions_of, is_ignored, stages_of

FOLDER = ROOT / "examples/sandbox"
STAGES = stages_of((FOLDER / "Dockerfile").read_text(encoding="utf-8"))
IGNORE = (FOLDER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
#: Commands keep the options for help of their first context, which come from that of `thrive`.
ABOVE = thrive.make_context("thrive", [], resilient_parsing=True)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def last(name: str) -> str:
    instruction = STAGES[-1].last(name)
    assert instruction is not None, name
    return instruction.text


# The Dockerfile


def test_the_image_runs_the_command_without_a_shell_and_not_as_root() -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", last("USER"))
    assert exec_form(last("ENTRYPOINT")) == ["thrive"]
    command = exec_form(last("CMD"))
    assert command is not None
    options = sandbox_command.make_context("sandbox", command[1:], ABOVE).params
    assert (command[0], options["host"]) == ("sandbox", "0.0.0.0")  # noqa: S104
    assert last("EXPOSE") == str(options["port"])
    health = exec_form(last("HEALTHCHECK").removeprefix("CMD "))
    assert health is not None
    assert f"'http://127.0.0.1:{options['port']}/health'" in health[-1]
    assert last("STOPSIGNAL") == "SIGINT"  # the regular end, with exit code 0


def test_the_bases_have_one_version() -> None:
    [base] = {stage.base for stage in STAGES}
    version = re.fullmatch(r"python:(3\.\d+)-slim", base)
    assert version is not None
    assert f"Programming Language :: Python :: {version[1]}" in PROJECT["classifiers"]


def test_the_image_installs_extras_that_exist_from_the_lock_file() -> None:
    [command] = [step.text for step in STAGES[0].instructions if step.text.startswith("uv sync")]
    extras = re.findall(r"--extra (\S+)", command)
    assert {"cli", "sandbox"} <= set(extras) <= set(PROJECT["optional-dependencies"])
    assert "--locked" in command


def test_the_labels_are_those_of_the_project() -> None:
    labels = dict(word.split("=", 1) for word in STAGES[-1].instructions[0].words)
    assert labels["org.opencontainers.image.source"] == PROJECT["urls"]["Source"]
    assert labels["org.opencontainers.image.licenses"] == PROJECT["license"]


def test_the_context_has_what_is_copied_and_nothing_else(tmp_path: Path) -> None:
    copied = {
        word.rstrip("/")
        for stage in STAGES
        for step in stage.instructions
        if step.name == "COPY" and "from" not in step.flags
        for word in step.words[:-1]
    }
    copied_context(ROOT, IGNORE, tmp_path)
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}

    assert {"src/thrive_learning/py.typed", "openapi/thrive.yaml", "pyproject.toml"} <= files
    tops = {name for name in files if not any(name == top or name.startswith(f"{top}/") for top in copied)}
    assert tops == set()
    assert all((tmp_path / name).exists() for name in copied)
    for name in (".env", "src/.env", ".git/config", ".venv/x", "src/a/__pycache__/a.pyc", "tests/x.py"):
        assert is_ignored(name, IGNORE), name


# The compose file


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_only_the_rights_that_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert all(mount.endswith(":ro") for mount in service.get("volumes", ()))


def test_the_only_secrets_are_the_public_ones_of_the_sandbox() -> None:
    sandbox = Sandbox()
    given = {
        value
        for service in SERVICES.values()
        for key, value in service.get("environment", {}).items()
        if "SECRET" in key
    }
    assert given == {sandbox.client_secret, WEBHOOK_SECRET}
    variables = client_variables("http://127.0.0.1:8000", sandbox)
    assert variables.items() <= SERVICES["export"]["environment"].items()


def test_the_commands_have_options_that_exist_and_fit_together() -> None:
    options = sandbox_command.make_context("sandbox", SERVICES["sandbox"]["command"][1:], ABOVE).params
    group, *arguments = SERVICES["receiver"]["command"]
    listen = webhook_command.commands[arguments[0]]
    listening = listen.make_context("listen", arguments[1:], ABOVE).params

    assert SERVICES["sandbox"]["ports"] == [f"127.0.0.1:{options['port']}:{options['port']}"]
    assert (group, options["webhook_url"]) == ("webhook", f"http://receiver:{listening['port']}/")
    assert options["arrivals"]
    # The copies of the client share a limit that is lower than that of the server.
    theirs = SandboxRateLimit.parse(SERVICES["export"]["environment"]["THRIVE_RATE_LIMIT"])
    assert theirs.per_second < SandboxRateLimit.parse(options["rate_limit"]).per_second


def test_the_client_waits_until_the_sandbox_is_healthy_and_is_on_its_network() -> None:
    export = SERVICES["export"]
    needed = {name: how["condition"] for name, how in export["depends_on"].items()}
    assert needed == {"sandbox": "service_healthy", "redis": "service_healthy"}
    assert export["network_mode"] == "service:sandbox"
    [program] = export["volumes"]
    assert (FOLDER / program.split(":")[0]).is_file()
    assert program.split(":")[1] == export["entrypoint"][-1]


# The tool


def test_a_dockerfile_is_read() -> None:
    text = (
        'FROM a:1 AS one\n# why\nRUN x \\\n  # within\n  y\nFROM b:2\nCOPY --from=one /p /q\nCMD ["c", "d"]\n'
    )
    one, two = stages_of(text)
    assert (one.base, one.name, two.base, two.name) == ("a:1", "one", "b:2", "")
    assert [(step.name, step.text, step.line) for step in one.instructions] == [("RUN", "x   y", 3)]
    assert two.instructions[0].flags == {"from": "one"}
    assert two.instructions[1].words == ["c", "d"]
    assert two.last("USER") is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("FROM a\nADD x y\n", "line 2: cannot carry out ADD x y"),
        ("FROM a\nRUN --mount x\n", "line 2: cannot carry out RUN --mount x"),
        ("RUN x\nFROM a\n", "line 1: RUN precedes FROM"),
    ],
    ids=["ADD", "flag", "order"],
)
def test_a_dockerfile_with_unknown_parts_is_rejected(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        stages_of(text)


@pytest.mark.parametrize(
    ("path", "ignored"),
    [
        ("a", True),
        ("src", False),
        ("src/b/c.py", False),
        ("src/b/c.pyc", True),
        ("src/b/cache/x", True),
        ("cache/src", True),
    ],
)
def test_the_last_pattern_that_matches_counts(path: str, ignored: bool) -> None:  # noqa: FBT001
    patterns = ["# allow", "", "*", "!src/", "**/*.pyc", "**/cache"]
    assert is_ignored(path, patterns) is ignored


class Small(Image):
    """An image whose base has nothing but Python, to be quick."""

    def _make_base(self, base: str) -> None:
        if base != "scratch":
            super()._make_base(base)
        bin_ = self.root / "usr/local/bin"
        bin_.mkdir(parents=True)
        (bin_ / "python3").symlink_to(sys.executable)


def built(text: str, folder: Path) -> Image:
    context = folder / "context"
    context.mkdir()
    (context / "a.txt").write_text("a", encoding="utf-8")
    (folder / "image").mkdir()
    return Small(text, context, folder / "image")


def test_the_steps_are_carried_out_in_a_folder(tmp_path: Path) -> None:
    writes = "import os; os.chdir(os.environ['OUT']); open('b.txt', 'w').write('a' * 2)"
    image = built(
        "FROM scratch AS build\nENV OUT=/out PATH=/out/bin:$PATH\nWORKDIR /out\nWORKDIR /work\n"
        f'COPY a.txt ./\nRUN test -f a.txt && python3 -c "{writes}"\n'
        "FROM scratch\nCOPY --from=build /out /srv/out\nUSER 10001:10001\nSTOPSIGNAL SIGINT\n"
        'HEALTHCHECK CMD ["true"]\nENTRYPOINT ["python3"]\nCMD ["-V"]\n',
        tmp_path,
    )

    assert image.place("/srv/out/b.txt").read_text(encoding="utf-8") == "aa"
    assert not image.place("/work").exists()
    assert (image.entrypoint, image.command, image.health) == (["python3"], ["-V"], ["true"])
    assert (image.stop_signal, image.workdir, image.environment) == ("SIGINT", "/", {})
    assert image.environ({"X": "/y", "Z": "1"})["X"] == str(image.place("/y"))
    before = image.files()
    image.place("/srv/out/b.txt").write_text("changed", encoding="utf-8")
    assert image.files() != before
    if os.getuid() != 0:
        assert image.user == {}


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ("FROM debian:12", "there is nothing to use instead of the image debian:12"),
        ("FROM scratch\nRUN exit 3", "line 2: RUN ended with 3"),
        ("FROM scratch\nRUN echo x > /etc/x", "line 2: RUN has an absolute path"),
        ("FROM scratch\nCOPY b.txt ./", "line 2: COPY finds no b.txt"),
        ("FROM scratch\nCOPY a.txt ./\nRUN chmod o-r a.txt", "only the owner may read a.txt"),
    ],
    ids=["base", "exit code", "path", "copy", "permissions"],
)
def test_a_step_that_fails_is_named(steps: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(Failure, match=re.escape(problem)):
        built(steps, tmp_path)


def test_the_context_is_that_of_git(tmp_path: Path) -> None:
    copied_context(ROOT, ["*", "!LICENSE"], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["LICENSE"]


def test_instructions_keep_their_exec_forms() -> None:
    assert exec_form('["a", 1]') is None
    assert exec_form("a b") is None
    [step] = instructions_of("RUN a 'b c'")
    assert step.words == ["a", "b c"]
    assert json.loads('["a"]') == exec_form('["a"]')
