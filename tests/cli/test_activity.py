"""`thrive activity get` with several IDs; a single ID is tested in test_program.py."""

import gzip
import io
import json
import re
import sys
import threading
import time
from typing import Any

import httpx
import pytest
import respx
from command import Call
from harness import ACTIVITY_ID, PAGE_EXAMPLE, page_response

OTHER_ID = "665d7d88b60b4b3a2c000002"
MISSING_ID = "0" * 24
URL = "https://public.api.learn.link/rest/v1/activity/"


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Any:
    def say(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    return say


def ids_of(out: str) -> list[str]:
    return [json.loads(line)["id"] for line in out.splitlines()]


def test_several_ids_are_lines_for_a_program(call: Call) -> None:
    code, out, err = call("activity", "get", OTHER_ID, ACTIVITY_ID, OTHER_ID, "--sandbox")
    assert (code, err) == (0, "")
    assert ids_of(out) == [OTHER_ID, ACTIVITY_ID, OTHER_ID]
    assert json.loads(out.splitlines()[1]) == PAGE_EXAMPLE


def test_several_ids_are_an_array_for_the_asking(call: Call) -> None:
    code, out, err = call("activity", "get", ACTIVITY_ID, OTHER_ID, "--sandbox", "-o", "json")
    assert (code, err) == (0, "")
    records = json.loads(out)
    assert [record["id"] for record in records] == [ACTIVITY_ID, OTHER_ID]
    assert out == json.dumps(records, ensure_ascii=False, indent=2) + "\n"


def test_several_ids_are_tables_for_people(call: Call, terminal: Call) -> None:
    one, other = (call("activity", "get", i, "--sandbox", "-o", "table").out for i in (ACTIVITY_ID, OTHER_ID))
    assert terminal("activity", "get", ACTIVITY_ID, OTHER_ID, "--sandbox").out == f"{one}\n{other}"


def test_one_id_can_be_a_line(call: Call) -> None:
    out = call("activity", "get", ACTIVITY_ID, "--sandbox", "-o", "ndjson").out
    assert (out.count("\n"), json.loads(out)) == (1, PAGE_EXAMPLE)


def test_ids_from_stdin(call: Call, stdin: Any) -> None:
    stdin(f"{ACTIVITY_ID}\r\n\n  {OTHER_ID} \n".encode())
    code, out, err = call("activity", "get", OTHER_ID, "-", "--sandbox")
    assert (code, ids_of(out), err) == (0, [OTHER_ID, ACTIVITY_ID, OTHER_ID], "")
    stdin(ACTIVITY_ID.encode())
    assert ids_of(call("activity", "get", "-", "--sandbox").out) == [ACTIVITY_ID]


@pytest.mark.parametrize("content", [b"", b"\n \r\n", b"\xef\xbb\xbf", gzip.compress(b"\n", mtime=0)])
def test_no_ids_on_stdin_are_an_error(call: Call, stdin: Any, content: bytes) -> None:
    for options, out in (((), ""), (("-o", "json"), "[]\n")):
        stdin(content)
        code, printed, err = call("activity", "get", "-", "--sandbox", *options)
        assert (code, printed) == (10, out)
        assert err == (
            "thrive: error: stdin contains no IDs. Check the file or the command that produces it.\n"
        )


def test_stdin_may_be_gzip_or_utf_16(call: Call, stdin: Any) -> None:
    for content in (gzip.compress(ACTIVITY_ID.encode()), f"\ufeff{ACTIVITY_ID}\r\n".encode("utf-16-le")):
        stdin(content)
        assert ids_of(call("activity", "get", "-", "--sandbox").out) == [ACTIVITY_ID]


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        ([MISSING_ID, "-"], "1 of 1 record is missing from the output"),
        ([MISSING_ID, ACTIVITY_ID], "1 of 2 records is missing from the output"),
        ([MISSING_ID, MISSING_ID], "2 of 2 records are missing from the output"),
    ],
)
def test_singular_and_plural_agree(call: Call, stdin: Any, ids: list[str], said: str) -> None:
    stdin(b"")
    assert call("activity", "get", *ids, "--sandbox").err.endswith(f"thrive: error: {said}\n")


def test_an_id_that_fails_does_not_stop_the_others(call: Call, stdin: Any) -> None:
    stdin(b"caf\xe9\x1b[31m\n" + OTHER_ID.encode())
    code, out, err = call("activity", "get", MISSING_ID, ACTIVITY_ID, "-", "--sandbox")
    assert ids_of(out) == [ACTIVITY_ID, OTHER_ID]
    assert code == 3  # that of the first failure
    lines = err.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("thrive: error: ") for line in lines)
    assert MISSING_ID in lines[0]
    assert "is not an activity ID" in lines[1]
    assert "\x1b" not in err
    assert lines[2] == "thrive: error: 2 of 4 records are missing from the output"


@pytest.mark.usefixtures("basic")
def test_several_ids_are_in_flight_at_once(call: Call) -> None:
    all_there = threading.Barrier(3)

    def answer(request: httpx.Request) -> httpx.Response:
        all_there.wait(60.0)
        return page_response(id=request.url.path.rpartition("/")[2])

    with respx.mock() as api:
        api.get(url__startswith=URL).mock(side_effect=answer)
        code, out, err = call("activity", "get", OTHER_ID, ACTIVITY_ID, MISSING_ID)
    assert (code, ids_of(out), err) == (0, [OTHER_ID, ACTIVITY_ID, MISSING_ID], "")


