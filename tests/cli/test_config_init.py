import base64
import io
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import respx
from command import Call, Result
from harness import token_response

from thrive_learning._settings.profiles import ProfileFile, load_profiles
from thrive_learning.cli.commands import config_init
from thrive_learning.cli.commands.config_editing import change_profile
from thrive_learning.sandbox import FaultySandbox, Sandbox
from thrive_learning.sandbox.server import (
    API_PATH,
    TOKEN_PATH,
    WEBHOOKS_TOKEN_PATH,
    SandboxApp,
    SandboxServer,
)
from tools.cli_reference import help_of

SECRET = "canary-fake-secret"
CORE = Sandbox()
OAUTH_ANSWERS = ["", "", "eu-west-2_AbcdEfghI", "reports"]


@pytest.fixture
def path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("THRIVE_CONFIG_FILE", str(tmp_path / "config" / "config.toml"))
    return tmp_path / "config" / "config.toml"


Answer = Callable[..., Result]


@pytest.fixture
def answering(call: Call, monkeypatch: pytest.MonkeyPatch) -> Answer:
    """Run `thrive config init` on a terminal with these lines and these hidden secrets as input."""

    def run(*lines: str, secrets: tuple[str, ...] = (SECRET,), options: tuple[str, ...] = ()) -> Result:
        typed = iter(secrets)

        def hidden(_prompt: str) -> str:
            try:
                return next(typed)
            except StopIteration:
                raise EOFError from None

        monkeypatch.setattr("click.termui.hidden_prompt_func", hidden)
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        return call("config", "init", *options)

    return run


def answer(request: httpx.Request) -> httpx.Response:
    """Accept the credentials of these tests, without any records, and reject made-up ones."""
    kind, _, value = request.headers["authorization"].partition(" ")
    known = value == "fake-token" if kind == "Bearer" else SECRET in base64.b64decode(value).decode()
    status = 404 if known else 401
    return httpx.Response(status, json={"status": status, "message": "no"})


@pytest.fixture
def api() -> Iterator[respx.MockRouter]:
    with respx.mock(assert_all_called=False) as router:
        router.post(url__regex=r"/oauth2/token/").mock(return_value=token_response())
        router.get(url__regex=r"/activity/").mock(side_effect=answer)
        yield router


@pytest.fixture
def refusing() -> Iterator[respx.MockRouter]:
    with respx.mock(assert_all_called=False) as router:
        router.post(url__regex=r"/oauth2/token/").respond(401, json={"error": "invalid_client"})
        yield router


def test_it_asks_tries_and_writes(answering: Answer, path: Path, api: respx.MockRouter) -> None:
    code, out, err = answering("staging", "", "eu-west-2_AbcdEfghI", "reports")

    assert code == 0, err
    assert "Region (production, staging, production-mea, staging-mea, custom) [production]: " in err
    assert "Tenant ID: " in err
    assert f"saved profile 'default' to {path}\n" in err
    assert "ok       token" in out
    assert SECRET not in out + err
    assert load_profiles(path).tables == {
        "default": {
            "region": "staging",
            "tenant_id": "eu-west-2_AbcdEfghI",
            "client_id": "reports",
            "client_secret": SECRET,
        }
    }
    assert {call.request.url.host for call in api.calls} == {"public.api.learnstaging.link"}
    if os.name != "nt":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.usefixtures("api")
def test_the_client_id_is_the_tenant_id_unless_another_is_given(answering: Answer, path: Path) -> None:
    assert answering("", "", "t", "").code == 0
    assert load_profiles(path).tables["default"] == {
        "region": "production",
        "tenant_id": "t",
        "client_secret": SECRET,
    }


@pytest.mark.usefixtures("api", "path")
def test_the_examples_of_its_help_work(answering: Answer) -> None:
    examples = re.findall(r"^    thrive config init(.*)$", help_of(("config", "init")), re.MULTILINE)
    assert len(examples) == 2
    for example in examples:
        assert answering(*OAUTH_ANSWERS, options=tuple(example.split())).code == 0


@pytest.mark.usefixtures("api")
def test_http_basic(answering: Answer, path: Path) -> None:
    code, out, err = answering("production-mea", "basic", "t", options=("--profile", "work"))
    assert code == 0, err
    assert "Client ID" not in err
    assert load_profiles(path).tables == {
        "work": {"region": "production-mea", "tenant_id": "t", "api_secret": SECRET}
    }
    assert SECRET not in out + err


