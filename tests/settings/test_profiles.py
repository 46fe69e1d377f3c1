import errno
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from platformdirs.macos import MacOS
from platformdirs.unix import Unix
from platformdirs.windows import Windows

from thrive_learning import ConfigurationError
from thrive_learning._home import cache_folder, config_folder, home_folder
from thrive_learning._settings.profiles import ProfileFile, config_file, lines_of, load_profiles

FILE = """\
# mine
[default]
region = "staging"   # for now
tenant_id = "t"
scopes = [
  "api/read",
  "api/write",
]
client_id = "c"

["at work"]
client_secret_command = '''
pass show
thrive'''
api_url = "https://a"
"""


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "config.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("platform", "reference", "variables"),
    [
        ("linux", Unix, {}),
        ("linux", Unix, {"XDG_CONFIG_HOME": "/elsewhere", "XDG_CACHE_HOME": "/cache"}),
        ("linux", Unix, {"XDG_CONFIG_HOME": "relative"}),
        ("freebsd14", Unix, {}),
        ("darwin", MacOS, {}),
        ("darwin", MacOS, {"XDG_CONFIG_HOME": "/elsewhere"}),
        ("win32", Windows, {"LOCALAPPDATA": "C:\\Users\\u\\AppData\\Local"}),
    ],
)
def test_the_folder_is_the_platforms(
    monkeypatch: pytest.MonkeyPatch, platform: str, reference: Any, variables: dict[str, str]
) -> None:
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if platform == "win32":
        local = Path(variables["LOCALAPPDATA"])
        assert config_folder(os.environ, platform) == local / "thrive-learning"
        assert cache_folder(os.environ, platform) == local / "thrive-learning" / "Cache"
        if sys.platform != "win32":
            return  # there, platformdirs asks the system
    expected = reference("thrive-learning", appauthor=False)
    assert config_folder(os.environ, platform) == expected.user_config_path
    assert cache_folder(os.environ, platform) == expected.user_cache_path


def test_windows_without_its_variable() -> None:
    assert config_folder({"USERPROFILE": "C:/u"}, "win32") == Path("C:/u/AppData/Local/thrive-learning")
    assert config_folder({}, "win32") is None


@pytest.mark.skipif(os.name == "nt", reason="no such database there")
@pytest.mark.parametrize("home", [{}, {"HOME": ""}, {"HOME": "relative"}], ids=str)
def test_the_home_folder_without_its_variable(monkeypatch: pytest.MonkeyPatch, home: dict[str, str]) -> None:
    import pwd  # noqa: PLC0415 - not on Windows

    assert home_folder({"HOME": "/h"}, "linux") == Path("/h")
    assert home_folder(home, "linux") == Path(pwd.getpwuid(os.getuid()).pw_dir)
    assert home_folder({"HOME": "/h"} | home, "linux") != Path("/")
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)  # without a name, as in a container
    assert home_folder(home, "linux") is None
    assert config_folder(home, "linux") is None
    absolute = home | {"XDG_CONFIG_HOME": "/c", "XDG_CACHE_HOME": "/d"}
    assert config_folder(absolute, "linux") == Path("/c/thrive-learning")
    assert cache_folder(absolute, "linux") == Path("/d/thrive-learning")


def test_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert config_file() == tmp_path / "thrive-learning" / "config.toml"
    monkeypatch.setenv("THRIVE_CONFIG_FILE", "~/mine.toml")
    assert config_file() == Path.home() / "mine.toml"


def test_without_a_home_there_is_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "USERPROFILE", "XDG_CONFIG_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)
    assert config_file() is None
    assert load_profiles(None).lack_of("x") == (
        "cannot find profile 'x', because the home folder of the config file is unknown"
    )
    monkeypatch.setenv("THRIVE_CONFIG_FILE", "~/mine.toml")
    with pytest.raises(ConfigurationError, match=r"^THRIVE_CONFIG_FILE: '~/mine\.toml' begins") as caught:
        config_file()
    assert caught.value.__context__ is None


