"""HTTP/1.1 by llhttp: what is written, and that what is read is what h11 reads."""

from typing import Any

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thrive_learning._http.port import Origin, Request, TransportError
from thrive_learning._http_fast import http11
from thrive_learning._http_fast.http11 import RequestWriter, ResponseReader

OK = b"HTTP/1.1 200 OK\r\n"
#: Status, headers, body.
Response = tuple[int, list[tuple[bytes, bytes]], bytes]


def ours(pieces: list[bytes]) -> Response | str:
    """Read a response that comes in pieces and then ends; give it, or how far one gets."""
    reader = ResponseReader()
    coming = [*pieces, b""]
    body = b""
    try:
        while reader.status is None:
            reader.check()
            reader.feed(coming.pop(0))
        body += reader.take()
        while not reader.is_complete:
            reader.check()
            reader.feed(coming.pop(0))
            body += reader.take()
    except TransportError:
        return "no response" if reader.status is None else f"{reader.status}, cut"
    return reader.status, [(name.lower(), value) for name, value in reader.headers], body


def by_h11(pieces: list[bytes]) -> Response | str:
    """Do the same with h11."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    coming = [*pieces, b""]
    head: Any = None
    body = b""
    try:
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(coming.pop(0))
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)):
                break
    except h11.RemoteProtocolError:
        return "no response" if head is None else f"{head.status_code}, cut"
    return head.status_code, list(head.headers), body


LENGTH_2 = b"content-length: 2\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"
SAME: dict[str, bytes] = {
    "a length": OK + LENGTH_2 + b"\r\n{}",
    "a length that is missed": OK + b"content-length: 3\r\n\r\n{}",
    "until the end": OK + b"\r\n{}",
    "nothing at all": b"",
    "a head that ends early": OK + b"a: b",
    "lines without a carriage return": b"HTTP/1.1 200 OK\ncontent-length: 2\n\n{}",
    "a value that goes on in the next line": OK + b"a: b\r\n c\r\n" + LENGTH_2 + b"\r\n{}",
    "blanks around values": OK + b"a:   b  \t\r\ncontent-length: 2 \r\n\r\n{}",
    "empty values": OK + b"a:\r\nb: \r\n" + LENGTH_2 + b"\r\n{}",
    "two lengths": OK + LENGTH_2 + b"content-length: 3\r\n\r\n{}",
    "a length with a sign": OK + b"content-length: +2\r\n\r\n{}",
    "a length without end": OK + b"content-length: 99999999999999999999999\r\n\r\n{}",
    "a length and chunks": OK + LENGTH_2 + CHUNKED + b"\r\n3\r\n{ }\r\n0\r\n\r\n",
    "another coding and chunks": OK + b"transfer-encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "another coding": OK + b"transfer-encoding: gzip\r\n\r\n{}",
    "two codings": OK + CHUNKED + CHUNKED + b"\r\n2\r\n{}\r\n0\r\n\r\n",
    "a name in capitals": OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "a tab behind a coding": OK + b"transfer-encoding: chunked\t\r\n\r\n2;a=b\r\n{}\r\n0\r\n\r\n",
    "a tab and a blank behind a coding": OK + b"transfer-encoding:\tchunked \t \r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "a tab behind a coding, and a length": OK + LENGTH_2 + CHUNKED[:-2] + b"\t\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "a tab behind a coding, and not chunks": OK + CHUNKED[:-2] + b"\t\r\n\r\n{}",
    "a tab behind a coding, and chunks that end early": OK + CHUNKED[:-2] + b"\t\r\n\r\n2\r\n{}\r\n",
    "a tab behind another coding": OK + b"transfer-encoding: gzip\t\r\n\r\n{}",
    "chunks in HTTP/1.0": b"HTTP/1.0 200 OK\r\n" + CHUNKED + b"\r\n2\r\n{}\r\n0\r\n\r\n",
    "chunks with extensions": OK + CHUNKED + b"\r\n2;a=b\r\n{}\r\n0\r\n\r\n",
    "blanks behind the size of a chunk": OK + CHUNKED + b"\r\n2 \r\n{}\r\n0\r\n\r\n",
    "a chunk that is longer than said": OK + CHUNKED + b"\r\n2\r\n{}xx0\r\n\r\n",
    "a chunk of no size": OK + CHUNKED + b"\r\n2\r\n{}\r\nx\r\n\r\n",
    "chunks that end early": OK + CHUNKED + b"\r\n2\r\n{}\r\n",
    "trailers": OK + CHUNKED + b"\r\n2\r\n{}\r\n0\r\nx: y\r\n\r\n",
    "a status of five digits": b"HTTP/1.1 20000 OK\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "a status below all": b"HTTP/1.1 099 OK\r\n\r\n",
    "a status above all": b"HTTP/1.1 999 OK\r\n" + LENGTH_2 + b"\r\n{}",
    "no reason": b"HTTP/1.1 200\r\n" + LENGTH_2 + b"\r\n{}",
    "a reason of any bytes": b"HTTP/1.1 200 O\xe9\x01\r\n" + LENGTH_2 + b"\r\n{}",
    "HTTP/2": b"HTTP/2 200\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "a control character in a value": OK + b"a: b\x01c\r\n" + LENGTH_2 + b"\r\n{}",
    "a null in a value": OK + b"a: b\x00c\r\n" + LENGTH_2 + b"\r\n{}",
    "a form feed in a value": OK + b"a: b\x0cc\r\n" + LENGTH_2 + b"\r\n{}",
    "any other byte in a value": OK + b"a: b\xff\xe9c\r\n" + LENGTH_2 + b"\r\n{}",
    "a blank in a name": OK + b"a b: c\r\n" + LENGTH_2 + b"\r\n{}",
    "a blank behind a name": OK + b"a : c\r\n" + LENGTH_2 + b"\r\n{}",
    "no colon": OK + b"abc\r\n" + LENGTH_2 + b"\r\n{}",
    "no name": OK + b": c\r\n" + LENGTH_2 + b"\r\n{}",
    "a refused head before a good one": b"HTTP/1.1 099 X\r\ncontent-length: 1\r\n\r\n "
    + OK
    + LENGTH_2
    + b"\r\n{}",
    "another coding before a good one": OK + b"transfer-encoding: x\r\n\r\n" + OK + LENGTH_2 + b"\r\n{}",
    "a blank behind the name of a length": OK + b"content-length : 10\r\n\r\n{}",
    "a blank behind the name of a coding": OK + b"transfer-encoding : chunked\r\n\r\n2\r\n{}\r\n",
    "a blank behind the name of another coding": OK + b"transfer-encoding : gzip\r\n\r\n{}",
    "announced": b"HTTP/1.1 103 Hints\r\na: b\r\n\r\nHTTP/1.1 100 Go\r\n\r\n" + OK + LENGTH_2 + b"\r\n{}",
    "another protocol offered": b"HTTP/1.1 101 S\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nabc",
    "another protocol offered in passing": b"HTTP/1.1 101 S\r\n\r\nabc",
    "no content": b"HTTP/1.1 204 No\r\n" + LENGTH_2 + b"\r\n",
    "not modified": b"HTTP/1.1 304 No\r\n" + LENGTH_2 + b"\r\n",
    "more than was asked for": OK + LENGTH_2 + b"\r\n{}HTTP/1.1 201 OK\r\na: b\r\n\r\n[]",
    "garbage behind it": OK + LENGTH_2 + b"\r\n{}\x00\x00",
    "garbage behind the last": OK + b"connection: close\r\n" + LENGTH_2 + b"\r\n{}xx",
}


@pytest.mark.parametrize("name", SAME)
def test_a_response_is_what_h11_takes_it_for(name: str) -> None:
    raw = SAME[name]
    assert ours([raw]) == by_h11([raw])
    single = [raw[i : i + 1] for i in range(len(raw))]
    assert ours(single) == by_h11(single)


def test_a_coding_may_be_in_capitals() -> None:
    headers = [(b"transfer-encoding", b"CHUNKED")]
    assert ours([OK + CHUNKED.upper() + b"\r\n2\r\n{}\r\n0\r\n\r\n"]) == (200, headers, b"{}")


@given(st.sampled_from(list(SAME.values())), st.data())
def test_how_it_is_cut_into_pieces_makes_no_difference(raw: bytes, data: st.DataObject) -> None:
    places = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=5)))
    pieces = [raw[start:end] for start, end in zip([0, *places], [*places, len(raw)], strict=True)]
    assert ours([piece for piece in pieces if piece]) == ours([raw])


@pytest.mark.parametrize(
    ("name", "raw", "outcome"),
    [
        ("a length said twice", OK + LENGTH_2 + LENGTH_2 + b"\r\n{}", "no response"),
        ("a length said twice in one", OK + b"content-length: 2, 2\r\n\r\n{}", "no response"),
        ("an empty line before it", b"\r\n" + OK + LENGTH_2 + b"\r\n{}", (200, [], b"{}")),
    ],
)
def test_where_h11_takes_it_for_something_else(name: str, raw: bytes, outcome: Any) -> None:
    """Decision 0033 lists them: a new llhttp that reads them otherwise must fail here."""
    assert by_h11([raw]) != ours([raw]), name
    if isinstance(outcome, tuple):
        outcome = (outcome[0], [(b"content-length", b"2")], outcome[2])
    assert ours([raw]) == outcome


@pytest.mark.parametrize(
    ("raw", "may_go_on", "has_surplus"),
    [
        (SAME["a length"], True, False),
        (SAME["chunks with extensions"], True, False),
        (SAME["trailers"], True, False),
        (SAME["no content"], True, False),
        (SAME["announced"], True, False),
        (SAME["a tab behind a coding"], False, False),
        (OK + b"connection: close\r\n" + LENGTH_2 + b"\r\n{}", False, False),
        (b"HTTP/1.0 200 OK\r\n" + LENGTH_2 + b"\r\n{}", False, False),
        (SAME["more than was asked for"], True, True),
        (SAME["garbage behind it"], True, True),
        (SAME["garbage behind the last"], False, True),
        (SAME["a length"] + b"HTTP/1.1 100 Go\r\n\r\n", True, True),
    ],
)
def test_whether_the_connection_can_go_on(raw: bytes, *, may_go_on: bool, has_surplus: bool) -> None:
    reader = ResponseReader()
    reader.feed(raw)
    assert reader.is_complete
    assert (reader.may_go_on, reader.has_surplus) == (may_go_on, has_surplus)
    if may_go_on and not has_surplus:
        reader.begin()
        assert (reader.status, reader.headers, reader.take()) == (None, [], b"")
        reader.feed(SAME["a length"])
        assert (reader.status, reader.take(), reader.may_go_on) == (200, b"{}", True)


def test_a_response_to_head_has_no_body() -> None:
    reader = ResponseReader()
    reader.begin(has_body=False)
    reader.feed(b"HTTP/1.1 100 Go\r\n\r\n" + OK + LENGTH_2)
    assert not reader.is_complete
    reader.feed(b"\r\n")
    assert (reader.status, reader.is_complete, reader.take(), reader.may_go_on) == (200, True, b"", False)
    reader.feed(b"{}")  # as some servers do
    assert (reader.take(), reader.flaw, reader.may_go_on) == (b"", None, False)


def test_a_connection_that_ended_is_not_reused() -> None:
    reader = ResponseReader()
    reader.feed(SAME["until the end"])
    reader.feed(b"")
    assert (reader.is_complete, reader.may_go_on) == (True, False)


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (OK, b"a: b\r\n" * 100),
        (OK, b"a" * 600),
        (OK + CHUNKED + b"\r\n", b"0" * 600),
        (OK + CHUNKED + b"\r\n0\r\n", b"a: b\r\n" * 100),
    ],
    ids=["headers", "a header", "the size of a chunk", "trailers"],
)
def test_an_endless_response_is_not_read_forever(start: bytes, more: bytes) -> None:
    reader = ResponseReader()
    reader.feed(start)
    fed = len(start)
    while reader.flaw is None:
        reader.feed(more)
        fed += len(more)
        assert fed < 110_000
    assert fed > 100_000 or more == b"0" * 600  # llhttp rejects the number
    with pytest.raises(TransportError):
        reader.check()


def test_announcements_and_bodies_may_be_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http11, "_MAX_HEAD_BYTES", 100)
    reader = ResponseReader()
    for _ in range(20):
        reader.feed(b"HTTP/1.1 100 Go\r\n\r\n")
    reader.feed(OK + CHUNKED[:-2])
    reader.feed(b"\r\n\r\n")
    for _ in range(20):
        reader.feed(b"2\r\n{}\r\n")
        assert reader.take() == b"{}"
    reader.feed(b"0\r\n\r\n")
    assert (reader.flaw, reader.is_complete, reader.take()) == (None, True, b"")


def test_the_first_flaw_counts() -> None:
    reader = ResponseReader()
    reader.feed(OK + b"transfer-encoding: gzip\r\n\r\n")
    reader.feed(b"x" * 200_000)
    with pytest.raises(TransportError, match="Only Transfer-Encoding: chunked is supported"):
        reader.check()


@pytest.mark.parametrize("kind", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize(
    "callback",
    ["on_message_begin", "on_status", "on_header", "on_headers_complete", "on_body", "on_message_complete"],
)
def test_an_interruption_is_not_lost(
    monkeypatch: pytest.MonkeyPatch, callback: str, kind: type[BaseException]
) -> None:
    """httptools catches what a signal handler raises while the parser calls back."""

    def interrupted(*_arguments: object) -> None:
        raise kind

    monkeypatch.setattr(ResponseReader, callback, interrupted)
    with pytest.raises(kind):
        ResponseReader().feed(SAME["a length"])


HEADERS = ((b"Host", b"a.example"), (b"X-Empty", b""), (b"X", b"a b"))
ORIGIN = Origin("https", "a.example", 443)


def test_a_request_is_written_as_it_is() -> None:
    writer = RequestWriter()
    for body in (b"", b"abc"):
        assert writer.write(Request("GET", ORIGIN, b"/x?y=%20", HEADERS, body)) == (
            b"GET /x?y=%20 HTTP/1.1\r\nHost: a.example\r\nX-Empty: \r\nX: a b\r\n\r\n" + body
        )
    assert b"\r\nY: z\r\n\r\n" in writer.write(Request("GET", ORIGIN, b"/", [(b"X", b"x"), (b"Y", b"z")]))


def test_the_same_headers_are_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = RequestWriter()
    first = writer.write(Request("GET", ORIGIN, b"/", HEADERS))
    monkeypatch.setattr(http11, "_head", None)
    assert writer.write(Request("GET", ORIGIN, b"/", HEADERS)) == first


@pytest.mark.parametrize(
    ("method", "target", "header"),
    [
        ("GET", b"/", (b"a", b"b\r\nc: d")),
        ("GET", b"/", (b"a", b"b\nc: d")),
        ("GET", b"/", (b"a", b"b\0")),
        ("GET", b"/", (b"a", b" b")),
        ("GET", b"/", (b"a", b"b ")),
        ("GET", b"/", (b"a b", b"c")),
        ("GET", b"/", (b"", b"c")),
        ("GET", b"/", (b"a\r\nb", b"c")),
        ("GET", b"/ HTTP/1.1\r\nA: b", (b"a", b"b")),
        ("GET", b"", (b"a", b"b")),
        ("GET /", b"/", (b"a", b"b")),
    ],
)
def test_an_illegal_request_is_not_written(method: str, target: bytes, header: tuple[bytes, bytes]) -> None:
    with pytest.raises(TransportError, match="illegal") as caught:
        RequestWriter().write(Request(method, ORIGIN, target, [header]))
    assert (caught.value.kind, caught.value.is_final) == ("request", True)
    assert str(header[1]) not in str(caught.value)
    request: Any = {"method": method, "target": target, "headers": [(b"Host", b"a"), header]}
    with pytest.raises(h11.LocalProtocolError):
        h11.Connection(h11.CLIENT).send(h11.Request(**request))
