import asyncio
import datetime as dt
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from conformance import valid
from harness import ACTIVITY_ID, ROOT

import thrive_learning.testing
from thrive_learning import (
    Activity,
    ActivityType,
    AsyncThriveClient,
    ClientCredentials,
    ConnectionFailedError,
    DeadlineExceededError,
    ForbiddenError,
    InvalidIdError,
    NotFoundError,
    RateLimitedError,
    Region,
    RetryPolicy,
    ServerError,
    ThriveClient,
    TokenError,
)
from thrive_learning.sandbox import SandboxRequest, parse_fault
from thrive_learning.testing import FakeClock, ServedSandbox, ThriveSandbox, make_activity
from thrive_learning.testing.plugin import pytest_runtest_call, started_server, unused_message

PLUGIN = "thrive_learning.testing.plugin"
ONCE = RetryPolicy(attempts=1)


# Records


def test_each_record_that_is_made_is_valid_and_like_no_other() -> None:
    first, second = make_activity(), make_activity()

    assert first.type is ActivityType.VIEWED
    for name in ("id", "user", "date", "context_id", "name"):
        assert getattr(first, name) != getattr(second, name)


def test_passed_values_are_kept() -> None:
    date = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    made = make_activity(id="f" * 24, type="new", date=date, user=None, data={"score": 1}, with_={"a": 1})

    assert (made.id, made.type, made.date, made.user) == ("f" * 24, "new", date, None)
    assert (made.data, made.with_) == ({"score": 1}, {"a": 1})


def test_invalid_ids_and_unknown_fields_are_rejected() -> None:
    with pytest.raises(InvalidIdError):
        make_activity(id="1")
    with pytest.raises(TypeError, match="typ"):
        make_activity(typ="viewed")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]


def test_a_record_that_is_added_is_read(thrive_sandbox: ThriveSandbox, thrive_client: ThriveClient) -> None:
    added = thrive_sandbox.add(type="completed", data={"score": 92})
    own = thrive_sandbox.add(make_activity(type="liked"))

    assert thrive_client.activities.get(added.id) == added
    assert thrive_client.activities.get(own.id) == own
    assert thrive_client.activities.get(ACTIVITY_ID).type == "viewed"
    request = SandboxRequest("GET", f"/rest/v1/activity/{own.id}", {})
    valid(request, thrive_sandbox.reply(request, now=0).response)


def test_a_record_takes_the_place_of_another(
    thrive_sandbox: ThriveSandbox, thrive_client: ThriveClient
) -> None:
    thrive_sandbox.add(id=ACTIVITY_ID.upper(), type="liked")
    assert thrive_client.activities.get(ACTIVITY_ID).type == "liked"
    thrive_sandbox.remove(ACTIVITY_ID.upper())
    with pytest.raises(NotFoundError):
        thrive_client.activities.get(ACTIVITY_ID)
    with pytest.raises(KeyError):
        thrive_sandbox.remove(ACTIVITY_ID)


def test_an_invalid_record_is_rejected(thrive_sandbox: ThriveSandbox) -> None:
    with pytest.raises(TypeError, match="not both"):
        thrive_sandbox.add(make_activity(), type="liked")
    with pytest.raises(InvalidIdError):
        thrive_sandbox.add(Activity(id="1"))


# Failures


def test_the_next_requests_fail(thrive_sandbox: ThriveSandbox, thrive_client: ThriveClient) -> None:
    thrive_sandbox.fail_next(503, times=2)
    assert thrive_client.activities.get_with_response(ACTIVITY_ID).attempts == 3
    thrive_sandbox.fail_next(429, times=3)
    with pytest.raises(RateLimitedError):
        thrive_client.activities.get(ACTIVITY_ID)
    thrive_sandbox.fail_next()
    with pytest.raises(ServerError):
        thrive_client.activities.get(ACTIVITY_ID, retry=ONCE)