def test_the_line_of_each_key(tmp_path: Path) -> None:
    path = written(tmp_path, FILE)
    file = load_profiles(path)
    assert file.tables == {
        "default": {
            "region": "staging",
            "tenant_id": "t",
            "scopes": ["api/read", "api/write"],
            "client_id": "c",
        },
        "at work": {"client_secret_command": "pass show\nthrive", "api_url": "https://a"},
    }
    assert file.lines == {
        ("default", ""): 2,
        ("default", "region"): 3,
        ("default", "tenant_id"): 4,
        ("default", "scopes"): 5,
        ("default", "client_id"): 9,
        ("at work", ""): 11,
        ("at work", "client_secret_command"): 12,
        ("at work", "api_url"): 15,
    }
    assert file.place("default", "scopes") == f"{path}:5"
    assert file.place("default", "other") == str(path)
    assert file.place("at work") == f"{path}:11"


def test_lines_of_other_ways_to_write_it() -> None:
    text = 'a.x = 1\n"b" = { x = 1, y = 2 }\na.y = 2\nc = 3\n[d.e]\nf = 1\n'
    assert lines_of(text) == {
        ("a", ""): 1,
        ("a", "x"): 1,
        ("b", ""): 2,
        ("b", "x"): 2,
        ("b", "y"): 2,
        ("a", "y"): 3,
        ("c", ""): 4,
        ("d", ""): 5,
        ("d", "f"): 6,
    }


@given(
    st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), st.text("ab\n#=[]", max_size=9), min_size=1)
)
def test_each_key_has_the_line_in_which_it_begins(values: dict[str, str]) -> None:
    text, expected = "[p]\n", {("p", ""): 1}
    for key, value in values.items():
        expected["p", key] = text.count("\n") + 1
        text += f"{key} = '''{value}'''\n"
    assert lines_of(text) == expected


def test_a_file_of_an_editor_of_windows(tmp_path: Path) -> None:
    file = load_profiles(written(tmp_path, b'\xef\xbb\xbf[default]\r\nregion = "staging"\r\n'))
    assert file.tables == {"default": {"region": "staging"}}
    assert file.lines["default", "region"] == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[default]\nregion = staging\n", r"config\.toml:2: this is not TOML: Invalid value"),
        (b"[default]\n\nregion", r"config\.toml:3: this is not TOML: "),
        (b'[default]\nregion = "a"\nregion = "b"\n', r"config\.toml:3: this is not TOML: Cannot overwrite"),
        (b"[default]\nregion = '''", r"config\.toml:2: this is not TOML: "),
        (b"[default]\nx = " + b"9" * 5000, r"config\.toml:2: this is not TOML: Exceeds the limit"),
        (b"x = " + b"[" * 100_000, r"config\.toml:1: this is nested too deeply"),
        (b'[default]\nname = "caf\xe9"\n', r"config\.toml:2: this line is not UTF-8. Save the file as UTF-8"),
        ("[default]\n".encode("utf-16"), r"config\.toml is UTF-16. Save it as UTF-8"),
        (b"#" * (1 << 20) + b"\n", r"config\.toml is larger than 1 MiB"),
        (b"[default]\n[other]\n", None),
        (b'\nregion = "staging"\n', r"config\.toml:2: 'region' is outside a profile. .* \[default\]"),
    ],
)
def test_a_broken_file_is_an_error_with_its_line(tmp_path: Path, content: bytes, said: str | None) -> None:
    path = written(tmp_path, content)
    if said is None:
        assert load_profiles(path).absence is None
        return
    with pytest.raises(ConfigurationError, match=said) as caught:
        load_profiles(path)
    assert caught.value.__context__ is None


