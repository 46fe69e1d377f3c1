import gzip
import secrets
import tracemalloc
import zlib
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thrive_learning import ConfigurationError
from thrive_learning._exchange.body import DEFAULT_RECORD_BYTES, TOKEN_LIMIT, Body, BodyLimit, body_limit

ENCODE: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "identity": bytes,
    "gzip": gzip.compress,
    " X-GZip ": gzip.compress,
    "deflate": zlib.compress,
}


def record_limit(size: Any) -> BodyLimit:
    return body_limit("max_record_bytes", size)


RECORD_LIMIT = record_limit(DEFAULT_RECORD_BYTES)


def read(encoding: str, *chunks: bytes, limit: BodyLimit = RECORD_LIMIT) -> tuple[bytes, Body]:
    body = Body(encoding, limit)
    for chunk in chunks:
        if not body.feed(chunk):
            break
    return body.end(), body


def outcome(encoding: str, *chunks: bytes, limit: BodyLimit = RECORD_LIMIT) -> tuple[bytes, str | None, bool]:
    got, body = read(encoding, *chunks, limit=limit)
    return got, body.flaw, body.cut


def raw_deflate(content: bytes) -> bytes:
    return zlib.compress(content, wbits=-zlib.MAX_WBITS)


@pytest.mark.parametrize("encoding", ENCODE)
@given(content=st.binary(), cut=st.integers(0, 50))
def test_a_body_comes_through_in_any_pieces(encoding: str, content: bytes, cut: int) -> None:
    sent = ENCODE[encoding](content)
    assert outcome(encoding, sent[:cut], sent[cut:]) == (content, None, False)