def test_other_faults_have_names(thrive_sandbox: ThriveSandbox, thrive_client: ThriveClient) -> None:
    thrive_sandbox.fail_next("wrong-scope")
    with pytest.raises(ForbiddenError):
        thrive_client.activities.get(ACTIVITY_ID)
    thrive_sandbox.fail_next("cut")
    with pytest.raises(ConnectionFailedError):
        thrive_client.activities.get(ACTIVITY_ID, retry=ONCE)
    with pytest.raises(ValueError, match="unknown fault 'flow'"):
        thrive_sandbox.fail_next("flow")


def test_a_token_request_fails(thrive_sandbox: ThriveSandbox, thrive_client: ThriveClient) -> None:
    thrive_sandbox.fail_next(401, token=True)
    with pytest.raises(TokenError):
        thrive_client.activities.get(ACTIVITY_ID)


def test_a_slow_answer_takes_the_time_of_the_fake_clock(
    thrive_sandbox: ThriveSandbox, thrive_client: ThriveClient
) -> None:
    before = thrive_sandbox.clock()
    thrive_sandbox.fail_next("slow:20s")
    assert thrive_client.activities.get(ACTIVITY_ID).id == ACTIVITY_ID
    assert thrive_sandbox.clock() == before + 20
    thrive_sandbox.fail_next("slow:1h")
    with pytest.raises(DeadlineExceededError):
        thrive_client.activities.get(ACTIVITY_ID, retry=ONCE)


def test_the_same_in_async(thrive_sandbox: ThriveSandbox, async_thrive_client: AsyncThriveClient) -> None:
    async def service() -> int:
        thrive_sandbox.fail_next("slow:20s")
        thrive_sandbox.fail_next(503)
        await async_thrive_client.activities.get(ACTIVITY_ID)
        return (await async_thrive_client.activities.get_with_response(ACTIVITY_ID)).attempts

    assert asyncio.run(service()) == 2


# Tokens and time


def test_tokens_expire_when_the_clock_advances(
    thrive_sandbox: ThriveSandbox, thrive_client: ThriveClient
) -> None:
    thrive_client.activities.get(ACTIVITY_ID)
    thrive_sandbox.clock.advance(3599)
    thrive_client.activities.get(ACTIVITY_ID)
    assert len(thrive_sandbox.token_requests) == 1
    thrive_sandbox.clock.advance(1)
    thrive_client.activities.get(ACTIVITY_ID)
    assert len(thrive_sandbox.token_requests) == 2


def test_tokens_can_be_revoked_again_and_again(
    thrive_sandbox: ThriveSandbox, thrive_client: ThriveClient
) -> None:
    for number in (1, 2, 3):
        thrive_client.activities.get(ACTIVITY_ID)
        assert len(thrive_sandbox.token_requests) == number
        thrive_sandbox.revoke_tokens()


@pytest.mark.parametrize(
    ("client_auth", "statuses"), [("auto", [200]), ("post", [200]), ("basic", [400, 200])]
)
def test_it_accepts_one_authentication_method_on_request(
    thrive_sandbox: ThriveSandbox, client_auth: Any, statuses: list[int]
) -> None:
    thrive_sandbox.accept_client_auth(client_auth)
    with thrive_sandbox.client() as client:
        client.activities.get(ACTIVITY_ID)
    core = thrive_sandbox.sandbox
    auto = ClientCredentials(core.tenant_id, core.client_id, core.client_secret)
    with ThriveClient(thrive_sandbox.region, auto, transport=thrive_sandbox.transport()) as client:
        client.activities.get(ACTIVITY_ID)
    assert [request.status_code for request in thrive_sandbox.token_requests] == [200, *statuses]


def test_the_clock_stands_still() -> None:
    clock = FakeClock()

    assert clock() == clock()
    before = clock()
    clock.advance(1.5)
    assert clock() == before + 1.5


# The rate limit