def test_a_file_that_is_not_there_or_not_to_be_read_holds_none(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    assert load_profiles(path).lack_of("x") == f"cannot find profile 'x', because {path} does not exist"
    path.write_text("")
    assert load_profiles(path / "below").absence == f"{path / 'below'} does not exist"
    assert load_profiles(Path(os.devnull)).absence == f"{os.devnull} is empty"
    assert load_profiles(path).lack_of("x") == f"cannot find profile 'x' in {path}, which has: none"
    path.write_text("[a]\n[b]\n")
    assert load_profiles(path).lack_of("x") == f"cannot find profile 'x' in {path}, which has: a, b"
    assert load_profiles(path).lack_of("a") is None


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
def test_an_unreadable_file_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, pipe = tmp_path / "loop", tmp_path / "pipe"
    loop.symlink_to(loop)
    os.mkfifo(pipe)
    for path, problem in {
        loop: "cannot be read (Too many levels of symbolic links). Correct it, or set",
        loop / "config.toml": "cannot be read (Too many levels of symbolic links)",
        tmp_path: "is not a regular file. Set THRIVE_CONFIG_FILE to a regular file",
        pipe: "is not a regular file. Set THRIVE_CONFIG_FILE to a regular file",
        Path("a\0"): "'a\\x00' is not a valid path on this system. Set THRIVE_CONFIG_FILE to another file",
    }.items():
        with pytest.raises(ConfigurationError, match=re.escape(problem)) as caught:
            load_profiles(path)
        assert caught.value.__context__ is None

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    path = written(tmp_path, FILE)
    monkeypatch.setattr(os, "fdopen", fail)
    with pytest.raises(ConfigurationError, match=r"cannot be read \(Input/output error\)"):
        load_profiles(path)


@pytest.mark.skipif(os.name == "nt", reason="files have no such mode there")
@pytest.mark.parametrize("mode", [0o666, 0o620, 0o602, 0o777])
def test_a_file_that_others_can_change_is_not_read(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path, FILE)
    path.chmod(mode)
    with pytest.raises(ConfigurationError) as caught:
        load_profiles(path)
    assert str(caught.value) == (
        f"other users can change {path} (mode {mode:04o}), and its commands would run. "
        f"Check it, then run chmod go-w {path}"
    )


@pytest.mark.skipif(os.name == "nt", reason="files have no such mode there")
@pytest.mark.parametrize("is_linked", [False, True])
def test_a_file_that_others_can_replace_is_not_read(tmp_path: Path, is_linked: bool) -> None:  # noqa: FBT001
    folder = tmp_path / "folder"
    folder.mkdir()
    path = written(folder, FILE)
    if is_linked:
        path = tmp_path / "link.toml"
        path.symlink_to(folder / "config.toml")
    folder.chmod(0o777)
    with pytest.raises(ConfigurationError, match=rf"can replace {path}, .* chmod o-w {folder}$"):
        load_profiles(path)
    folder.chmod(0o1777)  # like /tmp, where users cannot replace files of other users
    assert load_profiles(path).absence is None


@pytest.mark.skipif(os.name == "nt", reason="files have no owners there")
@pytest.mark.parametrize("of", ["the file", "the link"])
def test_a_file_of_another_user_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: str) -> None:
    path = written(tmp_path, FILE)

    def foreign(status: os.stat_result) -> os.stat_result:
        fields = list(status)
        fields[4] = os.geteuid() + 1
        return os.stat_result(fields)

    fstat, lstat = os.fstat, Path.lstat
    if of == "the file":
        monkeypatch.setattr(os, "fstat", lambda descriptor: foreign(fstat(descriptor)))
    else:
        monkeypatch.setattr(Path, "lstat", lambda path: foreign(lstat(path)))
    with pytest.raises(ConfigurationError, match=r"belongs to another user, and its commands would run"):
        load_profiles(path)


def test_where_the_system_knows_no_owners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, FILE)
    path.chmod(0o666)
    monkeypatch.delattr(os, "geteuid")
    assert load_profiles(path).absence is None


@pytest.mark.skipif(os.name == "nt", reason="files have no such mode there")
@pytest.mark.parametrize(
    ("mode", "is_private"), [(0o600, True), (0o400, True), (0o640, False), (0o604, False)]
)
def test_readers_of_the_file(tmp_path: Path, mode: int, is_private: bool) -> None:  # noqa: FBT001
    path = written(tmp_path, FILE)
    path.chmod(mode)
    assert load_profiles(path).is_private is is_private


def test_it_shows_nothing() -> None:
    assert repr(ProfileFile(Path("x"), None, {"a": {"api_secret": "canary"}})) == "<ProfileFile x>"