CONTENT = st.binary(max_size=300) | st.binary(min_size=1, max_size=5).map(lambda some: some * 2_000)
PARTS: st.SearchStrategy[Callable[[bytes], bytes]] = st.sampled_from(
    [gzip.compress, zlib.compress, raw_deflate, bytes]
)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Draw what a server may send: a few compressed parts, damaged, cut off, or followed by other bytes."""
    parts = draw(st.lists(st.tuples(PARTS, CONTENT), max_size=4))
    sent = bytearray(b"".join(compress(content) for compress, content in parts))
    if sent:
        for index in draw(st.lists(st.integers(0, len(sent) - 1), max_size=2)):
            sent[index] ^= draw(st.integers(0, 255))
        del sent[draw(st.just(len(sent)) | st.integers(0, len(sent))) :]
    return bytes(sent) + draw(
        st.sampled_from([b"", b"", b"\0", b"\x1f", b"\x1f\x8b", b"\0" * 9_000, b"junk"])
    )


@settings(max_examples=400)
@given(
    encoding=st.sampled_from(["", "gzip", "deflate", "br"]),
    sent=bodies(),
    cuts=st.lists(st.integers(0, 10_000)) | st.just(range(10_000)),
    size=st.integers(1, 700) | st.integers(1, 20_000),
)
def test_chunk_boundaries_never_matter(encoding: str, sent: bytes, cuts: Sequence[int], size: int) -> None:
    limit = record_limit(size)
    edges = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
    chunks = [sent[start:end] for start, end in pairwise(edges)]
    assert outcome(encoding, *chunks, limit=limit) == outcome(encoding, sent, limit=limit)


@pytest.mark.parametrize("size", range(95, 106))
def test_the_first_flaw_counts(size: int) -> None:
    """A wrong checksum right behind the last byte that fits, or behind the first that does not."""
    sent = bytearray(gzip.compress(bytes(100)))
    sent[-8] ^= 1
    whole = outcome("gzip", bytes(sent), limit=record_limit(size))
    assert outcome("gzip", *(bytes([byte]) for byte in sent), limit=record_limit(size)) == whole
    assert ("larger than" in str(whole[1])) == (size < 99)


@given(contents=st.lists(st.binary(max_size=50), min_size=1, max_size=6))
def test_gzip_members_are_read_one_after_the_other(contents: list[bytes]) -> None:
    sent = b"".join(map(gzip.compress, contents))
    assert outcome("gzip", sent) == (b"".join(contents), None, False)
    assert outcome("gzip", *(bytes([byte]) for byte in sent)) == (b"".join(contents), None, False)


@pytest.mark.parametrize("surplus", [b"\0", b"\0" * 512, b"{}", b"HTTP/1.1 200 OK", zlib.compress(b"x")])
@pytest.mark.parametrize("members", [1, 3])
def test_bytes_behind_the_last_member_are_a_flaw(surplus: bytes, members: int) -> None:
    sent = gzip.compress(b"{}") * members
    for chunks in ([sent + surplus], [sent, surplus], [sent[:-1], sent[-1:] + surplus]):
        assert outcome("gzip", *chunks) == (
            b"{}" * members,
            "it continues after the end of its compressed data",
            False,
        )


def test_a_deflate_body_has_one_part() -> None:
    sent = zlib.compress(b"{}")
    for surplus in (sent, gzip.compress(b"{}")):
        for chunks in ([sent + surplus], [sent, surplus]):
            assert outcome("deflate", *chunks) == (
                b"{}",
                "it continues after the end of its compressed data",
                False,
            )


def test_raw_deflate_is_a_flaw() -> None:
    got, flaw, cut = outcome("deflate", raw_deflate(b"{}"))
    assert (got, cut) == (b"", False)
    assert "cannot be decompressed" in str(flaw)


@pytest.mark.parametrize("end", [1, 5, 12, -1])
def test_a_second_member_that_ends_too_early_is_cut(end: int) -> None:
    member = gzip.compress(b"abc" * 9)
    for chunks in ([member + member[:end]], [member, member[:end]]):
        got, flaw, cut = outcome("gzip", *chunks)
        assert cut
        assert "its compressed data ends too early" in str(flaw)
        assert got in [b"abc" * 9 + (b"abc" * 9)[:length] for length in range(28)]


def test_the_limit_holds_for_all_members_together() -> None:
    member = gzip.compress(b"x" * 50)
    assert outcome("gzip", member * 2, limit=record_limit(100)) == (b"x" * 100, None, False)
    got, flaw, _ = outcome("gzip", member * 3, limit=record_limit(100))
    assert got == b"x" * 100
    assert "larger than 100 bytes" in str(flaw)


@pytest.mark.parametrize("content", [b"", b"x"])
def test_thousands_of_members_take_little_time(content: bytes) -> None:
    """After each member, zlib must not copy the rest of the body."""
    members = DEFAULT_RECORD_BYTES // len(gzip.compress(content))
    sent = gzip.compress(content) * members
    copied, real = 0, zlib.decompressobj

    class Decompressor:
        def __init__(self, wbits: int) -> None:
            self._inner = real(wbits)

        def decompress(self, data: bytes, max_length: int) -> bytes:
            return self._inner.decompress(data, max_length)

        @property
        def eof(self) -> bool:
            return self._inner.eof

        @property
        def unused_data(self) -> bytes:
            nonlocal copied
            copied += len(self._inner.unused_data)
            return self._inner.unused_data

    with patch("thrive_learning._exchange.body.zlib.decompressobj", Decompressor):
        assert outcome("gzip", sent) == (content * members, None, False)
    assert copied < 200 * len(sent)


def test_too_many_members_are_too_large() -> None:
    assert "larger than" in str(outcome("gzip", gzip.compress(b"") * 60_000)[1])


@pytest.mark.parametrize("encoding", ["gzip,", ", gzip", "identity, gzip", "GZIP"])
def test_empty_names_of_encodings_are_ignored(encoding: str) -> None:
    assert outcome(encoding, gzip.compress(b"{}")) == (b"{}", None, False)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compressed_data_that_ends_too_early_is_cut(encoding: str) -> None:
    sent = ENCODE[encoding](b"x" * 1000)
    got, body = read(encoding, sent[:-9])
    assert body.cut
    assert body.flaw == f"it was cut off after {len(got)} bytes (its compressed data ends too early)"
    assert len(got) <= 1000


def test_an_empty_body_may_be_called_compressed() -> None:
    assert read("gzip")[1].flaw is None


def test_invalid_compressed_data_is_a_flaw() -> None:
    got, body = read("gzip", b"<html>", b"more")
    assert (got, body.cut) == (b"", False)
    assert "cannot be decompressed" in str(body.flaw)


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip"])
def test_an_encoding_that_was_not_asked_for(encoding: str) -> None:
    got, body = read(encoding, b"abc")
    assert got == b""
    assert body.flaw == f"its Content-Encoding was not requested ({encoding})"


def test_an_encoding_that_is_not_registered_is_not_shown() -> None:
    assert read("canary", b"abc")[1].flaw == "its Content-Encoding was not requested (an unknown one)"


@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_a_body_over_the_limit_is_rejected(encoding: str) -> None:
    limit = record_limit(100)
    assert read(encoding, ENCODE[encoding](b"x" * 100), limit=limit)[1].flaw is None
    got, body = read(encoding, ENCODE[encoding](b"x" * 101), limit=limit)
    assert (
        body.flaw
        == "its body is larger than 100 bytes; max_record_bytes= raises this limit (in commands: --max-body)"
    )
    assert (got, body.cut) == (b"x" * 100, False)


@pytest.mark.parametrize("size", [100, 1024 * 1024])
def test_a_body_that_does_not_compress_may_fill_the_limit(size: int) -> None:
    content = secrets.token_bytes(size)
    sent = gzip.compress(content)
    assert len(sent) > size
    assert read("gzip", sent, limit=record_limit(size))[1].flaw is None
    assert read("gzip", sent + bytes(20_000), limit=record_limit(size))[1].flaw is not None


def member(length: int) -> bytes:
    """Return a gzip member of this length, with the content `x` and a file name that fills it."""
    sent = gzip.compress(b"x", mtime=0)
    name = b"n" * (length - len(sent) - 1) + b"\0"
    return sent[:3] + b"\x08" + sent[4:10] + name + sent[10:]


@pytest.mark.parametrize("length", [100 + 16 * 1024, 101 + 16 * 1024])
def test_a_compressed_body_may_be_16_kib_larger_than_the_limit(length: int) -> None:
    got, flaw, _ = outcome("gzip", member(length), limit=record_limit(100))
    assert (got, flaw is None) == (b"x", length == 100 + 16 * 1024)


@pytest.mark.parametrize("length", [4096, 8192])
def test_a_single_byte_behind_a_whole_number_of_blocks_is_noticed(length: int) -> None:
    sent = member(length)
    assert outcome("gzip", sent) == (b"x", None, False)
    assert outcome("gzip", sent + b"y") == (b"x", "it continues after the end of its compressed data", False)
    body = Body("gzip", RECORD_LIMIT)
    body.feed(sent + b"y")
    body.cut_off("ReadError")
    assert body.flaw == "it continues after the end of its compressed data"


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
    assert body.end() == bytes(RECORD_LIMIT.size)


def test_a_cut_names_its_cause() -> None:
    body = Body("", RECORD_LIMIT)
    body.feed(b"abc")
    body.cut_off("ReadError")
    assert (body.end(), body.cut, body.flaw) == (b"abc", True, "it was cut off after 3 bytes (ReadError)")
    body = Body("", RECORD_LIMIT)
    body.feed(b"a")
    body.cut_off("ReadError")
    assert body.flaw == "it was cut off after 1 byte (ReadError)"


def test_tiny_chunks_take_no_more_memory_than_large_ones() -> None:
    body = Body("", record_limit(100_000))
    tracemalloc.start()
    try:
        for _ in range(100_000):
            body.feed(bytes(bytearray(b"a")))  # a new object each time, as from httpcore
        size = len(body.end())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size == 100_000
    assert peak < 500_000