def test_requests_above_the_rate_limit_are_rejected(thrive_sandbox: ThriveSandbox) -> None:
    thrive_sandbox.limit_rate(10, burst=2)
    with thrive_sandbox.client(retry=RetryPolicy(attempts=1)) as client:
        client.activities.get(ACTIVITY_ID)
        client.activities.get(ACTIVITY_ID)
        with pytest.raises(RateLimitedError) as caught:
            client.activities.get(ACTIVITY_ID)
        thrive_sandbox.clock.advance(0.1)
        client.activities.get(ACTIVITY_ID)
        thrive_sandbox.rate_limit = None
        client.activities.get(ACTIVITY_ID)

    assert caught.value.retry_after == 1
    assert [r.status_code for r in thrive_sandbox.activity_requests] == [200, 200, 429, 200, 200]
    with pytest.raises(ValueError, match="per_second is 0"):
        thrive_sandbox.limit_rate(0)


# Received requests


def test_requests_are_remembered(thrive_sandbox: ThriveSandbox, thrive_client: ThriveClient) -> None:
    thrive_sandbox.fail_next("429")
    thrive_client.activities.get(ACTIVITY_ID)

    token, throttled, read = thrive_sandbox.requests
    assert thrive_sandbox.token_requests == [token]
    assert thrive_sandbox.activity_requests == [throttled, read]
    assert (token.method, token.status_code, token.fault) == ("POST", 200, None)
    assert b"client_credentials" in token.body
    assert (throttled.status_code, str(throttled.fault)) == (429, "429:1")
    assert read.path == f"/rest/v1/activity/{ACTIVITY_ID}"
    assert read.headers["authorization"].startswith("Bearer ")
    assert "Bearer" not in repr(read)
    assert thrive_sandbox.sandbox.client_secret not in repr(token)


def test_clients_of_ones_own(thrive_sandbox: ThriveSandbox) -> None:
    with ThriveClient(
        Region.STAGING, thrive_sandbox.credentials, transport=thrive_sandbox.transport()
    ) as one:
        assert one.activities.get(ACTIVITY_ID).id == ACTIVITY_ID
    with thrive_sandbox.client(application="reports/1", retry=ONCE) as other:
        thrive_sandbox.fail_next(503)
        with pytest.raises(ServerError):
            other.activities.get(ACTIVITY_ID)

    assert thrive_sandbox.requests[-1].headers["user-agent"].startswith("reports/1 ")


# The server


def test_the_sandbox_on_a_port(thrive_server: ServedSandbox, thrive_sandbox: ThriveSandbox) -> None:
    added = thrive_server.sandbox.add()
    with ThriveClient(thrive_server.region, thrive_sandbox.credentials) as client:
        assert client.activities.get(added.id) == added
        thrive_sandbox.clock.advance(3600)
        assert client.activities.get(added.id) == added

    assert len(thrive_sandbox.token_requests) == 2
    assert thrive_server.environ["THRIVE_API_URL"].startswith(thrive_server.url)
    assert "not-a-secret" not in repr(thrive_server)


def test_the_next_test_has_a_sandbox_of_its_own(thrive_server: ServedSandbox) -> None:
    assert thrive_server.sandbox.requests == []
    with ThriveClient(thrive_server.region, thrive_server.sandbox.credentials) as client:
        client.activities.get(ACTIVITY_ID)
    assert len(thrive_server.sandbox.requests) == 2


# As a plugin


