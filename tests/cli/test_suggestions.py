import importlib
import runpy
import subprocess
import sys

import click
import pytest
from command import Call, Result, assert_complaint
from harness import ACTIVITY_ID

from thrive_learning._version import __version__
from thrive_learning.cli.suggestions import Group, nearest, placement

KEY = "config", "set"


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("activty",), "thrive activity"),
        (("ACTIVITY",), "thrive activity"),
        (("act",), "thrive activity"),
        (("chekc",), "thrive check"),
        (("region",), "thrive regions"),
        (("activity", "git", ACTIVITY_ID), "thrive activity get"),
        (("activity", "exprot"), "thrive activity export"),
        (("config", "sett", "region", "staging"), "thrive config set"),
        (("get", ACTIVITY_ID), "thrive activity get"),
        (("export",), "thrive activity export"),
        (("set", "region"), "thrive config set"),
        (("help",), "thrive --help"),
        (("version",), "thrive --version"),
        (("config", "help"), "thrive config --help"),
    ],
)
def test_a_misspelled_command_gets_a_suggestion(call: Call, arguments: tuple[str, ...], meant: str) -> None:
    result = call(*arguments)
    assert_complaint(result, 2)
    assert f". Did you mean {meant!r}?\n" in result.err


@pytest.mark.parametrize("name", ["zzz", "x", "", "\x1b[31m\nb", "a" * 100_000, "é", "-"])
def test_a_command_that_is_like_none_gets_no_suggestion(call: Call, name: str) -> None:
    result = call(name)
    assert_complaint(result, 2)
    assert "Did you mean" not in result.err
    assert len(result.err) < 500


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("activity", "get", ACTIVITY_ID, "--regoin", "staging"), "--region"),
        (("activity", "get", ACTIVITY_ID, "--region", "stagin"), "staging"),
        (("activity", "get", ACTIVITY_ID, "--region", "production_mea"), "production-mea"),
        (("activity", "get", ACTIVITY_ID, "-o", "tabel"), "table"),
        (("activity", "export", "-", "-o", "-", "--from", "cvs"), "csv"),
        (("token", "--service", "webhook"), "webhooks"),
        (("token", "--scope", "api/raed"), "api/read"),
        (("completion", "fsh"), "fish"),
        (("sandbox", "--fault", "slwo:2s"), "slow"),
        (("sandbox", "--fault", "thrott1e"), "throttle"),
        (("config", "set", "regoin", "staging"), "region"),
        (("config", "get", "tenantid"), "tenant_id"),
    ],
)
def test_a_misspelled_name_gets_a_suggestion(call: Call, arguments: tuple[str, ...], meant: str) -> None:
    result = call(*arguments)
    assert_complaint(result, 2)
    assert f"id you mean {meant!r}?" in result.err


def test_the_nearest_name() -> None:
    assert nearest("b", ["bash"]) is None
    assert nearest("ba", ["bash"]) == "bash"
    assert nearest("ZHS", ["bash", "zsh"]) == "zsh"
    assert nearest("anything", []) is None


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        (("--region", "staging", "activity", "get", ACTIVITY_ID), "thrive activity get --region ..."),
        (("--region=staging", "activity", "get", ACTIVITY_ID), "thrive activity get --region ..."),
        (("activity", "--region", "staging", "get", ACTIVITY_ID), "thrive activity get --region ..."),
        (("--sandbox", "check"), "thrive check --sandbox ..."),
        (("-v", "token"), "thrive token -v ..."),
        (("-o", "json", "activity", "get", ACTIVITY_ID), "thrive activity get -o ..."),
        (("--resume", "activity", "export", "ids.txt"), "thrive activity export --resume ..."),
        (("config", "--profile", "work", "set", "region", "staging"), "thrive config set --profile ..."),
        (
            ("--timeout", "5", "activity", "get", ACTIVITY_ID, "--sandbox"),
            "thrive activity get --timeout ...",
        ),
        (("activity", "get", ACTIVITY_ID, "--version"), "thrive --version"),
        (("config", "set", "region", "staging", "--version"), "thrive --version"),
    ],
)
def test_a_misplaced_option_gets_its_right_position(
    call: Call, arguments: tuple[str, ...], place: str
) -> None:
    result = call(*arguments)
    assert_complaint(result, 2)
    assert "is an option of 'thrive" in result.err
    assert f"there: {place}\n" in result.err


