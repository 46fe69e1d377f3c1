import io
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import click
import filelock
import pytest
import tomlkit
from command import Call, assert_complaint
from hypothesis import given
from hypothesis import strategies as st

from thrive_learning import ConfigurationError
from thrive_learning._settings.profiles import load_profiles, parsed
from thrive_learning.cli.commands import config_editing
from thrive_learning.cli.commands.config_editing import with_changes, write_private


@pytest.fixture
def path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "config"))
    return tmp_path / "config" / "thrive-learning" / "config.toml"


def say(monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content.encode()), encoding="latin-1"))


def test_the_first_setting_makes_the_file_for_its_owner_alone(call: Call, path: Path) -> None:
    assert call("config", "path") == (0, f"{path}\n", "")
    code, out, err = call("config", "set", "region", "staging")
    assert (code, out, err) == (0, "", f"thrive: set region in profile 'default' of {path}\n")
    assert path.read_text() == '[default]\nregion = "staging"\n'
    if os.name != "nt":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {*path.parent.iterdir()} == {path, lock_of(path)}


def lock_of(path: Path) -> Path:
    return path.with_name(".config.toml.lock")


def test_comments_and_order_stay_and_the_mode_becomes_private(call: Call, path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(
        '# mine\n\n[default]  # yes\nregion = "staging" # here\n\n[work]\nregion = "production"\n'
    )
    path.chmod(0o644)
    assert call("config", "set", "tenant-id", "t").code == 0
    assert call("config", "set", "region", "staging-mea", "--profile", "work").code == 0
    assert path.read_text() == (
        '# mine\n\n[default]  # yes\nregion = "staging" # here\ntenant_id = "t"\n\n'
        '[work]\nregion = "staging-mea"\n'
    )
    assert load_profiles(path).is_private


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_a_link_stays_one(call: Call, path: Path, tmp_path: Path) -> None:
    path.parent.mkdir(parents=True)
    (tmp_path / "dotfiles.toml").write_text("[default]\n")
    path.symlink_to(tmp_path / "dotfiles.toml")
    assert call("config", "set", "region", "staging").code == 0
    assert path.is_symlink()
    assert "staging" in (tmp_path / "dotfiles.toml").read_text()


def test_the_profile_is_the_options_or_the_variables(
    call: Call, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THRIVE_PROFILE", "work")
    call("config", "set", "region", "staging")
    call("config", "set", "region", "production", "--profile", "at home")
    assert load_profiles(path).tables == {"work": {"region": "staging"}, "at home": {"region": "production"}}
    assert call("config", "get", "region").out == "staging\n"
    assert call("config", "get", "region", "--profile", "at home").out == "production\n"


def test_a_secret_is_rejected_as_an_argument(call: Call, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = call("config", "set", "client_secret", "canary")
    assert_complaint(result, 2)
    assert "canary" not in result.err
    assert not path.exists()
    say(monkeypatch, "canary secret\r\n")
    code, out, err = call("config", "set", "client_secret")
    assert (code, out) == (0, "")
    assert "canary" not in err
    assert load_profiles(path).tables["default"] == {"client_secret": "canary secret"}
    assert call("config", "get", "client_secret").out == "**********\n"
    assert call("config", "get", "client_secret", "--reveal").out == "canary secret\n"
    assert "canary" not in call("config", "list").out + call("config", "list", "-o", "table").out
    say(monkeypatch, " canary\n")
    result = call("config", "set", "client_secret")
    assert_complaint(result, 2)
    assert "client_secret: the secret begins with white space. Remove it" in result.err
    assert "canary" not in result.err


def test_a_terminal_is_asked_for_a_secret(call: Call, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def prompt(*arguments: object, **options: object) -> str:
        asked.append((arguments, options))
        return "fake"

    monkeypatch.setattr(click, "prompt", prompt)
    say(monkeypatch, "")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    assert call("config", "set", "api_secret").code == 0
    assert asked == [(("api_secret",), {"hide_input": True, "err": True})]
    assert load_profiles(path).tables["default"] == {"api_secret": "fake"}


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("regio", "staging", "unknown profile key 'regio' (did you mean 'region'?)"),
        ("xyzzy", "x", "unknown profile key 'xyzzy'. The keys are region, api_url"),
        ("region", "mars", "or set api_url, token_url, webhooks_token_url first for a custom region"),
        ("region", "stagin", "Did you mean 'staging'? Choose one of production, staging"),
        ("tenant_id", "a:b", "tenant_id is 'a:b'"),
        ("client_id", " ", "the value of client_id is empty"),
        ("client_auth", "digest", "client_auth is 'digest'"),
        ("engine", "auto", "engine is 'auto'. Choose 'httpx' or 'fast'."),
        ("rate_limit", "fast", "The rate limit 'fast' is not valid. Write requests per second, such as 20"),
        ("engin", "fast", "unknown profile key 'engin' (did you mean 'engine'?)"),
        (
            "client_secret_command",
            " ",
            "the value of client_secret_command is empty. Use 'thrive config unset client_secret_command'",
        ),
        ("scopes", "api/read api/nothing", "'api/nothing' is not a scope"),
        ("api_url", "http://a.example", "plain HTTP"),
        ("token_url", "https://a.example", "{tenant_id}"),
        (
            "client_secret_file",
            "/no/such/file",
            "the secret file '/no/such/file' cannot be read: No such file",
        ),
        (
            "client_secret_file",
            "~no-such-user/x",
            "client_secret_file: '~no-such-user/x' begins with ~no-such",
        ),
        ("client_secret_command", "'", "the command has no closing quotation mark '. Add it"),
    ],
)
def test_an_invalid_value_is_not_written(call: Call, path: Path, key: str, value: str, said: str) -> None:
    result = call("config", "set", key, value)
    assert_complaint(result, 2)
    assert said in result.err
    assert not path.parent.exists()


def test_values_of_every_kind(
    call: Call, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("fake\n")
    monkeypatch.chdir(tmp_path)
    values = {
        "api_url": "https://a.example/rest/v1",
        "token_url": "https://a.example/{tenant_id}",
        "webhooks_token_url": "https://a.example/webhooks/{tenant_id}",
        "region": "gateway",
        "tenant_id": "t",
        "client_id": "c",
        "client_auth": "post",
        "scopes": "api/read, api/write",
        "client_secret_command": "pass show thrive",
        "api_secret_file": "secret",
        "engine": "fast",
        "rate_limit": "20:5",
    }
    for key, value in values.items():
        assert call("config", "set", key, value).err.startswith(f"thrive: set {key} in profile")
    written = load_profiles(path).tables["default"]
    assert written == values | {"api_secret_file": str(tmp_path / "secret")}


def test_a_value_is_needed(call: Call) -> None:
    assert_complaint(call("config", "set", "region"), 2)
    assert "Missing argument 'VALUE'" in call("config", "set", "region").err


def test_unset(call: Call, path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(
        '[default]\nregion = "staging"\ntenant_id = "t"\nregoin = "x"\n[work]\nregion = "staging"\n'
    )
    code, out, err = call("config", "unset", "region", "regoin")  # misspelled keys can be removed as well
    assert (code, out) == (0, "")
    assert err == f"thrive: removed region, regoin from profile 'default' of {path}\n"
    assert load_profiles(path).tables["default"] == {"tenant_id": "t"}
    result = call("config", "unset", "region", "tenant-id")
    assert_complaint(result, 2)
    assert f"profile 'default' of {path} has no region" in result.err
    assert call("config", "unset", "tenant-id").code == 0
    assert [*load_profiles(path).tables] == ["work"]
    assert_complaint(call("config", "unset", "region"), 2)


def test_get(call: Call, path: Path) -> None:
    assert_complaint(call("config", "get", "region"), 2)
    path.parent.mkdir(parents=True)
    path.write_text('[default]\nclient_secret_command = ["pass", "show", "a b"]\n')
    assert call("config", "get", "client-secret-command").out == "pass show 'a b'\n"
    assert f"profile 'default' of {path} has no region" in call("config", "get", "region").err
    assert "did you mean 'region'" in call("config", "get", "regio").err


def test_list(call: Call, terminal: Call, path: Path) -> None:
    assert call("config", "list") == (0, "{}\n", "")
    code, out, err = terminal("config", "list")
    assert (code, out, err) == (0, "", f"thrive: no profiles: {path} does not exist\n")
    path.parent.mkdir(parents=True)
    path.write_text("")
    assert terminal("config", "list").err == f"thrive: no profiles: {path} is empty\n"
    path.write_text(
        '[default]\nregion = "staging"\n[work]\nscopes = ["api/read", "api/write"]\napi_secret = "x"\n'
    )
    assert json.loads(call("config", "list", "-o", "json").out) == {
        "default": {"region": "staging"},
        "work": {"scopes": ["api/read", "api/write"], "api_secret": "**********"},
    }
    assert terminal("config", "list").out == (
        "PROFILE  KEY         VALUE\n"
        "default  region      staging\n"
        "work     scopes      api/read api/write\n"
        "work     api_secret  **********\n"
    )


def test_a_broken_file_is_named_with_its_line_and_left_alone(call: Call, path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_text("[default]\nregion = staging\n")
    say_nothing = ("config", "set", "tenant_id", "t")
    for arguments in (("config", "list"), ("config", "get", "region"), say_nothing, ("check",)):
        result = call(*arguments)
        assert_complaint(result, 2)
        assert f"{path}:2: this is not TOML" in result.err
    assert path.read_text() == "[default]\nregion = staging\n"


def test_other_kinds_of_files_are_not_replaced(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    device = tmp_path / "device"
    if os.name != "nt":
        device.symlink_to(os.devnull)
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.delattr(config_editing, "_locked")  # and no lock is created beside it
    for name in (os.devnull, str(folder), *([str(device)] if os.name != "nt" else [])):
        monkeypatch.setenv("THRIVE_CONFIG_FILE", name)
        result = call("config", "set", "region", "staging")
        assert_complaint(result, 2)
        assert "is not a regular file. " in result.err
    assert Path(os.devnull).is_char_device() or os.name == "nt"


def test_a_write_that_fails_leaves_the_old_file(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path.parent.mkdir(parents=True)
    write_private(path, "old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigurationError, match=r"cannot write .*: No space left on device") as caught:
        write_private(path, "canary")
    assert "canary" not in str(caught.traceback[-1].frame.f_locals)
    assert path.read_text() == "old"
    assert [*path.parent.iterdir()] == [path]
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot write"):
        write_private(tmp_path / "file" / "config.toml", "x")


def test_without_a_home_there_is_no_place(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thrive_learning.cli.commands.config.config_file", lambda: None)
    result = call("config", "path")
    assert_complaint(result, 2)
    assert "Set THRIVE_CONFIG_FILE to a path" in result.err


keys = st.sampled_from(["region", "tenant_id", "scopes"])


@given(
    st.lists(
        st.tuples(st.sampled_from(["default", "at work", "é"]), keys, st.none() | st.text(max_size=5)),
        max_size=8,
    )
)
def test_whatever_is_changed_can_be_read_again(changes: list[tuple[str, str, str | None]]) -> None:
    text, expected = "# first\n", dict[str, dict[str, str]]()
    for profile, key, value in changes:
        if value is not None and value >= "\x00" and any("\ud800" <= c <= "\udfff" for c in value):
            continue
        text = with_changes(text, profile, {key: value})
        table = expected.setdefault(profile, {})
        if value is None:
            table.pop(key, None)
        else:
            table[key] = value
        if not table:
            del expected[profile]
    assert parsed(text) == expected
    assert text.startswith("# first\n")
    assert tomlkit.parse(text).unwrap() == expected


def test_without_tomlkit_it_says_what_to_install(
    call: Call, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tomlkit", None)
    result = call("config", "set", "region", "staging")
    assert_complaint(result, 2)
    assert result.err == (
        "thrive: error: this command needs the extra 'cli' (tomlkit is not installed). Install it with: "
        "python3 -m pip install 'thrive-learning[cli]'\n"
    )
    assert not path.exists()


@pytest.mark.parametrize("content", ["sé\n".encode(), b"\xef\xbb\xbf" + "sé".encode(), "sé\r\n".encode()])
@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "cp1252"},
        {"PYTHONIOENCODING": "utf-16"},
    ],
    ids=str,
)
def test_a_secret_from_stdin_is_utf8_whatever_the_locale(
    path: Path, environment: dict[str, str], content: bytes
) -> None:
    """The same holds when the secret is shown."""
    script = "from thrive_learning.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, "config", "set", "api_secret"],
        input=content,
        capture_output=True,
        env=os.environ | environment,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, b"")
    assert load_profiles(path).tables["default"] == {"api_secret": "sé"}
    shown = subprocess.run(
        [sys.executable, "-c", script, "config", "get", "api_secret", "--reveal"],
        capture_output=True,
        env=os.environ | environment,
        check=True,
    )
    assert shown.stdout == "sé\n".encode()


@pytest.mark.skipif(os.name == "nt", reason="the system's encoding is UTF-8 there")
def test_values_are_utf8_whatever_the_locale(path: Path, tmp_path: Path) -> None:
    secret = tmp_path / "sécret"
    secret.write_text("fake")
    secret.chmod(0o600)
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

    def run(*arguments: str) -> str:
        script = "from thrive_learning.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments, "--profile", "prüf"],
            capture_output=True,
            env=os.environ | ascii_only,
            check=True,
        )
        return done.stdout.decode()

    for key, value in {"tenant_id": "té", "api_secret_file": str(secret)}.items():
        run("config", "set", key, value)
        assert run("config", "get", key) == f"{value}\n"
    assert load_profiles(path).tables == {"prüf": {"tenant_id": "té", "api_secret_file": str(secret)}}
    run("config", "unset", "api_secret_file")
    run("config", "set", "api_secret_command", f"cat '{secret}'")
    script = (
        "from thrive_learning._settings.resolution import settings; "
        "print(settings(profile='pr\\xfcf').credentials.api_secret.reveal())"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, env=os.environ | ascii_only, check=True)
    assert done.stdout == b"fake\n"


def test_a_terminal_gets_what_it_can_show(terminal: Call, path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_text('[default]\ntenant_id = "t\u20ac"\n', encoding="utf-8")
    assert terminal("config", "get", "tenant_id").out == "t\u20ac\n"


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("sé".encode("utf-16"), b"api_secret: the secret is UTF-16. Save it as UTF-8"),
        ("sé".encode("latin-1"), b"api_secret: the secret is not UTF-8. Save it as UTF-8"),
        (b"", b"api_secret: the secret is empty. Set it"),
    ],
)
def test_a_secret_from_stdin_that_is_not_utf8_is_not_stored(path: Path, content: bytes, cause: bytes) -> None:
    script = "from thrive_learning.cli import main; main()"
    command = [sys.executable, "-c", script, "config", "set", "api_secret"]
    done = subprocess.run(command, input=content, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, b"", b"thrive: error: " + cause + b"\n")
    assert not path.exists()


def test_changes_of_many_processes_are_all_in_the_file(path: Path) -> None:
    patience = "from thrive_learning.cli.commands import config_editing; config_editing.LOCK_LIMIT_S = 60"
    script = f"{patience}; from thrive_learning.cli import main; main()"
    processes = [
        subprocess.Popen(
            [
                *(sys.executable, "-c", script, "config", "set", "tenant_id", f"t{number}"),
                *("--profile", f"p{number}"),
            ],
            stderr=subprocess.PIPE,
        )
        for number in range(12)
    ]
    assert [process.communicate()[1][:10] for process in processes] == [b"thrive: se"] * 12
    assert load_profiles(path).tables == {f"p{number}": {"tenant_id": f"t{number}"} for number in range(12)}
    assert {*path.parent.iterdir()} == {path, lock_of(path)}


def test_a_lock_that_another_process_keeps_is_an_error(
    call: Call, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config_editing, "LOCK_LIMIT_S", 0.01)
    path.parent.mkdir(parents=True)
    with filelock.FileLock(lock_of(path)):
        result = call("config", "set", "region", "staging")
    assert_complaint(result, 2)
    assert f"another process has locked {path} for 0.01 s. Try again" in result.err
    assert not path.exists()


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_a_lock_that_was_planted_as_a_link_is_not_followed(call: Call, path: Path, tmp_path: Path) -> None:
    path.parent.mkdir(parents=True)
    (tmp_path / "victim").write_text("precious")
    lock_of(path).symlink_to(tmp_path / "victim")
    result = call("config", "set", "region", "staging")
    assert_complaint(result, 2)
    assert f"cannot write {path}: Too many levels of symbolic links" in result.err
    assert (tmp_path / "victim").read_text() == "precious"
    assert not path.exists()


def test_a_real_process_finds_what_another_one_wrote(path: Path) -> None:
    def run(*arguments: str) -> str:
        script = "from thrive_learning.cli import main; main()"
        command = [sys.executable, "-c", script, *arguments]
        done = subprocess.run(command, capture_output=True, check=True, text=True)
        return done.stdout

    run("config", "set", "region", "staging")
    assert run("config", "path") == f"{path}\n"
    assert run("config", "get", "region") == "staging\n"
