import contextlib
import importlib.metadata
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, TextIO

import click
import httpx
import pytest
import respx
from command import BASIC, OAUTH, OBEYED, SECRETS, Call, Result, assert_complaint, forgotten
from harness import ACTIVITY_ID, PAGE_EXAMPLE, ROOT, page_response, token_response
from hypothesis import given
from hypothesis import strategies as st

import thrive_learning.cli
from thrive_learning import errors
from thrive_learning._exchange.messages import api_error_class
from thrive_learning.cli import program
from thrive_learning.cli.commands import activity as activity_command
from thrive_learning.cli.exit_codes import ExitCode, exit_code
from thrive_learning.cli.rendering import as_json, as_table
from thrive_learning.models import Activity
from tools import cli_reference

COMMENTED_ID = "665d7d88b60b4b3a2c000008"  # whose comment in the sandbox is not ASCII
GET = ("activity", "get", ACTIVITY_ID)
RECORD_URLS = {
    "production": f"https://public.api.learn.link/rest/v1/activity/{ACTIVITY_ID}",
    "staging": f"https://public.api.learnstaging.link/rest/v1/activity/{ACTIVITY_ID}",
    "production-mea": f"https://public.api.mea.learn.tech/rest/v1/activity/{ACTIVITY_ID}",
    "staging-mea": f"https://public.api.meastaging.learn.tech/rest/v1/activity/{ACTIVITY_ID}",
}
TOKEN_URL = "https://public.api.learn.link/oauth2/token/eu-west-2_AbcdEfghI"

TABLE = """\
id           60d5ec49b60b4b3a2c8f9a10
user         60d5ec49b60b4b3a2c8f9a11
type         viewed
date         2020-02-12 14:58:23 UTC
contextId    64b6f4a8c2e4a1b9d3f2c4a0
contextType  content
data         {
               "source": {
                 "source": "feed"
               },
               "duration": "3600"
             }
with         null
"""


@pytest.fixture
def api() -> Iterator[respx.MockRouter]:
    with respx.mock(assert_all_called=False) as router:
        yield router


def process(*arguments: str, closed: str = "", **environment: str) -> "subprocess.Popen[bytes]":
    """Start the command in a separate process, as its entry point does.

    Args:
        arguments: Its arguments.
        closed: `stdout` or `stderr`, to give it a pipe there whose reader is gone.
        environment: Its environment, besides that of this process.
    """
    script = "from thrive_learning.cli import main; main()"
    with closed_pipe() as pipe:
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        streams |= {closed: pipe.fileno()} if closed else {}
        return subprocess.Popen(
            [sys.executable, "-c", script, *arguments],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=streams["stdout"],
            stderr=streams["stderr"],
        )


def closed_pipe() -> TextIO:
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w", encoding="utf-8")


def finished(running: "subprocess.Popen[bytes]") -> Result:
    out, err = running.communicate(timeout=60)
    return Result(running.returncode, out.decode(), err.decode())


# Output


def test_a_terminal_gets_a_table(terminal: Call) -> None:
    assert terminal(*GET, "--sandbox") == (0, TABLE, "")


def test_a_pipe_gets_json(call: Call) -> None:
    code, out, err = call(*GET, "--sandbox")
    assert (code, err) == (0, "")
    assert out == json.dumps(PAGE_EXAMPLE, indent=2) + "\n"


def test_an_output_can_be_chosen(call: Call, terminal: Call) -> None:
    assert call(*GET, "--sandbox", "-o", "table").out == TABLE
    assert json.loads(terminal(*GET, "--sandbox", "--output", "json").out) == PAGE_EXAMPLE


def test_a_real_pipe_gets_json() -> None:
    code, out, err = finished(process(*GET, "--sandbox"))
    assert (code, json.loads(out), err) == (0, PAGE_EXAMPLE, "")


