"""No secret and no token shows when a connection of either engine fails, or a server repeats the request."""

import pytest
from harness import ACTIVITY_ID, Flavour, Kept
from test_secrets import CREDENTIALS, FORMS, searched

from faults import chaos
from faults.chaos import Answer, Chaos, Line, Trouble
from faults.test_faults import ONCE, region
from thrive_learning import ThriveError


@pytest.mark.parametrize("fault", ["reset_after_reading", "silence", "echo"])
@pytest.mark.parametrize("kind", CREDENTIALS)
def test_no_secret_shows(flavour: Flavour, kept: Kept, fault: str, kind: str) -> None:
    def echo(line: Line, _answer: Answer) -> None:
        request = repr(server.requests[-1].headers).encode()
        line.send(b"HTTP/1.1 400 Said\r\ncontent-length: %d\r\n\r\n" % len(request) + request)

    shown: list[str] = []
    with Chaos() as server:
        server.plan(Trouble(echo if fault == "echo" else getattr(chaos, fault)))
        with flavour.open(region(server, server), CREDENTIALS[kind], timeout=0.3, retry=ONCE) as client:
            with pytest.raises(ThriveError) as caught:
                client.activities.get(ACTIVITY_ID)
            shown += [*searched(caught.value), repr(client)]
    assert not [(form, text) for form in FORMS for text in [*shown, *kept.texts()] if form in text]