@pytest.mark.usefixtures("basic")
def test_verbose_reads_one_by_one(call: Call) -> None:
    here: list[httpx.Request] = []
    met: list[int] = []

    def answer(request: httpx.Request) -> httpx.Response:
        here.append(request)
        time.sleep(0.02)  # long enough for another request to arrive if there is one
        met.append(len(here))
        here.remove(request)
        return page_response(id=request.url.path.rpartition("/")[2])

    with respx.mock() as api:
        api.get(url__startswith=URL).mock(side_effect=answer)
        result = call("activity", "get", *(f"{number:024}" for number in range(4)), "-v")
    assert (result.code, len(ids_of(result.out)), met) == (0, 4, [1] * 4)


def test_a_record_does_not_wait_for_ids_that_come_later(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    class Conversation(io.BytesIO):
        """Writes each ID only after the previous record was printed, like a program that reads the output."""

        def read1(self, size: int | None = -1, /) -> bytes:  # noqa: ARG002 - io's signature
            shown: Any = sys.stdout
            printed.append(len(shown.getvalue().splitlines()))
            return self.readline()

    printed: list[int] = []
    lines = Conversation(f"{OTHER_ID}\n{ACTIVITY_ID}\n".encode())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(lines))
    assert ids_of(call("activity", "get", "-", "--sandbox").out) == [OTHER_ID, ACTIVITY_ID]
    assert printed == [0, 1, 2]


def test_ids_on_stdin_may_come_in_pieces(call: Call, stdin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thrive_learning._id_files.lines._CHUNK_BYTES", 10)
    stdin(f"{OTHER_ID}\n{ACTIVITY_ID}\n\n{OTHER_ID}".encode())
    assert ids_of(call("activity", "get", "-", "--sandbox").out) == [OTHER_ID, ACTIVITY_ID, OTHER_ID]


@pytest.mark.usefixtures("basic")
def test_credentials_that_are_refused_end_it_at_once(call: Call, stdin: Any) -> None:
    stdin(f"{OTHER_ID}\n{OTHER_ID}\n".encode())
    with respx.mock(assert_all_called=False) as api:
        api.get(URL + ACTIVITY_ID).mock(return_value=page_response())
        refused = api.get(URL + OTHER_ID).mock(
            return_value=httpx.Response(401, json={"status": 401, "message": "no"})
        )
        code, out, err = call("activity", "get", ACTIVITY_ID, "-", "-o", "json")
    assert (code, refused.call_count, err.count("\n")) == (4, 1, 1)
    assert [record["id"] for record in json.loads(out)] == [ACTIVITY_ID]  # still a complete array


@pytest.mark.usefixtures("oauth")
def test_an_invalid_token_response_ends_the_command_at_once(call: Call) -> None:
    with respx.mock() as api:
        api.post(url__regex=".*/token").mock(return_value=httpx.Response(200, text="<html>"))
        code, out, err = call("activity", "get", ACTIVITY_ID, OTHER_ID)
    assert (code, out, err.count("\n")) == (8, "", 1)


@pytest.mark.usefixtures("basic")
def test_verbose_logs_settings_and_attempts_but_no_secret(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thrive_learning._exchange.attempts.time.sleep", lambda _delay: None)
    with respx.mock() as api:
        api.get(URL + ACTIVITY_ID).mock(
            side_effect=[
                httpx.Response(503, headers={"x-request-id": "r-1"}),
                httpx.ConnectError("refused"),
                page_response(),
            ]
        )
        code, out, err = call("activity", "get", ACTIVITY_ID, "-v")
    assert (code, json.loads(out)) == (0, PAGE_EXAMPLE)
    lines = err.splitlines()
    assert lines[:3] == [
        "thrive: region: production (default)",
        "thrive: tenant_id: eu-west-2_AbcdEfghI (THRIVE_TENANT_ID)",
        "thrive: api_secret: ********** (THRIVE_API_SECRET)",
    ]
    attempt = r"thrive: attempt 1: status 503 after \d+\.\d+ s, request ID r-1; retrying in "
    assert re.match(attempt, lines[3])
    assert lines[4].startswith("thrive: attempt 2: ConnectionFailedError after ")
    assert lines[5].startswith("thrive: attempt 3: status 200 after ")
    assert len(lines) == 6
    assert "fake-api-secret" not in err


def test_one_id_that_fails_is_one_line(call: Call) -> None:
    for activity_id, expected in (("x", 2), (MISSING_ID, 3)):
        code, out, err = call("activity", "get", activity_id, "--sandbox", "-o", "json")
        assert (code, out, err.count("\n")) == (expected, "", 1)


@pytest.mark.usefixtures("basic")
@respx.mock
def test_a_large_record_is_read_if_asked(call: Call) -> None:
    large = PAGE_EXAMPLE | {"padding": "x" * 1024 * 1024}
    respx.get(URL + ACTIVITY_ID).mock(return_value=httpx.Response(200, json=large))
    command = ("activity", "get", ACTIVITY_ID, "-o", "json")
    code, out, err = call(*command)
    assert (code, out) == (8, "")
    assert "1048576 bytes; max_record_bytes= raises this limit (in commands: --max-body)" in err
    code, out, _ = call(*command, "--max-body", "2")
    assert (code, json.loads(out)) == (0, large)