def test_a_real_terminal_gets_a_table_that_fits_into_80_columns() -> None:
    pty = pytest.importorskip("pty", reason="there are no pseudo-terminals here")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", "from thrive_learning.cli import main; main()", *GET, "--sandbox"]
    printed = b""
    with os.fdopen(ours, "rb", buffering=0) as screen:
        try:
            done = subprocess.run(
                command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, check=False, timeout=60
            )
        finally:
            os.close(theirs)
        with contextlib.suppress(OSError):  # Linux reports the end so
            while piece := screen.read(65536):  # the system may pass the output on in pieces
                printed += piece
    assert (done.returncode, printed.decode().replace("\r\n", "\n"), done.stderr) == (0, TABLE, b"")
    assert max(map(len, TABLE.splitlines())) <= 80


@pytest.mark.usefixtures("basic")
def test_fields_that_the_contract_does_not_know_are_shown(
    call: Call, terminal: Call, api: respx.MockRouter
) -> None:
    document = {"visibility": "team", "id": ACTIVITY_ID, "aLongFieldName": [1, None]}
    api.get(RECORD_URLS["production"]).respond(200, json=document)
    assert json.loads(call(*GET).out) == document
    assert terminal(*GET).out == (
        "visibility      team\n"
        f"id              {ACTIVITY_ID}\n"
        "aLongFieldName  [\n"
        "                  1,\n"
        "                  null\n"
        "                ]\n"
    )


def record(**fields: Any) -> Activity:
    return Activity.from_dict({"id": ACTIVITY_ID, **fields})


@pytest.mark.parametrize(
    ("received", "shown"),
    [
        ("2020-02-12T14:58:23.999Z", "2020-02-12 14:58:23 UTC"),
        ("2020-02-12T14:58:23+05:30", "2020-02-12 14:58:23 UTC+05:30"),
        ("0001-01-01T00:00:00+14:00", "0001-01-01 00:00:00 UTC+14:00"),
        ("9999-12-31T23:59:59-12:00", "9999-12-31 23:59:59 UTC-12:00"),
    ],
)
def test_a_date_is_readable(received: str, shown: str) -> None:
    assert as_table(record(date=received), "utf-8").splitlines()[1] == f"date  {shown}"


def test_a_server_cannot_steer_the_terminal_nor_forge_a_field() -> None:
    hostile = "\x1b]0;title\x07\x9b31m\x7f\u202eevil\nuser  root\r"
    table = as_table(record(name=hostile, **{f"{hostile}field": {hostile: hostile}}), "utf-8")
    escaped = r"\u001b]0;title\u0007\u009b31m\u007f\u202eevil\nuser  root\u000d"
    assert table.splitlines()[1].endswith(f"  {escaped}")
    assert table.splitlines()[2].startswith(f"{escaped}field  {{")
    assert len(table.splitlines()) == 5
    assert not OBEYED.search(table)
    document = as_json({"name": hostile}, "utf-8")
    assert not OBEYED.search(document)
    assert json.loads(document) == {"name": hostile}


def test_characters_that_the_encoding_lacks_are_escaped() -> None:
    activity = record(name="Très 👍", data={"é": "\ud800"})
    assert "name  Très 👍" in as_table(activity, "utf-8")
    assert r"name  Tr\xe8s \U0001f44d" in as_table(activity, "ascii")
    assert '"\\u00e9": "\\ud800"' in as_table(activity, "utf-8")
    assert as_json({"n": "Très 👍"}, "utf-8") == '{\n  "n": "Très 👍"\n}'
    assert as_json({"n": "Très"}, "latin-1") == '{\n  "n": "Très"\n}'
    assert as_json({"n": "Très 👍"}, "latin-1") == '{\n  "n": "Tr\\u00e8s \\ud83d\\udc4d"\n}'


def test_a_lone_surrogate_is_printed_all_the_same() -> None:
    assert as_table(record(name="\ud800"), "utf-8").endswith("name  \\ud800")
    assert json.loads(as_json({"name": "\ud800"}, "utf-8")) == {"name": "\ud800"}


