import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Call

from thrive_learning._settings.layers import VARIABLES
from thrive_learning._version import __version__
from thrive_learning.cli.commands.completion import COMPLETION_VARIABLE
from thrive_learning.credentials import Scope
from thrive_learning.sandbox.faults import KINDS

SHELLS = ["bash", "zsh", "fish"]
Complete = Callable[..., list[str]]
REGIONS = ["production", "staging", "production-mea", "staging-mea"]


@pytest.fixture
def complete(call: Call, monkeypatch: pytest.MonkeyPatch) -> Complete:
    """Request completions as bash does, and return them with their types."""

    def run(*words: str) -> list[str]:
        with monkeypatch.context() as patch:
            patch.setenv(COMPLETION_VARIABLE, "bash_complete")
            patch.setenv("COMP_WORDS", " ".join(["thrive", *words]))
            patch.setenv("COMP_CWORD", str(len(words)))
            code, out, err = call()
        assert (code, err) == (0, "")
        return [line for line in out.splitlines() if line]

    return run


def plain(*values: str) -> list[str]:
    return [f"plain,{value}" for value in values]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_begins_with_its_header(call: Call, shell: str) -> None:
    code, out, err = call("completion", shell)
    assert (code, err) == (0, "")
    header = f"# Tab completion of thrive {__version__} for {shell}, from `thrive completion {shell}`."
    lines = out.splitlines()
    assert lines[:3] == (["#compdef thrive", header, ""] if shell == "zsh" else [header, "", lines[2]])
    assert out.count("#compdef") == (shell == "zsh")
    assert f"{COMPLETION_VARIABLE}={shell}_complete" in out


def test_a_script_needs_no_shell(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for shell in SHELLS:
        code, out, err = call("completion", shell)
        assert (code, bool(out), err) == (0, True, "")


@pytest.mark.parametrize("command", ["get", "set", "unset"])
def test_keys_are_completed(complete: Complete, command: str) -> None:
    assert complete("config", command, "") == plain(*VARIABLES)
    assert complete("config", command, "re") == plain("region")
    assert complete("config", command, "client-s") == plain(
        "client_secret", "client_secret_file", "client_secret_command"
    )
    assert complete("config", command, "x") == []


def test_a_key_is_not_offered_twice(complete: Complete) -> None:
    assert complete("config", "unset", "region", "re") == []


def test_values_are_completed(complete: Complete) -> None:
    assert complete("config", "set", "region", "") == plain(*REGIONS)
    assert complete("config", "set", "region", "staging-") == plain("staging-mea")
    assert complete("config", "set", "scopes", "") == plain(*map(str, Scope))
    assert complete("config", "set", "client-auth", "") == plain("auto", "basic", "post")
    assert complete("config", "set", "engine", "f") == plain("fast")
    assert complete("config", "set", "api_secret_file", "./a") == ["file,./a"]
    assert complete("config", "set", "tenant_id", "") == []


def test_regions_profiles_faults_and_files_are_completed(
    complete: Complete, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config.toml").write_text("[default]\n[work]\n[home]\n")
    monkeypatch.setenv("THRIVE_CONFIG_FILE", str(tmp_path / "config.toml"))
    assert complete("check", "--region", "") == plain(*REGIONS)
    assert complete("check", "--profile", "") == plain("default", "work", "home")
    assert complete("config", "list", "-o", "") == plain("table", "json")
    names = ["429", "500", "503", *(name for name in KINDS if name.isascii())]
    assert complete("sandbox", "--fault", "") == plain(*names)
    assert complete("sandbox", "--fault", "s") == plain("slow")
    assert complete("sandbox", "--records", "x") == ["file,x"]
    assert complete("activity", "export", "x") == ["file,x"]
    assert complete("activity", "export", "ids.txt", "-o", "x") == ["file,x"]


def test_a_broken_file_of_profiles_completes_to_nothing(
    complete: Complete, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config.toml").write_text("[default\n")
    monkeypatch.setenv("THRIVE_CONFIG_FILE", str(tmp_path / "config.toml"))
    assert complete("check", "--profile", "") == []


@pytest.mark.parametrize("instruction", ["bash_complete", "fish_complete", "zsh_complete", "x", "x_y"])
def test_an_invalid_request_prints_nothing(
    call: Call, monkeypatch: pytest.MonkeyPatch, instruction: str
) -> None:
    monkeypatch.delenv("COMP_WORDS", raising=False)
    monkeypatch.setenv(COMPLETION_VARIABLE, instruction)
    assert call() == (1, "", "")
    if instruction.endswith("_complete"):
        monkeypatch.setenv("THRIVE_DEBUG", "1")
        with pytest.raises(KeyError):
            call()


# In the shells themselves


def executable_of(shell: str) -> str:
    executable = shutil.which(shell)
    if executable is None:
        pytest.skip(f"NO {shell.upper()}: its completion is not checked. Install {shell}.")
    return executable


def in_shell(shell: str, script: str, tmp_path: Path) -> str:
    (tmp_path / "thrive").write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -m thrive_learning "$@"\n', encoding="utf-8"
    )
    (tmp_path / "thrive").chmod(0o755)
    options = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    done = subprocess.run(
        [executable_of(shell), *options, "-c", script],
        capture_output=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path)},
        text=True,
    )
    assert done.stderr == ""
    return done.stdout


def test_bash_completes(tmp_path: Path) -> None:
    script = """
eval "$(thrive completion bash)"
complete -p thrive
COMP_WORDS=(thrive config set re) COMP_CWORD=3
_thrive_completion thrive
echo "${COMPREPLY[@]}"
"""
    assert in_shell("bash", script, tmp_path).splitlines() == [
        "complete -o nosort -F _thrive_completion thrive",
        "region",
    ]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_finds_no_mistake_in_its_script(call: Call, shell: str) -> None:
    script = call("completion", shell).out
    command = [executable_of(shell), "-n"]
    done = subprocess.run(command, check=False, input=script, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_zsh_takes_the_script_from_fpath(tmp_path: Path) -> None:
    script = """
mkdir functions; thrive completion zsh > functions/_thrive
fpath=($PWD/functions $fpath); autoload -Uz compinit; compinit -u -D
print $_comps[thrive]
eval "$(thrive completion zsh)"
print $_comps[thrive]
"""
    assert in_shell("zsh", script, tmp_path).splitlines() == ["_thrive", "_thrive_completion"]


def test_fish_completes_and_shows_whole_descriptions(tmp_path: Path) -> None:
    script = """
thrive completion fish | source
complete -C"thrive config set re"
complete -C"thrive sandbox --fault sl"
"""
    assert in_shell("fish", script, tmp_path).splitlines() == [
        "region\tTHRIVE_REGION",
        "slow\tthe normal response, delayed",
    ]
