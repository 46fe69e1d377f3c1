import email
import functools
import hmac
import io
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import IO

import httpx
import pytest
from command import forgotten
from harness import ACTIVITY_ID, ROOT

from thrive_learning import ClientCredentials, Region, ThriveClient
from thrive_learning.cli import program
from thrive_learning.cli.commands.sandbox import _EPILOG, deliveries_to, welcome
from thrive_learning.sandbox import (
    FaultySandbox,
    RecordArrivals,
    Sandbox,
    SandboxRateLimit,
    SandboxRequest,
    parse_fault,
    server,
)
from thrive_learning.sandbox.faults import KINDS
from thrive_learning.sandbox.webhooks import WEBHOOK_SECRET

RECORD = {"id": "f" * 24, "type": "viewed"}

#: A process that has just started may be slow on a busy machine.
get = functools.partial(httpx.get, timeout=60)


class Running:
    """`thrive sandbox` in a separate process."""

    def __init__(self, *arguments: str, before: tuple[str, ...] = ()) -> None:
        script = "from thrive_learning.cli import main; main()"
        self.process = subprocess.Popen(
            [*before, sys.executable, "-c", script, "sandbox", *arguments],
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.lines: list[str] = []
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if line == "Press Ctrl-C to stop.\n":
                break
        self.url = re.findall(r"http://[\w.:\[\]]+", self.lines[0])[0] if self.lines else ""

    def exported(self) -> dict[str, str]:
        commands_ = [shlex.split(line) for line in self.lines if line.startswith("export ")]
        return dict(setting.split("=", 1) for _, setting in commands_)

    def end(self, with_signal: int = signal.SIGINT) -> tuple[int, str, str]:
        self.process.send_signal(with_signal)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


def failing(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = program.run(["sandbox", *arguments])
    captured = capsys.readouterr()
    assert captured.out == ""
    return code, captured.err


def test_the_printed_settings_can_be_pasted_and_work(tmp_path: Path) -> None:
    file = tmp_path / "mine.ndjson"
    file.write_text(json.dumps(RECORD) + "\n", encoding="utf-8")
    running = Running(
        "--records", str(file), "--fault", "503:1", "--token-lifetime", "90", "--client-auth", "basic"
    )
    exported = running.exported()
    region = Region.custom(
        "sandbox",
        api_url=exported["THRIVE_API_URL"],
        token_url=exported["THRIVE_TOKEN_URL"],
        webhooks_token_url=exported["THRIVE_WEBHOOKS_TOKEN_URL"],
    )
    oauth = ClientCredentials(
        exported["THRIVE_TENANT_ID"], exported["THRIVE_CLIENT_ID"], exported["THRIVE_CLIENT_SECRET"]
    )
    ids = [line.rpartition(" ")[2] for line in running.lines if line.startswith("thrive activity get ")]
    with ThriveClient(region, oauth) as client:
        read = [client.activities.get_with_response(activity_id) for activity_id in ids]
        by_basic = get(
            f"{exported['THRIVE_API_URL']}/activity/{ACTIVITY_ID}",
            auth=(exported["THRIVE_TENANT_ID"], exported["THRIVE_API_SECRET"]),
        )
    code, rest, log = running.end()

    assert ids[:2] == ["f" * 24, ACTIVITY_ID]
    assert [record.data.id for record in read] == ids
    assert [record.attempts for record in read] == [2, 1, 1, 1, 1]
    assert by_basic.status_code == 200
    assert "Fault: 503:1" in running.lines
    assert (code, rest) == (0, "")
    assert log.splitlines()[:4] == [
        "POST /oauth2/token/sandbox-1_ExampleOrg 400",
        "POST /oauth2/token/sandbox-1_ExampleOrg 200",
        f"GET /rest/v1/activity/{'f' * 24} 503  fault: 503:1",
        f"GET /rest/v1/activity/{'f' * 24} 200",
    ]
    assert "Traceback" not in log


@pytest.mark.parametrize("secret", [None, "not-a-secret: mine"])
def test_it_sends_a_signed_webhook_when_a_record_arrives(secret: str | None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/hook"
        options = ["--webhook-secret", secret] if secret else []
        running = Running("--arrivals", "40", "--webhook-url", f"{url}?key=1", *options)
        exported = running.exported()
        auth = (exported["THRIVE_TENANT_ID"], Sandbox().api_secret)
        assert get(f"{exported['THRIVE_API_URL']}/activities", auth=auth).status_code == 200
        connection, _ = listening.accept()
        with connection, connection.makefile("rb") as stream:
            request = stream.readline()
            fields = email.message_from_binary_file(stream_until_blank(stream))
            body = stream.read(int(fields["content-length"]))
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
            assert running.process.stderr is not None
            log = [running.process.stderr.readline() for _ in range(2)]
        running.end()

    assert request == b"POST /hook?key=1 HTTP/1.1\r\n"
    assert json.loads(body)["eventType"] == "content.completed"
    key = (secret or WEBHOOK_SECRET).encode()
    assert fields["x-hmac-signature"] == f"sha256={hmac.digest(key, body, 'sha256').hex()}"
    assert log == ["GET /rest/v1/activities 200\n", f"POST {url} content.completed 204\n"]


def test_a_webhook_that_fails_is_reported_without_its_query(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/hook"
        deliveries = deliveries_to(f"{url}?key=secret", None)
        assert deliveries is not None
        deliveries.announce(RecordArrivals().arrive(40, now=0))
        deliveries.close()

    lines = capsys.readouterr().err.splitlines()
    assert lines
    assert all(line.startswith(f"POST {url} content.") for line in lines)
    assert all(" failed: ConnectionRefusedError: " in line for line in lines)


def stream_until_blank(stream: IO[bytes]) -> IO[bytes]:
    return io.BytesIO(b"".join(iter(stream.readline, b"\r\n")))


def test_an_answer_that_is_late_does_not_keep_it_from_ending() -> None:
    running = Running("--fault", "slow:1h")
    address = httpx.URL(running.url)
    with socket.create_connection((address.host, address.port or 0)) as connection:
        connection.sendall(
            f"GET /rest/v1/activity/{ACTIVITY_ID} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        )
        assert running.process.stderr is not None
        assert running.process.stderr.readline().endswith("slow:3600s\n")
        code, _, err = running.end()

    assert (code, err) == (0, "")


def test_other_signals_end_it_as_they_do_other_programs() -> None:
    code, _, err = Running().end(signal.SIGTERM)

    assert (code, err) == (-signal.SIGTERM, "")


def test_ctrl_c_is_the_regular_end_even_before_the_server_handles_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(self: server.SandboxServer) -> None:
        self._socket.close()
        raise KeyboardInterrupt

    monkeypatch.setattr(server.SandboxServer, "run", interrupted)
    assert program.run(["sandbox"]) == 0
    assert capsys.readouterr().err == ""


NAMESPACE = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc")


def has_namespaces() -> bool:
    try:
        return subprocess.run([*NAMESPACE, "true"], check=False, capture_output=True).returncode == 0
    except OSError:
        return False


@pytest.mark.skipif(not has_namespaces(), reason="NO NAMESPACES: unshare cannot make one for processes")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_as_the_first_process_of_a_container_it_ends_with_0(number: signal.Signals) -> None:
    running = Running(before=NAMESPACE)
    unshare = running.process.pid
    [first] = Path(f"/proc/{unshare}/task/{unshare}/children").read_text("ascii").split()
    get(f"{running.url}/health").raise_for_status()
    # The kernel ignores a signal that the first process does not handle.
    os.kill(int(first), number)
    try:
        _, err = running.process.communicate(timeout=60)
    finally:
        running.process.kill()  # and with it all processes of the namespace

    assert (running.process.returncode, err) == (0, "")


def test_the_five_ids_are_there() -> None:
    core = Sandbox()
    ids = ids_in(welcome("http://127.0.0.1:1", FaultySandbox(core)).splitlines())

    assert len(ids) == 5
    assert set(ids) <= core.records.keys()


@pytest.mark.parametrize(
    ("platform", "lines"),
    [
        ("linux", {"unset THRIVE_API_SECRET", "unset THRIVE_CLIENT_ID THRIVE_CLIENT_SECRET THRIVE_SCOPES"}),
        ("win32", {"Remove-Item -ErrorAction Ignore Env:THRIVE_API_SECRET"}),
    ],
)
def test_the_settings_are_for_the_shell_of_the_system(platform: str, lines: set[str]) -> None:
    core = Sandbox()
    shown = welcome("http://127.0.0.1:1", FaultySandbox(core), platform).splitlines()
    assert lines <= {*shown}
    first = "export" if platform == "linux" else "$env:THRIVE_API_URL"
    assert any(line.startswith(first) for line in shown)


def ids_in(lines: list[str]) -> list[str]:
    return [line.rpartition(" ")[2] for line in lines if line.startswith("thrive activity get ")]


def test_it_serves_as_many_generated_records_as_asked_and_lets_others_arrive(tmp_path: Path) -> None:
    file = tmp_path / "mine.ndjson"
    file.write_text(json.dumps(RECORD) + "\n", encoding="utf-8")
    running = Running(
        *("--generate", "5000", "--records", str(file), "--arrivals", "3", "--late-arrivals", "2")
    )
    exported = running.exported()
    auth = (exported["THRIVE_TENANT_ID"], Sandbox().api_secret)
    url = exported["THRIVE_API_URL"]
    pages = [
        get(f"{url}/activities", params={"page": number, "perPage": 1000}, auth=auth).json()
        for number in range(1, 3)
    ]
    records = [get(f"{url}/activity/{record_id}", auth=auth).json() for record_id in ids_in(running.lines)]
    code, _, log = running.end()

    assert code == 0, log
    assert [page["pagination"]["totalResults"] for page in pages] == [5001, 5006]
    assert {record["id"] for record in pages[0]["results"]} & {record["id"] for record in pages[1]["results"]}
    assert [record["id"] for record in records] == ids_in(running.lines)
    assert (records[0], len(records)) == (RECORD, 5)
    assert "New records after each list request: 3 dated now, 2 with an earlier date" in running.lines


@pytest.mark.parametrize(
    ("options", "headers"),
    [
        ([], {"ratelimit-policy": '"default";q=2;w=200', "x-ratelimit-limit": None}),
        (["--rate-limit-headers", "x"], {"ratelimit-policy": None, "x-ratelimit-limit": "2"}),
    ],
    ids=["by default", "x"],
)
def test_requests_above_the_rate_limit_are_rejected(
    options: list[str], headers: dict[str, str | None]
) -> None:
    running = Running("--rate-limit", "0.01:2", *options)
    variables = running.exported()
    auth = (variables["THRIVE_TENANT_ID"], variables["THRIVE_API_SECRET"])
    got = [get(f"{variables['THRIVE_API_URL']}/activity/{ACTIVITY_ID}", auth=auth) for _ in range(3)]
    code, _, log = running.end()

    assert code == 0, log
    assert [response.status_code for response in got] == [200, 200, 429]
    assert {name: got[1].headers.get(name) for name in headers} == headers
    assert 0 < int(got[2].headers["retry-after"]) <= 100
    assert log.splitlines()[1:] == [
        f"GET /rest/v1/activity/{ACTIVITY_ID} 200",
        f"GET /rest/v1/activity/{ACTIVITY_ID} 429  rate limit",
    ]
    assert "Rate limit: 0.01 requests per second, at most 2 at once" in running.lines


def test_the_page_shows_the_headers_of_the_rate_limit() -> None:
    page = (ROOT / "docs/how-to/run-the-sandbox.md").read_text(encoding="utf-8")
    shown = dict(re.findall(r"`(RateLimit\S*): ([^`]+)`", page))
    [option] = re.findall(r"--rate-limit (\d+)\n", page)

    _, headers = SandboxRateLimit.parse(option).take(0.0)
    assert {name.lower(): value for name, value in shown.items()} == headers


def test_the_page_names_every_fault() -> None:
    page = (ROOT / "docs/how-to/run-the-sandbox.md").read_text(encoding="utf-8")
    faults = re.findall(r"^\| (`[^|]+`) \|", page.split("| Fault |")[1], re.MULTILINE)

    assert [name.replace("` to `", "…").strip("`") for name in faults] == list(KINDS)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (
            ["--fault", "flow"],
            "Invalid value for --fault: unknown fault 'flow'. Did you mean 'slow'? Use a status",
        ),
        (["--fault", "slow", "--fault", "429:3"], "429:3 would never occur"),
        (["--port", "65536"], "'65536' is not a whole number from 0 to 65535."),
        (["--port", "x"], "'x' is not a whole number from 0 to 65535."),
        (["--generate", "0"], "'0' is not a whole number from 1 to 9999999999."),
        (["--arrivals", "-1"], "'-1' is not a whole number of at least 0."),
        (["--late-arrivals", "x"], "'x' is not a whole number of at least 0."),
        (
            ["--rate-limit", "fast"],
            "Invalid value for --rate-limit: 'fast' is not a rate limit. Use",
        ),
        (["--rate-limit", "0"], "Invalid value for --rate-limit: per_second is 0.0. Choose a number from"),
        (["--rate-limit-headers", "x"], "--rate-limit-headers needs --rate-limit. Add --rate-limit"),
        (["--webhook-url", "http://127.0.0.1:1/"], "Webhooks are sent only for new records. Add --arrivals"),
        (
            ["--webhook-secret", "x", "--arrivals", "1"],
            "--webhook-secret needs --webhook-url",
        ),
        (["--webhook-url", "x", "--arrivals", "1"], "for --webhook-url: not a valid URL for webhooks"),
        (["--token-lifetime", "0"], "'0' is not a whole number of at least 1."),
        (["--client-auth", "jwt"], "'jwt' is not one of"),
        (["--records", "absent.ndjson"], "absent.ndjson"),
        (["--host", "256.256.256.256"], "cannot listen on 256.256.256.256, port 0"),
    ],
)
def test_invalid_options_are_reported(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, err = failing(*arguments, capsys=capsys)

    assert code == 2
    assert problem in err
    assert "Traceback" not in err


def test_a_line_that_is_not_a_record_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.ndjson"
    file.write_text(json.dumps(RECORD) + "\nnonsense\n", encoding="utf-8")
    code, err = failing("--records", str(file), capsys=capsys)

    assert code == 2
    assert f"{file}, line 2: this is not JSON" in err


def test_a_port_in_use_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, err = failing("--port", str(taken.getsockname()[1]), capsys=capsys)

    assert code == 2
    assert "ddress already in use" in err


@pytest.mark.parametrize("missing", ["starlette", "uvicorn", "yaml"])
def test_without_the_extra_it_says_what_to_install(
    missing: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = "thrive_learning.sandbox.server", "thrive_learning.sandbox.contract"
    with forgotten(*ours, missing), monkeypatch.context() as patch:
        patch.setitem(sys.modules, missing, None)
        code, err = failing(capsys=capsys)

    assert code == 2
    assert f"({missing}" in err
    assert "python3 -m pip install 'thrive-learning[sandbox]'" in err


def test_the_help_names_every_fault() -> None:
    named = re.findall(r"^  ([\w-]+(?: to \d+)?) {2,}", _EPILOG.split("Prefer: fault=...\n")[1], re.MULTILINE)

    assert [name.replace(" to ", "…") for name in named] == list(KINDS)


@pytest.fixture
def _no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the server respond to one request and stop."""

    def run(self: server.SandboxServer) -> None:
        sandbox = FaultySandbox(self.app.sandbox.sandbox)
        for request in (REQUEST, replace(REQUEST, headers={"prefer": "fault=cut"})):
            self.app._on_reply(request, sandbox.reply(request, now=0))
        self._socket.close()

    monkeypatch.setattr(server.SandboxServer, "run", run)


REQUEST = SandboxRequest("GET", f"/rest/v1/activity/{ACTIVITY_ID}", {})
EXAMPLES = re.findall(r"^  thrive (sandbox.*)$", _EPILOG, re.MULTILINE)


@pytest.mark.usefixtures("_no_wait")
@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_of_the_help_works(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "activities.ndjson").write_text(json.dumps(RECORD), encoding="utf-8")
    code = program.run(shlex.split(example.replace("--port 8000", "--port 0")))
    captured = capsys.readouterr()

    assert code == 0
    assert "export THRIVE_API_URL=http://127.0.0.1:" in captured.out
    assert ("thrive activity get ffffffffffffffffffffffff" in captured.out) == ("--records" in example)
    assert captured.err == f"GET {REQUEST.target} 401\nGET {REQUEST.target} 401  fault: cut\n"


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 6
    assert str(parse_fault(re.findall(r"Prefer: fault=(\w+)'", _EPILOG)[0])) == "503"
