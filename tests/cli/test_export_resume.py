"""An export during a temporary failure of the server. --resume fetches all missing records."""

import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from command import Call
from export_server import record_of
from loopback_http import QuietHandler, serving_with

EXPORT = ("activity", "export", "ids.txt", "-o", "out.ndjson")
IDS = [f"{number:024x}" for number in range(1, 201)]
PAGE = "<html><body>Down for maintenance</body></html>"
GONE = json.dumps({"status": 404, "error": "not_found", "message": "no such activity"})
TOKEN = json.dumps({"access_token": "fake-token", "token_type": "Bearer", "expires_in": 3600})

#: The responses of a broken server: a status, the media type, and the body.
BROKEN = {
    "redirect": (302, "text/html", ""),
    "forbidden": (403, "text/html", PAGE),
    "method": (405, "text/html", PAGE),
    "page": (200, "text/html", PAGE),
    "gateway": (404, "application/json", '{"message": "Not Found"}'),
    "missing": (404, "text/html", PAGE),
}


class Api(NamedTuple):
    """A server whose API and token endpoint can be broken.

    Attributes:
        url: The URL of the server, with the API at `/rest/v1`.
        broken: The broken endpoints, with their responses.
        asked: How often each ID was requested from the API while it worked.
        sent: The requests, by "api" and "token".
    """

    url: str
    broken: dict[str, tuple[int, str, str]]
    asked: Counter[str]
    sent: Counter[str]