def test_an_option_without_a_command_gets_the_commands_that_accept_it(call: Call) -> None:
    result = call("--sandbox")
    assert_complaint(result, 2)
    assert (
        "'--sandbox' is an option of 'thrive check', 'thrive token', 'thrive activity export'" in result.err
    )
    assert call("activity", "--resume").err.startswith(
        "thrive: error: '--resume' is an option of 'thrive activity export'. "
        "Write it after the command: thrive activity export --resume ..."
    )


def test_an_option_that_most_commands_take_is_not_listed_for_all() -> None:
    option = click.Option(["--all"])
    group = Group("g", commands=[click.Command(name, params=[option]) for name in "abcde"])
    with pytest.raises(click.NoSuchOption) as caught:
        group.make_context("g", ["--all"])
    assert placement(caught.value, []) == (
        "'--all' is an option of 'g a', 'g b', 'g c', 'g d' and others. "
        "Write it after the command: g a --all ..."
    )


def test_an_option_that_no_command_has_is_not_placed(call: Call) -> None:
    for arguments in (("--nonsense",), ("regions", "--nonsense"), ("activity", "--nonsense", "get")):
        result = call(*arguments)
        assert_complaint(result, 2)
        assert "No such option" in result.err
    assert placement(click.NoSuchOption("--x"), []) is None


def test_a_group_whose_command_is_not_there_has_no_options_of_it() -> None:
    class Broken(Group):
        def list_commands(self, ctx: click.Context) -> list[str]:
            return [*super().list_commands(ctx), "gone"]

    group = Broken("g", commands=[click.Command("a")])
    with pytest.raises(click.NoSuchOption) as caught:
        group.make_context("g", ["--all"])
    assert placement(caught.value, []) is None


# python3 -m thrive_learning


def module(*arguments: str) -> Result:
    command = [sys.executable, "-m", "thrive_learning", *arguments]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    return Result(done.returncode, done.stdout, done.stderr)


def test_the_package_runs_as_the_command() -> None:
    assert module("--version") == (0, f"python3 -m thrive_learning {__version__}\n", "")
    assert module("activity", "get", ACTIVITY_ID, "--sandbox", "-o", "json").code == 0
    wrong = module("activty")
    assert_complaint(wrong, 2)
    assert "Did you mean 'python3 -m thrive_learning activity'?" in wrong.err
    assert "\nTry 'python3 -m thrive_learning --help'.\n" in wrong.err


def test_importing_it_runs_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    imported = importlib.import_module("thrive_learning.__main__")
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys, "argv", ["thrive", "--version"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(imported.__file__), run_name="__main__")
    assert end.value.code == 0


@pytest.mark.parametrize("words", [("activity", "get"), ("check",), ("config", "set")], ids=" ".join)
def test_an_option_without_its_value_leads_to_the_help_of_its_command(
    call: Call, words: tuple[str, ...]
) -> None:
    result = call(*words, "--profile")
    assert_complaint(result, 2)
    assert f"\nTry 'thrive {' '.join(words)} --help'.\n" in result.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--regoin", "staging", "activity", "get"), "Did you mean 'thrive activity get --region'?"),
        (("activity", "--regoin", "staging"), "--region'?"),
        (("--xyzzy", "check"), "No such option '--xyzzy'."),
    ],
)
def test_an_option_that_is_misspelled_and_misplaced(
    call: Call, arguments: tuple[str, ...], said: str
) -> None:
    result = call(*arguments)
    assert_complaint(result, 2)
    assert said in result.err