texts = st.text(st.characters(codec=None, exclude_categories=()))
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
)


@given(
    st.dictionaries(texts, documents, max_size=4), st.sampled_from(["utf-8", "ascii", "latin-1", "cp1252"])
)
def test_whatever_is_received_is_printed_and_steers_nothing(fields: dict[str, Any], encoding: str) -> None:
    # Through JSON, as received, so that surrogate pairs become the characters that they encode.
    received: dict[str, Any] = json.loads(json.dumps({**fields, "id": ACTIVITY_ID, "date": None}))
    text = as_json(received, encoding)
    assert json.loads(text.encode(encoding).decode(encoding)) == received
    table = as_table(Activity.from_dict(received), encoding)
    assert table.encode(encoding)
    assert not OBEYED.search(text + table)


@pytest.mark.parametrize("output", ["table", "json"])
def test_a_real_output_that_knows_ascii_only(output: str) -> None:
    running = process("activity", "get", COMMENTED_ID, "--sandbox", "-o", output, PYTHONIOENCODING="ascii")
    code, out, err = finished(running)
    assert (code, err) == (0, "")
    assert r'"comment": "Tr\u00e8s clair, merci! \ud83d\udc4d"' in out


# Regions and credentials


@pytest.mark.usefixtures("basic")
@pytest.mark.parametrize("region", RECORD_URLS)
def test_the_region_comes_from_the_option_or_from_the_environment(
    call: Call, api: respx.MockRouter, monkeypatch: pytest.MonkeyPatch, region: str
) -> None:
    route = api.get(RECORD_URLS[region]).mock(return_value=page_response())
    assert json.loads(call(*GET, "--region", region.upper()).out) == PAGE_EXAMPLE
    monkeypatch.setenv("THRIVE_REGION", region)
    assert json.loads(call(*GET).out) == PAGE_EXAMPLE
    monkeypatch.setenv("THRIVE_REGION", "mars")
    assert json.loads(call(*GET, "--region", region).out) == PAGE_EXAMPLE
    assert route.call_count == 3