def test_a_region_of_ones_own(answering: Answer, path: Path) -> None:
    with SandboxServer(SandboxApp(FaultySandbox(CORE))) as server:
        urls = [server.url + API_PATH, server.url + TOKEN_PATH]
        code, out, err = answering(
            *("custom", "http://gateway.example/rest", *urls, "", "production", "", ""),
            *(CORE.tenant_id, CORE.client_id),
            secrets=(CORE.client_secret,),
        )
    assert code == 0, out + err
    assert "plain HTTP" in err
    assert "'production' is the name of a built-in region" in err
    written = load_profiles(path).tables["default"]
    assert [written[key] for key in ("region", "api_url", "token_url", "webhooks_token_url")] == [
        "custom",
        *urls,
        urls[1],
    ]
    assert server.url + WEBHOOKS_TOKEN_PATH not in path.read_text()


@pytest.mark.usefixtures("api")
def test_wrong_answers_are_asked_for_again(answering: Answer, path: Path) -> None:
    code, _, err = answering(
        *("stagin", "STAGING", "oath", "oauth", "a:b", "t", "c"), secrets=(" x", "", "a\nb", SECRET)
    )
    assert code == 0, err
    assert "Did you mean 'staging'?" in err
    assert "Did you mean 'oauth'?" in err
    assert "tenant_id is 'a:b'" in err
    assert err.count("client_secret: ") == 2
    assert load_profiles(path).tables["default"]["region"] == "staging"


@pytest.mark.usefixtures("refusing")
def test_settings_that_fail_are_written_only_on_request(answering: Answer, path: Path) -> None:
    code, out, err = answering(*OAUTH_ANSWERS, "n")
    assert code == 4
    assert "failed" in out
    assert "check failed: credentials, token" in err
    assert err.endswith("thrive: the profile was not saved\n")
    assert not path.parent.exists()
    code, _, err = answering(*OAUTH_ANSWERS, "")
    assert (code, path.parent.exists()) == (4, False)
    code, out, err = answering(*OAUTH_ANSWERS, "y")
    assert code == 4
    assert f"saved profile 'default' to {path}\n" in err
    assert load_profiles(path).tables["default"]["client_id"] == "reports"
    assert SECRET not in out + err


def test_unverified_settings_are_not_reported_as_working(answering: Answer, path: Path) -> None:
    with respx.mock(assert_all_called=False) as router:
        router.post(url__regex=r"/oauth2/token/").mock(return_value=token_response())
        router.get(url__regex=r"/activity/").respond(404, html="<h1>Not Found</h1>")
        code, _, err = answering(*OAUTH_ANSWERS, "n")
    assert code != 0
    assert "Save the profile anyway? [y/N]: " in err
    assert not path.parent.exists()


@pytest.mark.usefixtures("api")
def test_a_profile_that_exists_is_replaced_only_if_the_user_says_so(answering: Answer, path: Path) -> None:
    path.parent.mkdir()
    old = '# mine\n[default]\napi_secret = "old"\nscopes = "api/all"\n[work]\ntenant_id = "w"\n'
    path.write_text(old)
    code, out, err = answering("n")
    assert (code, out) == (2, "")
    assert f"Profile 'default' already exists in {path}. Replace it? [y/N]: " in err
    assert "Profile 'default' was not replaced. Use --profile to create another one." in err
    assert answering("").code == 2
    assert path.read_text() == old
    assert answering("y", *OAUTH_ANSWERS).code == 0
    assert load_profiles(path).tables == {
        "default": {
            "region": "production",
            "tenant_id": "eu-west-2_AbcdEfghI",
            "client_id": "reports",
            "client_secret": SECRET,
        },
        "work": {"tenant_id": "w"},
    }
    assert path.read_text().startswith("# mine\n")


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize("before", ["", '[default]\ntenant_id = "old"\n'])
def test_a_profile_that_changes_meanwhile_is_kept(
    answering: Answer, path: Path, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    path.parent.mkdir()
    path.write_text(before)
    tried = config_init._check

    def slowly(answers: config_init._Answers) -> int:
        change_profile(path, "default", lambda _file: {"tenant_id": "theirs"})
        return tried(answers)

    monkeypatch.setattr(config_init, "_check", slowly)
    code, _, err = answering(*(["y"] if before else []), *OAUTH_ANSWERS)
    assert code == 2
    assert "has changed in the meantime, and was not replaced. Run the command again" in err
    assert load_profiles(path).tables == {"default": {"tenant_id": "theirs"}}


@pytest.mark.parametrize("answered", range(len(OAUTH_ANSWERS) + 1))
def test_an_end_of_input_leaves_nothing_behind(answering: Answer, path: Path, answered: int) -> None:
    code, out, err = answering(*OAUTH_ANSWERS[:answered], secrets=())
    assert (code, out) == (130, "")
    assert "Traceback" not in err
    assert not path.parent.exists()


def test_ctrl_c_during_the_check_leaves_nothing_behind(answering: Answer, path: Path) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with respx.mock(assert_all_called=False) as router:
        router.post(url__regex=r"/oauth2/token/").mock(side_effect=interrupted)
        assert answering(*OAUTH_ANSWERS).code == 130
    assert not path.parent.exists()


@pytest.mark.parametrize("stream", ["stdin", "stderr"])
def test_without_a_terminal_it_is_wrong_usage(
    call: Call, path: Path, monkeypatch: pytest.MonkeyPatch, stream: str
) -> None:
    for name in ("stdin", "stderr"):
        monkeypatch.setattr(getattr(sys, name), "isatty", lambda name=name: name != stream)
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _prompt: pytest.fail("it asked"))
    code, out, err = call("config", "init")
    assert (code, out) == (2, "")
    assert "thrive config init needs a terminal to ask questions. Run it in a terminal, or use" in err
    assert not path.parent.exists()


