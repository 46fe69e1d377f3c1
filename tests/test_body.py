import gzip
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thrive_learning import _body
from thrive_learning._body import MAX_BODY_BYTES, Body

ENCODE: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "identity": bytes,
    "gzip": gzip.compress,
    " X-GZip ": gzip.compress,
    "deflate": zlib.compress,
}


def read(encoding: str, *chunks: bytes) -> tuple[bytes, Body]:
    body = Body(encoding)
    for chunk in chunks:
        if not body.feed(chunk):
            break
    return body.end(), body


@pytest.mark.parametrize("encoding", ENCODE)
@given(content=st.binary(), cut=st.integers(0, 50))
def test_a_body_comes_through_in_any_pieces(encoding: str, content: bytes, cut: int) -> None:
    sent = ENCODE[encoding](content)
    got, body = read(encoding, sent[:cut], sent[cut:])
    assert (got, body.flaw, body.cut) == (content, None, False)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compressed_data_that_ends_too_early_is_cut(encoding: str) -> None:
    sent = ENCODE[encoding](b"x" * 1000)
    got, body = read(encoding, sent[:-9])
    assert body.cut
    assert "cut off" in str(body.flaw)
    assert len(got) <= 1000


def test_an_empty_body_may_be_called_compressed() -> None:
    assert read("gzip")[1].flaw is None


def test_compressed_data_that_is_none() -> None:
    got, body = read("gzip", b"<html>", b"more")
    assert (got, body.cut) == (b"", False)
    assert "cannot be decompressed" in str(body.flaw)


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip"])
def test_an_encoding_that_was_not_asked_for(encoding: str) -> None:
    got, body = read(encoding, b"abc")
    assert got == b""
    assert encoding in str(body.flaw)


def test_the_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_BODY_BYTES == 10 * 1024 * 1024
    monkeypatch.setattr(_body, "MAX_BODY_BYTES", 100)
    for encoding in ("", "gzip"):
        assert read(encoding, ENCODE[encoding](b"x" * 100))[1].flaw is None
        got, body = read(encoding, ENCODE[encoding](b"x" * 101))
        assert "larger than 100 bytes" in str(body.flaw)
        assert (got, body.cut) == (b"", False)


def test_a_small_bomb_does_not_grow_large() -> None:
    bomb = gzip.compress(bytes(64 * 1024 * 1024))
    body = Body("gzip")
    assert not body.feed(bomb)
    assert not body.feed(b"more")
    assert body.end() == b""


def test_a_cut_names_its_cause() -> None:
    body = Body("")
    body.feed(b"abc")
    body.cut_off("ReadError")
    assert (body.end(), body.cut, body.flaw) == (b"abc", True, "it was cut off after 3 bytes (ReadError)")
