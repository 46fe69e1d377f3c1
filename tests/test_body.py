import gzip
import secrets
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thrive_learning import ConfigurationError
from thrive_learning._body import DEFAULT_RECORD_BYTES, TOKEN_LIMIT, Body, BodyLimit, record_limit

ENCODE: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "identity": bytes,
    "gzip": gzip.compress,
    " X-GZip ": gzip.compress,
    "deflate": zlib.compress,
}


RECORD_LIMIT = record_limit(DEFAULT_RECORD_BYTES)


def read(encoding: str, *chunks: bytes, limit: BodyLimit = RECORD_LIMIT) -> tuple[bytes, Body]:
    body = Body(encoding, limit)
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


@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_a_body_over_the_limit_is_rejected(encoding: str) -> None:
    limit = record_limit(100)
    assert read(encoding, ENCODE[encoding](b"x" * 100), limit=limit)[1].flaw is None
    got, body = read(encoding, ENCODE[encoding](b"x" * 101), limit=limit)
    assert body.flaw == "its body is larger than 100 bytes; max_record_bytes= raises this limit"
    assert (got, body.cut) == (b"", False)


@pytest.mark.parametrize("size", [100, 1024 * 1024])
def test_a_body_that_does_not_compress_may_fill_the_limit(size: int) -> None:
    content = secrets.token_bytes(size)
    sent = gzip.compress(content)
    assert len(sent) > size
    assert read("gzip", sent, limit=record_limit(size))[1].flaw is None
    assert read("gzip", sent + bytes(20_000), limit=record_limit(size))[1].flaw is not None


def test_no_option_is_named_for_a_token() -> None:
    _, body = read("", b"x" * (TOKEN_LIMIT.size + 1), limit=TOKEN_LIMIT)
    assert body.flaw == "its body is larger than 65536 bytes"


@pytest.mark.parametrize("size", [0, -1, 1.5, True, "1", None])
def test_an_invalid_limit_is_rejected(size: object) -> None:
    with pytest.raises(ConfigurationError, match=r"max_record_bytes is .*\. Pass a positive number of bytes"):
        record_limit(size)


def test_a_small_bomb_does_not_grow_large() -> None:
    bomb = gzip.compress(bytes(64 * 1024 * 1024))
    body = Body("gzip", RECORD_LIMIT)
    tracemalloc.start()
    assert not body.feed(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 1024 * 1024
    assert not body.feed(b"more")
    assert body.end() == b""


def test_a_cut_names_its_cause() -> None:
    body = Body("", RECORD_LIMIT)
    body.feed(b"abc")
    body.cut_off("ReadError")
    assert (body.end(), body.cut, body.flaw) == (b"abc", True, "it was cut off after 3 bytes (ReadError)")
    body = Body("", RECORD_LIMIT)
    body.feed(b"a")
    body.cut_off("ReadError")
    assert body.flaw == "it was cut off after 1 byte (ReadError)"