@contextmanager
def serving() -> Iterator[Api]:
    api = Api("", {}, Counter(), Counter())
    lock = threading.Lock()

    class Handler(QuietHandler):
        def post(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer("token", *api.broken.get("token", (200, "application/json", TOKEN)))

        def get(self) -> None:
            activity_id = self.path.rpartition("/")[2]
            if "api" in api.broken:
                self.answer("api", *api.broken["api"])
            elif not self.path.startswith("/rest/v1/activity/"):
                self.answer("api", 404, "application/json", GONE)  # the API does not know the path
            elif activity_id == IDS[0]:
                self.answer("api", 404, "application/json", GONE)
            else:
                with lock:
                    api.asked[activity_id] += 1
                self.answer("api", 200, "application/json", json.dumps(record_of(activity_id)))

        def answer(self, what: str, status: int, media: str, text: str) -> None:
            with lock:
                api.sent[what] += 1
            fields = "Location: /elsewhere\r\n" if status == 302 else ""
            self.respond(status, text.encode(), media, fields)

    with serving_with(Handler) as url:
        yield api._replace(url=url)


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    monkeypatch.chdir(tmp_path)
    Path("ids.txt").write_text("\n".join(IDS[1:]))
    with serving() as one:
        for name, value in {
            "THRIVE_REGION": "here",
            "THRIVE_API_URL": f"{one.url}/rest/v1",
            "THRIVE_TOKEN_URL": f"{one.url}/token/{{tenant_id}}",
            "THRIVE_WEBHOOKS_TOKEN_URL": f"{one.url}/webhooks/{{tenant_id}}",
            "THRIVE_TENANT_ID": "eu-west-2_AbcdEfghI",
            "THRIVE_CLIENT_SECRET": "fake-client-secret",
        }.items():
            monkeypatch.setenv(name, value)
        yield one


def asked_for() -> list[str]:
    lines = Path("out.ndjson").read_text(encoding="utf-8").splitlines()
    return sorted(json.loads(line)["data"]["asked"] for line in lines)


@pytest.mark.parametrize("answer", BROKEN)
@pytest.mark.parametrize("part", ["token", "api"])
def test_everything_is_fetched_once_the_server_works_again(
    call: Call, api: Api, part: str, answer: str
) -> None:
    api.broken[part] = BROKEN[answer]
    code, out, err = call(*EXPORT)
    assert (code != 0, out) == (True, "")
    assert "already in the output" not in err
    if Path("out.failures.ndjson").exists():
        failures = [json.loads(line) for line in Path("out.failures.ndjson").read_text().splitlines()]
        assert all(failure["retryable"] for failure in failures)
    del api.broken[part]
    code, out, err = call(*EXPORT, "--resume")
    assert (code, out) == (0, ""), err
    assert asked_for() == IDS[1:]
    assert "already in the output" not in err


@pytest.mark.parametrize("answer", BROKEN)
@pytest.mark.parametrize("part", ["token", "api"])
def test_an_export_ends_with_the_reason_if_nothing_would_work(
    call: Call, api: Api, part: str, answer: str
) -> None:
    Path("ids.txt").write_text("\n".join(IDS[1:3]))
    assert call(*EXPORT).code == 0
    Path("ids.txt").write_text("\n".join(IDS[1:]))
    api.sent.clear()
    api.broken[part] = BROKEN[answer]
    code, out, err = call(*EXPORT, "--resume")
    assert (code in {4, 6, 8}, out) == (True, ""), err
    assert api.sent[part] < 100  # it ends after a few failures
    assert "skipped 2 IDs: already in the output" in err
    said = err.splitlines()
    assert said[-1].startswith("thrive: error: ")  # the reason
    assert said[-2] == (
        "thrive: records so far are kept in out.ndjson. Run the same command with --resume to continue"
    )


def test_only_what_the_api_itself_does_not_have_is_final(call: Call, api: Api) -> None:
    Path("ids.txt").write_text("\n".join([*IDS[:3], "foo"]))
    assert call(*EXPORT).code == 9
    code, _, err = call(*EXPORT, "--resume")
    assert code == 9
    assert "skipped 2 IDs: already in the output" in err
    assert "skipped 2 IDs: failed permanently in an earlier run" in err
    assert re.search(r"^thrive:   1 NotFoundError: ", err, re.MULTILINE)
    assert re.search(r"^thrive:   1 InvalidIdError: 'foo' is not", err, re.MULTILINE)
    assert "these failures are final: --resume would not fetch them again" in err
    assert max(api.asked.values()) == 1


@pytest.mark.parametrize("path", ["/rest/v2", "", "/wrong"])
@pytest.mark.parametrize("answer", ["the API's own", *BROKEN])
def test_everything_is_fetched_with_a_corrected_url(
    call: Call, api: Api, monkeypatch: pytest.MonkeyPatch, path: str, answer: str
) -> None:
    monkeypatch.setenv("THRIVE_API_URL", f"{api.url}{path}")
    if answer in BROKEN:
        api.broken["api"] = BROKEN[answer]
    first = call(*EXPORT)
    assert first.code != 0
    api.broken.clear()
    monkeypatch.setenv("THRIVE_API_URL", f"{api.url}/rest/v1")
    code, _, err = call(*EXPORT, "--resume")
    assert code == 0, err
    assert asked_for() == IDS[1:]
    assert not Path("out.failures.ndjson").exists()


def test_records_stay_when_the_url_changes(call: Call, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("ids.txt").write_text("\n".join(IDS[1:3]))
    assert call(*EXPORT).code == 0
    Path("ids.txt").write_text("\n".join(IDS[1:5]))
    monkeypatch.setenv(
        "THRIVE_API_URL", f"{api.url}//rest/v1".replace("http://127.0.0.1", "http://localhost")
    )
    monkeypatch.setenv("THRIVE_API_URL", f"{api.url}/rest/v1")
    code, _, err = call(*EXPORT, "--resume")
    assert (code, "skipped 2 IDs: already in the output" in err) == (0, True)
    assert max(api.asked.values()) == 1


def test_an_export_that_could_not_begin_may_begin_again(call: Call, api: Api) -> None:
    """After wrong credentials, for example, the same command works without --resume or --force."""
    refusal: Any = (401, "application/json", '{"error": "invalid_client"}')
    api.broken["token"] = refusal
    code, _, err = call(*EXPORT)
    assert code == 4
    assert "safe" not in err
    assert sorted(path.name for path in Path().iterdir()) == ["ids.txt"]
    api.broken.clear()
    assert call(*EXPORT).code == 0
