"""The text of --help fits the terminal, its examples work, and the documentation has the same text."""

import io
import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import respx
from command import OAUTH, Call
from harness import ACTIVITY_ID, REGION_HOSTS, as_regions, receive_webhook

from thrive_learning._settings.layers import VARIABLES
from thrive_learning.sandbox import Sandbox
from tools import cli_reference

COMMANDS = [*cli_reference.commands()]
PROFILES = """\
[default]
region = "staging"
tenant_id = "eu-west-2_AbcdEfghI"
client_id = "fake-client"
client_secret = "fake-client-secret"
[work]
region = "staging"
tenant_id = "t"
"""
#: The contents of the files that examples read.
FILES = {
    "ids.txt": f"{ACTIVITY_ID}\n\n665d7d88b60b4b3a2c000002\n",
    "users.csv": f"user,activity\nsomebody,{ACTIVITY_ID}\n",
    "secret.txt": "fake-secret\n",
}
#: Commands that write to their own files.
SILENT = (
    "config set",
    "config unset",
    "activity export ids.txt",
    "activity export users.csv",
    "activity export --since",
)


def examples() -> list[str]:
    # The servers, which run until they are stopped, are tested in test_sandbox.py and test_webhook.py, and
    # `config init`, which asks questions, in test_config_init.py.
    helps = [cli_reference.help_of(words) for words in COMMANDS if words != ("sandbox",)]
    found = {line for text in helps for line in re.findall(r"^    thrive (.+)$", text, re.MULTILINE)}
    return sorted(line for line in found if not line.startswith(("config init", "webhook listen")))


@pytest.fixture
def _regions() -> Iterator[None]:
    """Answer all four regions from a sandbox with the credentials of the tests."""
    sandbox = Sandbox(
        tenant_id=OAUTH["THRIVE_TENANT_ID"],
        client_id=OAUTH["THRIVE_CLIENT_ID"],
        client_secret=OAUTH["THRIVE_CLIENT_SECRET"],
    )

    with respx.mock(assert_all_called=False) as router:
        router.route(scheme="https", host__in=REGION_HOSTS).mock(side_effect=as_regions(sandbox))
        router.post("http://127.0.0.1:8000/webhooks").mock(side_effect=receive_webhook)
        yield


def test_every_command_has_examples() -> None:
    for words in COMMANDS:
        text = cli_reference.help_of(words)
        assert re.search(rf"^    thrive {' '.join(words)}", text, re.MULTILINE), words


@pytest.mark.usefixtures("_regions", "oauth")
@pytest.mark.parametrize("example", examples())
def test_an_example_works(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, example: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(PROFILES)
    monkeypatch.setenv("THRIVE_CONFIG_FILE", str(path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    (tmp_path / ".secrets").mkdir()
    (tmp_path / ".secrets" / "thrive").write_text("fake\n")
    command, piped, jq = example.partition(" | jq ")
    command, _, _target = command.partition(" > ")
    command, _, source = command.partition(" < ")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(FILES.get(source, "").encode())))
    code, out, err = call(*shlex.split(command))
    assert code == 0, err
    assert out or command.startswith(SILENT)
    if piped:
        name = shlex.split(jq)[-1].removeprefix(".[]").removeprefix(".")
        document = json.loads(out)
        assert name in (document[0] if isinstance(document, list) else document)


@pytest.mark.parametrize("columns", ["80", "160"])
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_fits(call: Call, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    code, out, err = call(*words, "--help")
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    assert call(*words, "-h").out == out


def test_the_documentation_has_the_same_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    page = cli_reference.PAGE.read_text(encoding="utf-8")
    assert page == cli_reference.with_reference(page), "run: nox -s reference"
    assert cli_reference.with_reference(page.replace("Usage: thrive", "Usage: other")) == page


def test_every_setting_is_named(call: Call) -> None:
    text = call("config", "--help").out
    for key, variable in VARIABLES.items():
        assert re.search(rf"^  {key}\s+{variable}(\s|$)", text, re.MULTILINE), key