def run(folder: Path, test: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a test file with this package installed, and without other plugins except xdist."""
    (folder / "test_it.py").write_text(test, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
        "--rootdir=.",
    ]
    return subprocess.run(
        [*command, "-W", "error", "-p", PLUGIN, *options, "test_it.py"],
        cwd=folder,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_project_that_uses_none_of_it_loads_none_of_it(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
import sys
import tomllib

def test_it():
    heavy = {"httpx", "anyio", "attrs", "_thrive_learning_api", "starlette", "uvicorn"}
    assert not heavy & sys.modules.keys()
    ours = {name for name in sys.modules if name.startswith("thrive_learning")}
    assert ours == {
        "thrive_learning",
        "thrive_learning._version",
        "thrive_learning.testing",
        "thrive_learning.testing.plugin",
    }
""",
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_works_with_xdist(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
import pytest

@pytest.mark.parametrize("number", range(8))
def test_it(number, thrive_server, thrive_client, thrive_sandbox):
    added = thrive_sandbox.add(name=str(number))
    assert thrive_client.activities.get(added.id).name == str(number)
    assert len(thrive_sandbox.requests) == 2
""",
        *("-p", "xdist", "-n", "2"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 passed" in done.stdout


def test_it_needs_no_network(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
def test_it(thrive_client, thrive_sandbox):
    assert thrive_client.activities.get(thrive_sandbox.add().id)
""",
        *("-p", "pytest_socket", "--disable-socket"),
    )
    assert done.returncode == 0, done.stdout + done.stderr


UNUSED = """
import pytest, threading, unittest
from thrive_learning import NotFoundError

def test_unused(thrive_sandbox):
    thrive_sandbox.fail_next(503)

def test_too_late(thrive_client, thrive_sandbox):
    thrive_client.activities.get(thrive_sandbox.add().id)
    thrive_sandbox.fail_next("slow:2s")

def test_another_client(thrive_sandbox):
    from thrive_learning import ThriveClient
    thrive_sandbox.fail_next(503)
    with ThriveClient.sandbox() as client:
        client.activities.get("60d5ec49b60b4b3a2c8f9a10")

def test_no_token_was_needed(thrive_client, thrive_sandbox):
    thrive_client.activities.get(thrive_sandbox.add().id)
    thrive_sandbox.fail_next(401, token=True)
    thrive_client.activities.get(thrive_sandbox.add().id)

def test_the_second_is_unused(thrive_client, thrive_sandbox):
    thrive_sandbox.fail_next(503)
    thrive_sandbox.fail_next(503)
    with pytest.raises(Exception):
        thrive_client.activities.get(thrive_sandbox.add().id, retry=None, timeout=None)
        raise NotFoundError("m", status_code=404)
    thrive_sandbox.fail_next(504)

def test_over_http(thrive_server):
    thrive_server.sandbox.fail_next(503)

@pytest.fixture
def broken(thrive_sandbox):
    thrive_sandbox.fail_next(503)

@pytest.mark.usefixtures("broken")
def test_asked_by_a_fixture():
    pass

class TestCase(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def _sandbox(self, thrive_sandbox):
        self.sandbox = thrive_sandbox

    def test_in_a_class(self):
        self.sandbox.fail_next(503)
"""
USED = """
import pytest, unittest

def test_used(thrive_client, thrive_sandbox):
    thrive_sandbox.fail_next(503, times=2)
    thrive_client.activities.get(thrive_sandbox.add().id)

def test_used_at_least_once(thrive_client, thrive_sandbox):
    thrive_sandbox.fail_next(503, times=1000)
    with pytest.raises(Exception):
        thrive_client.activities.get(thrive_sandbox.add().id)

def test_one_kind_of_request_met_it(thrive_client, thrive_sandbox):
    thrive_client.activities.get(thrive_sandbox.add().id)
    thrive_sandbox.fail_next("clock-skew:1s")
    thrive_client.activities.get(thrive_sandbox.add().id)

def test_used_and_forgotten(thrive_client, thrive_sandbox):
    thrive_sandbox.fail_next(503)
    thrive_client.activities.get(thrive_sandbox.add().id)
    thrive_sandbox.requests.clear()

def test_dropped(thrive_sandbox):
    thrive_sandbox.fail_next(503)
    thrive_sandbox.script.clear()

def test_skipped(thrive_sandbox):
    thrive_sandbox.fail_next(503)
    pytest.skip("for another reason")

@pytest.mark.xfail(reason="known", strict=True)
def test_known_to_fail(thrive_sandbox):
    thrive_sandbox.fail_next(503)
    assert 0
"""


def test_a_fault_that_no_request_met_fails_its_test(tmp_path: Path) -> None:
    done = run(tmp_path, UNUSED, COLUMNS="400")

    failed = re.findall(
        r"^FAILED test_it\.py::(?:TestCase::)?(\w+) - (?:Failed: )?(.+)$", done.stdout, re.MULTILINE
    )
    assert len(failed) == UNUSED.count("def test_")
    assert done.stdout.splitlines()[-1].startswith("8 failed in ")
    said = dict(failed)
    assert said["test_unused"] == (
        "fail_next('503') had no effect, because no such request reached thrive_sandbox after it. "
        "Check that the code under test uses a client of this sandbox, or remove the fault with "
        "thrive_sandbox.script.clear()."
    )
    assert said["test_no_token_was_needed"].startswith(
        "fail_next('401', token=True) had no effect, because no token request reached thrive_sandbox "
        "after it. Call revoke_tokens() first"
    )
    assert said["test_the_second_is_unused"].startswith("fail_next('504') had no effect")


def test_a_fault_that_was_used_or_dropped_fails_nothing(tmp_path: Path) -> None:
    done = run(tmp_path, USED)

    assert done.stdout.splitlines()[-1].startswith("5 passed, 1 skipped, 1 xfailed in "), done.stdout


def test_the_failure_of_a_test_is_not_hidden(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
def test_it(thrive_sandbox):
    thrive_sandbox.fail_next(503)
    assert "mine" == "yours"
""",
    )

    assert "assert 'mine' == 'yours'" in done.stdout
    assert "had no effect" not in done.stdout
    assert done.stdout.splitlines()[-1].startswith("1 failed in ")


def test_unused_faults_can_be_listed() -> None:
    sandbox = ThriveSandbox()
    sandbox.fail_next(503, times=2)
    sandbox.fail_next(401, token=True)
    assert [str(fault) for fault in sandbox.unused_faults] == ["503:2", "401:1:token"]
    with sandbox.client(retry=ONCE) as client, pytest.raises(TokenError):
        client.activities.get(ACTIVITY_ID)
    assert [str(fault) for fault in sandbox.unused_faults] == ["503:2"]


def test_the_end_of_a_test_looks_for_unused_faults(
    request: pytest.FixtureRequest, thrive_sandbox: ThriveSandbox
) -> None:
    def end() -> object:
        call = pytest_runtest_call(request.node)
        next(call)
        with pytest.raises(StopIteration) as ended:
            call.send("result")
        return ended.value.value

    assert end() == "result"
    thrive_sandbox.fail_next(503)
    with pytest.raises(pytest.fail.Exception, match="had no effect"):
        end()
    thrive_sandbox.script.clear()
    assert end() == "result"


def test_unused_faults_are_reported() -> None:
    assert unused_message([parse_fault("503:1"), parse_fault("401:1:token")]).startswith(
        "fail_next('503'), fail_next('401', token=True) had no effect, because no such request reached"
    )
    assert "no token request reached" in unused_message([parse_fault("401:1:token")])


def test_without_its_extra_the_server_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "uvicorn.py").write_text("raise ImportError(name='uvicorn')", encoding="utf-8")
    done = run(
        tmp_path,
        "def test_it(thrive_server): ...\n",
        PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path]),
    )
    assert done.returncode == 1
    assert "thrive_server needs the extra 'sandbox' (uvicorn is not installed)" in done.stdout
    assert "python3 -m pip install 'thrive-learning[sandbox]'" in done.stdout


def test_without_its_extra_there_is_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "thrive_learning.sandbox.server", None)
    with pytest.raises(pytest.fail.Exception, match=r"needs the extra 'sandbox' \(thrive"):
        started_server()


def test_the_entry_point_names_the_plugin() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert project["entry-points"]["pytest11"] == {"thrive_learning": PLUGIN}


def test_exports_match_the_module() -> None:
    assert thrive_learning.testing.__all__ == sorted(thrive_learning.testing.__all__)
    assert dir(thrive_learning.testing) == thrive_learning.testing.__all__
    for name in thrive_learning.testing.__all__:
        assert getattr(thrive_learning.testing, name).__name__ == name
        assert getattr(thrive_learning.testing, name).__doc__
    with pytest.raises(AttributeError, match="has no attribute 'ThriveSandBox'"):
        thrive_learning.testing.ThriveSandBox  # noqa: B018