def test_problems_of_the_file_are_reported_before_the_questions(
    answering: Answer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.mkdir(parents=True)
    code, _, err = answering()
    assert code == 2
    assert f"{path} is not a regular file. Set THRIVE_CONFIG_FILE to a regular file" in err
    path.rmdir()
    path.write_text("[default\n")
    assert answering().code == 2
    assert path.read_text() == "[default\n"
    path.unlink()
    with monkeypatch.context() as patch:
        unreadable = ProfileFile(path, f"{path} cannot be read (Permission denied)", is_unreadable=True)
        patch.setattr(config_init, "load_profiles", lambda _path: unreadable)
        code, out, err = answering()
    assert (code, out) == (2, "")
    assert f"{path} cannot be read (Permission denied). Set THRIVE_CONFIG_FILE to another path" in err
    monkeypatch.setitem(sys.modules, "tomlkit", None)
    code, _, err = answering()
    assert (code, "Region" in err) == (2, False)
    assert "python3 -m pip install 'thrive-learning[cli]'" in err


@pytest.mark.usefixtures("api", "path")
def test_variables_that_override_the_profile_are_named(
    answering: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THRIVE_REGION", "staging")
    monkeypatch.setenv("THRIVE_API_SECRET", "canary-of-the-environment")
    code, out, err = answering(*OAUTH_ANSWERS)
    assert code == 0
    assert "warning: THRIVE_REGION, THRIVE_API_SECRET in the environment override the profile\n" in err
    assert "canary" not in out + err
    monkeypatch.delenv("THRIVE_REGION")
    _, _, err = answering("y", *OAUTH_ANSWERS)
    assert "warning: THRIVE_API_SECRET in the environment overrides the profile\n" in err


def test_no_frame_of_an_error_holds_a_secret(
    answering: Answer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.parent.mkdir()
    path.write_text('[default]\napi_secret = "canary-of-the-file"\n')
    caught: list[BaseException] = []

    def report(error: BaseException, *_: object) -> int:
        caught.append(error)
        return 2

    monkeypatch.setattr("thrive_learning.cli.program._report", report)

    def failing(*_: object) -> int:
        change_profile(path, "default", lambda _file: {"tenant_id": "theirs"})
        return 0

    monkeypatch.setattr(config_init, "_check", failing)
    answering("y", *OAUTH_ANSWERS)
    [error] = caught
    trace = error.__traceback__
    shown: list[str] = []
    while trace is not None:
        if "thrive_learning" in trace.tb_frame.f_code.co_filename:
            shown += [repr(value) for value in trace.tb_frame.f_locals.values()]
        trace = trace.tb_next
    assert shown
    assert "canary" not in " ".join(shown)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_a_real_terminal_does_not_show_the_secret(path: Path) -> None:
    import pty  # noqa: PLC0415 - see above

    with SandboxServer(SandboxApp(FaultySandbox(CORE))) as server:
        process, terminal = pty.fork()
        if process == 0:  # pragma: no cover - another process
            os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
            command = [sys.executable, "-m", "thrive_learning", "config", "init"]
            os.execv(sys.executable, command)  # noqa: S606 - it needs no shell
        answers = ["custom", server.url + API_PATH, server.url + TOKEN_PATH, "", "", "basic", CORE.tenant_id]
        seen = b""

        def read_until(text: bytes) -> None:
            nonlocal seen
            before = len(seen)
            while text not in seen[before:]:
                seen += os.read(terminal, 4096)

        for answer in answers:
            read_until(b": ")
            os.write(terminal, f"{answer}\n".encode())
        read_until(b"api_secret (not shown): ")
        os.write(terminal, f"{CORE.api_secret}\n".encode())
        try:
            while chunk := os.read(terminal, 4096):
                seen += chunk
        except OSError:  # the end of a pseudo-terminal
            pass
        _, status = os.waitpid(process, 0)
        os.close(terminal)
    text = seen.decode()
    assert os.waitstatus_to_exitcode(status) == 0, text
    assert "saved profile 'default'" in text.replace("\r\n", "")
    assert CORE.api_secret not in text
    assert load_profiles(path).tables["default"]["api_secret"] == CORE.api_secret