@pytest.mark.usefixtures("basic")
@pytest.mark.parametrize(
    "command", [GET, ("check",), ("token",), ("activity", "export", "ids.txt", "-o", "-")], ids=" ".join
)
def test_the_engine_comes_from_the_option_or_from_the_environment(
    call: Call,
    api: respx.MockRouter,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    command: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ids.txt").write_text(ACTIVITY_ID)
    monkeypatch.setitem(sys.modules, "httptools", None)
    result = call(*command, "--engine", "fast")
    assert_complaint(result, 2)
    assert "The fast engine cannot be used: a part of it is not installed" in result.err
    monkeypatch.setenv("THRIVE_ENGINE", "fast")
    assert "The fast engine cannot be used" in call(*command).err
    monkeypatch.setenv("THRIVE_ENGINE", "auto")
    assert "THRIVE_ENGINE: engine is 'auto'. Choose 'httpx' or 'fast'." in call(*command).err
    api.route().mock(return_value=page_response())
    assert "engine" not in call(*command, "--engine", "httpx").err


@pytest.mark.usefixtures("basic")
def test_an_option_for_the_engine_is_reported_as_its_source(call: Call, api: respx.MockRouter) -> None:
    api.get(RECORD_URLS["production"]).mock(return_value=page_response())
    assert "engine: httpx (--engine)\n" in call(*GET, "--engine", "httpx", "-v").err


@pytest.mark.usefixtures("basic")
def test_the_rate_limit_comes_from_the_option_or_from_the_environment(
    call: Call, api: respx.MockRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.get(RECORD_URLS["production"]).mock(return_value=page_response())
    assert "rate_limit: 50:1 (--rate-limit)\n" in call(*GET, "--rate-limit", "50:1", "-v").err
    monkeypatch.setenv("THRIVE_RATE_LIMIT", "20")
    assert "rate_limit: 20 (THRIVE_RATE_LIMIT)\n" in call(*GET, "-v").err
    monkeypatch.setenv("THRIVE_RATE_LIMIT", "0")
    assert "THRIVE_RATE_LIMIT: The rate limit '0' is not valid." in call(*GET).err
    result = call(*GET, "--rate-limit", "slow")
    assert_complaint(result, 2)
    assert "The rate limit 'slow' is not valid." in result.err


def test_the_embedded_sandbox_has_a_rate_limit_on_request_and_waits_are_logged(
    call: Call, tmp_path: Path
) -> None:
    ids = tmp_path / "ids.txt"
    # On a busy machine, some of them may come so late that they need not wait.
    ids.write_text("\n".join(f"{number:024x}" for number in range(10)))
    result = call("activity", "export", str(ids), "-o", "-", "--sandbox", "--rate-limit", "10:1", "-v")
    assert re.search(
        r"^thrive: attempt 1: waited \d\.\d{3} s for the rate limit; status ", result.err, re.MULTILINE
    )
    assert "waited" not in call(*GET, "--sandbox", "-v").err


@pytest.mark.usefixtures("basic")
def test_the_region_is_production_unless_told_otherwise(call: Call, api: respx.MockRouter) -> None:
    api.get(RECORD_URLS["production"]).mock(return_value=page_response())
    assert json.loads(call(*GET).out) == PAGE_EXAMPLE


@pytest.mark.usefixtures("oauth")
def test_oauth_credentials_and_scopes_come_from_the_environment(
    call: Call, api: respx.MockRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THRIVE_SCOPES", "api/all")
    minted = api.post(TOKEN_URL).mock(return_value=token_response())
    read = api.get(RECORD_URLS["production"]).mock(return_value=page_response())
    assert call(*GET).code == 0
    assert b"scope=api%2Fall" in minted.calls.last.request.content
    assert read.calls.last.request.headers["Authorization"] == "Bearer fake-token"


def test_the_sandbox_reads_no_settings(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THRIVE_REGION", "mars")
    monkeypatch.setenv("THRIVE_API_SECRET", SECRETS["THRIVE_API_SECRET"])
    monkeypatch.setenv("THRIVE_ENGINE", "fast")
    assert call(*GET, "--sandbox").code == 0


@pytest.mark.usefixtures("basic")
def test_the_time_limit_is_that_of_the_call(call: Call, api: respx.MockRouter) -> None:
    read = api.get(RECORD_URLS["production"]).mock(return_value=page_response())
    assert call(*GET, "--timeout", "20").code == 0
    assert 0 < read.calls.last.request.extensions["timeout"]["read"] <= 20


# Errors


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ThriveError("m"), 1),
        (errors.ClientClosedError("m"), 1),
        (RuntimeError("m"), 1),
        (OSError("m"), 1),
        (errors.ConfigurationError("m"), 2),
        (errors.InvalidIdError("m", value="x"), 2),
        (click.UsageError("m"), 2),
        (click.BadParameter("m"), 2),
        (errors.ConnectionFailedError("m"), 7),
        (errors.DeadlineExceededError("m"), 7),
        (errors.UnexpectedResponseError("m", status_code=200), 8),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
        (BrokenPipeError("m"), 141),
    ],
    ids=repr,
)
def test_each_class_of_error_has_its_exit_code(error: BaseException, code: int) -> None:
    assert exit_code(error) == code


@pytest.mark.parametrize(
    ("status", "code", "of_a_token"),
    [
        (200, 6, 8),
        (302, 6, 6),
        (400, 6, 4),
        (401, 4, 4),
        (403, 4, 4),
        (404, 3, 4),
        (408, 6, 6),
        (409, 6, 6),
        (422, 6, 6),
        (429, 5, 5),
        (500, 6, 6),
        (561, 6, 6),
    ],
)
def test_each_status_has_its_exit_code(status: int, code: int, of_a_token: int) -> None:
    assert exit_code(api_error_class(status)("m", status_code=status)) == code
    assert exit_code(errors.TokenError("m", status_code=status)) == of_a_token


def subclasses(kind: type[Exception]) -> Iterator[type[Exception]]:
    if kind.__module__.startswith("thrive_learning."):  # not a class from a test
        yield kind
    for below in kind.__subclasses__():
        yield from subclasses(below)


def test_every_class_of_error_has_an_exit_code() -> None:
    """A new error class needs an exit code, here and in the documentation."""
    classes = {kind.__name__ for kind in subclasses(errors.ThriveError)}
    page = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    fine_as_any_other = {"BadRequestError", "ConflictError", "UnprocessableError", "ClientClosedError"}
    fine_as_any_other |= {"WebhookError", "SignatureError"}  # the command responds with these and continues
    assert classes - set(re.findall(r"`(\w+Error)`", page)) == fine_as_any_other


@pytest.mark.usefixtures("basic")
@pytest.mark.parametrize(
    ("response", "code"),
    [
        (httpx.Response(404, json={"status": 404, "message": "Activity not found"}), 3),
        (httpx.Response(404, json={"message": "Not Found"}), 6),
        (httpx.Response(404, html="<h1>Not Found</h1>"), 6),
        (httpx.Response(401, json={"message": f"no: {SECRETS['THRIVE_API_SECRET']}"}), 4),
        (httpx.Response(403, json={"message": "a\nb\nc\x1b[31m"}), 4),
        (httpx.Response(429, headers={"Retry-After": "7"}), 5),
        (httpx.Response(503, html="<h1>\n\n\nBusy</h1>"), 6),
        (httpx.Response(400), 6),
        (httpx.Response(200, json=[]), 8),
        (httpx.Response(200, html="<p>Sign in</p>"), 8),
    ],
    ids=lambda value: str(value.status_code) if isinstance(value, httpx.Response) else None,
)
def test_a_response_without_a_record_is_reported_in_one_line(
    call: Call, api: respx.MockRouter, response: httpx.Response, code: int
) -> None:
    api.get(RECORD_URLS["production"]).mock(return_value=response)
    result = call(*GET)
    assert_complaint(result, code)
    assert str(response.status_code) in result.err
    assert SECRETS["THRIVE_API_SECRET"] not in result.err


@pytest.mark.usefixtures("oauth")
@pytest.mark.parametrize(
    ("response", "code"),
    [
        (httpx.Response(401, json={"error": "invalid_client"}), 4),
        (httpx.Response(429), 5),
        (httpx.Response(500), 6),
        (httpx.Response(200, json={"access_token": ""}), 8),
    ],
    ids=lambda value: str(value.status_code) if isinstance(value, httpx.Response) else None,
)
def test_a_rejected_token_is_reported_in_one_line(
    call: Call, api: respx.MockRouter, response: httpx.Response, code: int
) -> None:
    api.post(TOKEN_URL).mock(return_value=response)
    result = call(*GET)
    assert_complaint(result, code)
    assert "token endpoint" in result.err


@pytest.mark.usefixtures("basic")
@pytest.mark.parametrize("failure", [httpx.ConnectError("refused"), httpx.ReadTimeout("slow")], ids=repr)
def test_a_missing_response_is_reported_in_one_line(
    call: Call, api: respx.MockRouter, failure: Exception
) -> None:
    api.get(RECORD_URLS["production"]).mock(side_effect=failure)
    assert_complaint(call(*GET), 7)


def test_a_record_that_the_sandbox_does_not_hold(call: Call) -> None:
    assert_complaint(call("activity", "get", "0" * 24, "--sandbox"), 3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*GET, "--sandbox", "--region", "staging"), "--sandbox and --region cannot be used together"),
        ((*GET, "--region", "mars"), "'mars' is not one of 'production', 'staging', 'production-mea'"),
        ((*GET, "--sandbox", "--timeout", "0"), "--timeout"),
        ((*GET, "--sandbox", "--timeout", "nan"), "nan"),
        ((*GET, "--sandbox", "-o", "xml"), "'xml' is not one of 'table', 'json', 'ndjson'"),
        (("activity", "get", "60d5ec49", "--sandbox"), "is not an activity ID, because"),
        (("activity", "get", f"{ACTIVITY_ID}\n", "--sandbox"), "white space"),
        (("activity", "get", "\x1b[31m", "--sandbox"), "is not an activity ID"),
        (("regions", "\x1b[31m\nb"), "unexpected extra argument"),
        (("activity", "get"), "Missing argument 'ID...'"),
        ((*GET, "--sandbox", "--profile", "x"), "--sandbox and --profile cannot be used together"),
        ((*GET, "--sandbox", "--engine", "fast"), "--sandbox and --engine cannot be used together"),
        ((*GET, "--engine", "auto"), "'auto' is not one of 'httpx', 'fast'."),
        (("activity", "git"), "No such command 'git'"),
        ((*GET, "--region"), "Option '--region' requires an argument.\nTry 'thrive activity get --help'."),
        (("config", "set", "--profile"), "requires an argument.\nTry 'thrive config set --help'."),
        (("completion",), "Choose one of bash, zsh, fish"),
        (GET, "no credentials are set (cannot find profile"),
    ],
)
def test_wrong_usage_is_reported_in_at_most_two_lines(
    call: Call, arguments: tuple[str, ...], said: str
) -> None:
    result = call(*arguments)
    assert_complaint(result, 2)
    assert said in result.err


