"""The page at `/` in a real browser shows the contract and sends requests only to the sandbox.

`THRIVE_SCREENSHOT=docs/images/sandbox.png` saves a screenshot, and `THRIVE_SCREENSHOTS=FOLDER` one for
each theme and size.
"""

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from harness import ACTIVITY_ID

from thrive_learning.sandbox import FaultScript, FaultySandbox, Sandbox
from thrive_learning.sandbox.faults import KINDS
from thrive_learning.sandbox.server import SandboxApp, SandboxServer

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
BASH = shutil.which("bash")  # another shell may redirect file descriptors below 10 only
PATIENCE_S = 60
# Read before the tests, which see no variable of this kind.
SCREENSHOT, SCREENSHOTS = os.environ.get("THRIVE_SCREENSHOT"), os.environ.get("THRIVE_SCREENSHOTS")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None or BASH is None,
    reason="NO BROWSER: the sandbox's page is not checked. Install Chromium.",
)


class Browser:
    """Headless Chromium, controlled through a pipe.

    Source:
        https://chromedevtools.github.io/devtools-protocol/
    """

    def __init__(self, home: Path) -> None:
        from_us, self._write = os.pipe()
        self._read, to_us = os.pipe()
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--disable-dev-shm-usage",
        ]
        options += ["--remote-debugging-pipe", f"--user-data-dir={home}", "--window-size=1100,1250"]

        # The browser reads from file descriptor 3 and writes to 4.
        redirected = f'exec "$0" "$@" 3<&{from_us} 4>&{to_us}'
        self._process = subprocess.Popen(
            [str(BASH), "-c", redirected, str(CHROMIUM), *options, "about:blank"],
            pass_fds=(from_us, to_us),
            env=os.environ | {"HOME": str(home), "XDG_CONFIG_HOME": str(home), "XDG_CACHE_HOME": str(home)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(from_us)
        os.close(to_us)
        self._buffer = b""
        self._number = 0
        self.requested: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Network.enable")

    _session: str | None = None

    def call(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("method") == "Network.requestWillBeSent":
                self.requested.append(answer["params"]["request"]["url"])
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _next(self) -> Any:
        while b"\0" not in self._buffer:
            received = os.read(self._read, 1 << 20)
            assert received, "the browser is gone"
            self._buffer += received
        line, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(line)

    def value(self, expression: str) -> Any:
        """Evaluate JavaScript until it returns a value."""
        end = time.monotonic() + PATIENCE_S
        while True:
            result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"]
            if result.get("value"):
                return result["value"]
            assert time.monotonic() < end, f"not there: {expression}"
            time.sleep(0.05)

    def close(self) -> None:
        self._session = None
        self.call("Browser.close")
        self._process.wait(PATIENCE_S)
        os.close(self._write)
        os.close(self._read)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    browser = Browser(tmp_path)
    yield browser
    browser.close()


def execute(browser: Browser, operation_id: str) -> tuple[str, Any]:
    """Send the request of an operation as the page has prepared it, and return its status and body."""
    block = f"document.querySelector('#operations-activity-{operation_id}"
    browser.value(f"({block} button.execute').click(), true)")
    cells = f"{block} .live-responses-table tbody .response-col_"
    status = browser.value(f"{cells}status')?.innerText")
    return status, json.loads(browser.value(f"{cells}description pre')?.innerText"))


def test_the_page_asks_the_sandbox_and_nobody_else(browser: Browser) -> None:
    with SandboxServer(SandboxApp(FaultySandbox(Sandbox()))) as server:
        browser.call("Page.navigate", url=f"{server.url}/")
        assert browser.value("document.querySelector('input[placeholder=id]')?.value") == ACTIVITY_ID
        browser.value("document.querySelector('.btn.authorize.locked') !== null")
        listed, page = execute(browser, "listActivities")
        status, record = execute(browser, "getActivity")
        if place := SCREENSHOT:
            operation = "document.querySelector('#operations-activity-getActivity .opblock-summary')"
            browser.value(f"({operation}.scrollIntoView(), true)")
            image = browser.call("Page.captureScreenshot", format="png")["data"]
            Path(place).write_bytes(base64.b64decode(image))

    assert status.startswith("200")
    assert record["id"] == ACTIVITY_ID
    assert listed.startswith("200")
    assert page["pagination"] == {"totalResults": 35, "totalPages": 2, "page": 1, "perPage": 20}
    hosts = {httpx.URL(url).netloc.decode() for url in browser.requested if not url.startswith("data:")}
    assert hosts == {server.url.removeprefix("http://")}


# The appearance of the page, by the browser's theme and size.
BACKGROUND = "getComputedStyle(document.documentElement).backgroundColor"
DARK = "rgb(28, 32, 34)"  # of swagger-ui.css


@pytest.mark.parametrize(("width", "height"), [(1100, 1250), (390, 844)], ids=["desktop", "phone"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_says_what_it_is_in_each_theme_and_size(
    browser: Browser, theme: str, width: int, height: int
) -> None:
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
    browser.call(
        "Emulation.setDeviceMetricsOverride",
        width=width,
        height=height,
        deviceScaleFactor=1,
        mobile=width < 800,
    )
    hostile = {"f" * 24: {"id": "f" * 24, "type": "<b onclick=x>viewed</b>"}}
    app = SandboxApp(FaultySandbox(Sandbox().with_records(hostile), FaultScript(["429:3"])))
    with SandboxServer(app) as server:
        browser.call("Page.navigate", url=f"{server.url}/")
        browser.value("document.querySelector('#records tbody tr') !== null")
        assert browser.value("document.querySelector('.swagger-ui .opblock') !== null")
        notice = browser.value("document.querySelector('.notice').innerText")
        records = browser.value("document.querySelector('#records').innerText")
        browser.value("(document.querySelector('#faults').open = true, true)")
        faults = browser.value("document.querySelector('#faults').innerText")
        background = browser.value(BACKGROUND)
        overflow = browser.value("document.documentElement.scrollWidth")
        if place := SCREENSHOTS:
            image = browser.call("Page.captureScreenshot", format="png")["data"]
            Path(place, f"{theme}-{width}.png").write_bytes(base64.b64decode(image))

        assert (background == DARK) == (theme == "dark")
        browser.call(
            "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}]
        )
        assert browser.value(f"{BACKGROUND} === '{DARK}'")

    assert "fake API" in notice
    assert ACTIVITY_ID in records
    assert "<b onclick=x>viewed</b>" in records
    assert all(name in faults for name in KINDS)
    assert "requests meet the faults that --fault gave: 429:3." in faults
    assert overflow <= width