@pytest.mark.parametrize(
    "arguments", [GET, ("check",), ("token",), ("activity", "export", os.devnull, "-o", "-"), (*GET, "-v")]
)
def test_the_first_run_without_settings_names_the_ways_to_go_on(
    call: Call, arguments: tuple[str, ...]
) -> None:
    result = call(*arguments)
    assert_complaint(result, 2)
    assert "no credentials are set" in result.err
    assert ". Run 'thrive config init' to set them, or add --sandbox to try the command" in result.err


def test_an_unknown_command_is_wrong_usage(call: Call) -> None:
    code, out, err = call("activities")
    assert (code, out) == (ExitCode.USAGE, "")
    assert "activities" in err


def test_a_usage_error_says_whom_to_ask(call: Call) -> None:
    assert call("activity", "get").err.splitlines()[1] == "Try 'thrive activity get --help'."


@pytest.mark.usefixtures("basic")
def test_a_wrong_region_in_the_environment_is_named(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THRIVE_REGION", "mars")
    result = call(*GET)
    assert_complaint(result, 2)
    assert "THRIVE_REGION: 'mars' is not a region" in result.err


def fail(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Make the command fail with an unexpected error."""

    def failing(*_: object) -> NoReturn:
        raise error

    monkeypatch.setattr(activity_command, "as_json_text", failing)


def test_a_defect_shows_no_traceback_and_nothing_of_its_message(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(monkeypatch, RuntimeError("fake-api-secret"))
    result = call(*GET, "--sandbox")
    assert_complaint(result, 1)
    assert "RuntimeError" in result.err
    assert "THRIVE_DEBUG=1" in result.err
    assert "fake-api-secret" not in result.err


def test_the_traceback_is_there_for_the_asking(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THRIVE_DEBUG", "1")
    fail(monkeypatch, RuntimeError("steers\x1b[31m"))
    code, out, err = call(*GET, "--sandbox")
    assert (code, out) == (1, "")
    assert err.startswith("Traceback (most recent call last):\n")
    assert r"RuntimeError: steers\u001b[31m" in err
    assert "thrive: error: " in err.splitlines()[-1]
    monkeypatch.setenv("THRIVE_DEBUG", "0")
    assert_complaint(call(*GET, "--sandbox"), 1)


def test_ctrl_c_is_quiet(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(monkeypatch, KeyboardInterrupt())
    assert call(*GET, "--sandbox") == (130, "", "\n")


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A proxy that accepts a connection but never responds."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        yield server


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has another Ctrl-C")
def test_a_real_ctrl_c_in_the_middle_of_a_call(silent: socket.socket) -> None:
    proxy = f"http://127.0.0.1:{silent.getsockname()[1]}"
    running = process(*GET, HTTPS_PROXY=proxy, **BASIC)
    with silent.accept()[0] as connection:
        assert connection.recv(7) == b"CONNECT"
        running.send_signal(signal.SIGINT)
        assert finished(running) == (130, "", "\n")


def test_a_real_call_ends_at_its_time_limit(silent: socket.socket) -> None:
    proxy = f"http://127.0.0.1:{silent.getsockname()[1]}"
    assert_complaint(finished(process(*GET, "--timeout", "0.2", HTTPS_PROXY=proxy, **BASIC)), 7)


def test_the_exit_code_reports_an_error_that_stderr_cannot() -> None:
    running = process("activity", "get", "x", "--sandbox", closed="stderr")
    out, _ = running.communicate(timeout=60)
    assert (running.returncode, out) == (2, b"")


@pytest.mark.parametrize("arguments", [(*GET, "--sandbox"), ("--help",)])
def test_a_closed_pipe_is_quiet(arguments: tuple[str, ...]) -> None:
    running = process(*arguments, closed="stdout")
    _, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (141, b"")


def full_disk() -> TextIO:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    return Path("/dev/full").open("w", encoding="utf-8")


@pytest.mark.parametrize(
    ("output", "code", "said"),
    [
        (closed_pipe, 141, ""),
        (full_disk, 1, "thrive: error: cannot write the output: No space left on device\n"),
    ],
)
def test_an_output_that_cannot_be_written(
    capsys: pytest.CaptureFixture[str], output: Callable[[], TextIO], code: int, said: str
) -> None:
    with output() as stdout, pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "stdout", stdout)
        assert program.run((*GET, "--sandbox")) == code
        stdout.flush()  # as Python does at exit
    assert capsys.readouterr().err == said


# Secrets


@pytest.mark.parametrize("debug", ["0", "1"])
@pytest.mark.parametrize("credentials", [BASIC, OAUTH], ids=["basic", "oauth"])
def test_no_output_ever_shows_a_secret(
    call: Call,
    api: respx.MockRouter,
    monkeypatch: pytest.MonkeyPatch,
    credentials: dict[str, str],
    debug: str,
) -> None:
    """This holds even if a server repeats the secret."""
    monkeypatch.setenv("THRIVE_DEBUG", debug)
    for name, value in credentials.items():
        monkeypatch.setenv(name, value)
    [secret] = (value for name, value in credentials.items() if name.endswith("SECRET"))
    repeating = {"message": f"no: {secret}", "error": secret, "error_description": secret, "id": [secret]}
    reads: list[httpx.Response | Exception] = [
        page_response(),
        *(httpx.Response(status, json=repeating) for status in (200, 400, 401, 404, 500)),
        httpx.ReadTimeout("slow"),
    ]
    tokens = [token_response(), *(httpx.Response(status, json=repeating) for status in (200, 401, 500))]
    for read, token in itertools.product(reads, tokens):
        api.get(RECORD_URLS["production"]).mock(side_effect=[read])
        api.post(TOKEN_URL).mock(side_effect=[token])
        result = call(*GET)
        assert result.out + result.err
        assert secret not in result.out + result.err
    for arguments in ((*GET, "--region", "mars"), ("activity", "get", "x"), ("activity", "get", "--help")):
        result = call(*arguments)
        assert result.out + result.err
        assert secret not in result.out + result.err


def test_contradictory_credentials_are_named_and_not_shown(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**BASIC, **OAUTH}.items():
        monkeypatch.setenv(name, value)
    result = call(*GET)
    assert_complaint(result, 2)
    assert "HTTP Basic (THRIVE_API_SECRET) and for OAuth" in result.err
    assert not any(secret in result.err for secret in SECRETS.values())


# Help, version, installation


def test_the_version(call: Call) -> None:
    assert call("--version") == (0, f"thrive {importlib.metadata.version('thrive-learning')}\n", "")


def test_the_command_itself_needs_no_http_for_its_version_and_help() -> None:
    """The package is replaced, because its __init__ imports more than the command needs."""
    script = f"""
import sys, types
package = types.ModuleType("thrive_learning")
package.__path__ = [{str(ROOT / "src" / "thrive_learning")!r}]
sys.modules["thrive_learning"] = package
from thrive_learning.cli.program import run
assert run(["--version"]) == 0 and run(["regions"]) == 0 and run(["config", "list"]) == 0
for words in {[*cli_reference.commands()]!r}:
    assert run([*words, "--help"]) == 0
print(sorted(sys.modules.keys() & {{"httpx", "anyio", "_thrive_learning_api"}}))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("arguments", [(), ("activity",), ("config",)])
def test_a_group_alone_shows_its_help_and_is_wrong_usage(call: Call, arguments: tuple[str, ...]) -> None:
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert err == call(*arguments, "--help").out


def test_help_and_documentation_list_every_exit_code(call: Call) -> None:
    meanings = {str(int(code)): code.meaning for code in ExitCode}
    assert dict(re.findall(r"^ +(\d+)  (.+)$", call("--help").out, re.MULTILINE)) == meanings
    page = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    assert dict(re.findall(r"^\| (\d+) \| (.+?) \|", page, re.MULTILINE)) == meanings


def test_the_installed_command_is_this_one() -> None:
    [entry] = importlib.metadata.entry_points(group="console_scripts", name="thrive")
    assert entry.load() is thrive_learning.cli.main


def test_the_entry_point_passes_arguments_and_exit_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["thrive", "activity", "get", "0" * 24, "--sandbox"])
    with pytest.raises(SystemExit) as end:
        thrive_learning.cli.main()
    assert end.value.code == 3
    assert capsys.readouterr().err.startswith("thrive: error: ")


def test_without_its_extra_it_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "click", None)
    with forgotten("thrive_learning.cli."), pytest.raises(SystemExit) as end:
        thrive_learning.cli.main()
    out, err = capsys.readouterr()
    assert_complaint(Result(2, out, err), 2)
    assert end.value.code == ExitCode.USAGE
    assert "python3 -m pip install 'thrive-learning[cli]'" in err


@pytest.mark.parametrize("module", ["thrive_learning.cli.commands", "thrive_learning.cli.program"])
def test_another_module_that_is_missing_is_not_blamed_on_the_extra(
    monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    with forgotten("thrive_learning.cli."), monkeypatch.context() as patch:
        patch.setitem(sys.modules, module, None)
        with pytest.raises(ImportError, match=module):
            thrive_learning.cli.main()


def test_a_command_that_was_forgotten_is_the_old_one_again() -> None:
    before = vars(thrive_learning.cli)["program"], sys.modules["thrive_learning.cli.program"]
    with forgotten("thrive_learning.cli."):
        from thrive_learning.cli import program as another  # noqa: PLC0415 - it is the point

        assert another is not program
    assert before == (vars(thrive_learning.cli)["program"], sys.modules["thrive_learning.cli.program"])


def test_a_process_without_the_extra() -> None:
    script = "import sys; sys.modules['click'] = None; from thrive_learning.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, text=True)
    assert_complaint(Result(done.returncode, done.stdout, done.stderr), 2)
