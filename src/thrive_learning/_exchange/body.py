"""Decompresses the body of a response up to its size limit. Pure."""

import zlib
from typing import Final, NamedTuple

from thrive_learning.errors import ConfigurationError

#: The default size limit of a record's body after decompression. A record has some hundred bytes, and parsed
#: JSON takes up to thirty times its size in memory.
DEFAULT_RECORD_BYTES: Final = 1024 * 1024

#: The same for a page of up to a thousand records.
DEFAULT_PAGE_BYTES: Final = 64 * DEFAULT_RECORD_BYTES


class BodyLimit(NamedTuple):
    """The size limit of a body.

    Attributes:
        size: The number of bytes after decompression.
        setting: The option that raises the limit; empty without one.
    """

    size: int
    setting: str

    @property
    def flaw(self) -> str:
        """The flaw of a larger body."""
        how = f"; {self.setting} raises this limit (in commands: --max-body)" if self.setting else ""
        return f"its body is larger than {self.size} bytes{how}"


#: A token response has at most a few kilobytes.
TOKEN_LIMIT: Final = BodyLimit(64 * 1024, "")


def body_limit(option: str, size: object) -> BodyLimit:
    """Return the limit that an option of the client sets.

    Raises:
        ConfigurationError: The size is not a positive integer.
    """
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise ConfigurationError(
            f"{option} is {size!r}. Pass a positive number of bytes, such as {DEFAULT_RECORD_BYTES}."
        )
    return BodyLimit(size, f"{option}=")


# Incompressible data grows a little, by a header and some bytes per block.
_COMPRESSED_OVERHEAD = 16 * 1024

# Compressed bytes are decompressed in blocks of this size, however they arrive, because the output of zlib
# before an error depends on how its input is split. The blocks are small because zlib copies the bytes that
# follow a member, which takes quadratic time in one large block of tiny members.
_BLOCK = 4 * 1024

_GZIP = zlib.MAX_WBITS | 16
# zlib then detects gzip and deflate by the first bytes. Some servers use one name for both.
_GZIP_OR_DEFLATE = zlib.MAX_WBITS | 32
_START_OF_MEMBER = b"\x1f"

# Source: the IANA registry of HTTP content codings.
_ENCODINGS = frozenset(
    {"aes128gcm", "br", "compress", "dcb", "dcz", "deflate", "exi", "gzip", "identity", "pack200-gzip"}
    | {"x-compress", "x-gzip", "zstd"}
)


class Body:
    """Collects a body chunk by chunk, decompresses it, and stops at its size limit.

    The result depends only on the bytes and not on how they were split into chunks.

    A gzip body has one or more members, each directly after the previous one. Anything else after a member is
    a flaw, including zero bytes, which gzip(1) ignores because tapes are padded with them. A deflate body is
    in the zlib format and has one part. Raw deflate is a flaw. Neither form of deflate is requested.

    Args:
        content_encoding: The response's `Content-Encoding`; empty if it has none.
        limit: The size limit of the body.

    Source: RFC 1952 section 2.2; RFC 9110 sections 5.6.1.2, 8.4 and 8.4.1.2.
    """

    __slots__ = (
        "_content",
        "_decompressor",
        "_has_members",
        "_limit",
        "_received",
        "_size",
        "_waiting",
        "cut",
        "flaw",
    )

    def __init__(self, content_encoding: str, limit: BodyLimit) -> None:
        self._limit = limit
        self._content = bytearray()  # a list of tiny chunks would take a hundred times the memory
        self._size = 0
        self._received = 0
        self._decompressor = None
        self._has_members = False
        self._waiting = bytearray()  # compressed
        #: Why the body cannot be used, or None if it can.
        self.flaw: str | None = None
        #: Whether the flaw is a missing end, so that another attempt may succeed.
        self.cut = False
        if not content_encoding:
            return
        names = [name.strip() for name in content_encoding.lower().split(",")]
        encodings = [name for name in names if name not in {"", "identity"}]
        if encodings in (["gzip"], ["x-gzip"], ["deflate"]):
            self._decompressor = zlib.decompressobj(_GZIP_OR_DEFLATE)
        elif encodings:
            # A name is shown only if it is registered, because this module has no secrets to mask in it.
            known = ", ".join(name for name in encodings if name in _ENCODINGS)
            self.flaw = f"its Content-Encoding was not requested ({known or 'an unknown one'})"

    def feed(self, chunk: bytes) -> bool:
        """Add the next bytes as received. Return False if no more are needed."""
        if self.flaw is not None:
            return False
        if self._decompressor is None:
            return self._add(chunk)
        if self._received == 0:
            self._has_members = chunk.startswith(_START_OF_MEMBER)
        largest = self._limit.size + _COMPRESSED_OVERHEAD
        self._waiting += chunk[: largest - self._received]
        self._received += len(chunk)
        if self._received <= largest:
            self._decompress(_BLOCK)
        else:
            self._decompress(1)
            self._reject(self._limit.flaw)
        return self.flaw is None

    def _decompress(self, least: int) -> None:
        """Decompress the waiting bytes block by block, until fewer than `least` are left."""
        while self.flaw is None and len(self._waiting) >= least:
            block = bytes(self._waiting[:_BLOCK])
            del self._waiting[:_BLOCK]
            while block and self.flaw is None:
                block = self._decompress_member(block)

    def _decompress_member(self, block: bytes) -> bytes:
        """Decompress a block up to the end of a member, and return the rest of the block."""
        if self._decompressor is None or self._decompressor.eof:
            if not self._has_members or not block.startswith(_START_OF_MEMBER):
                self._reject("it continues after the end of its compressed data")
                return b""
            self._decompressor = zlib.decompressobj(_GZIP)
        try:
            # One byte above the limit tells whether the body fits. Without a limit here, one small chunk
            # could become a thousand times its size in memory.
            content = self._decompressor.decompress(block, self._limit.size - self._size + 1)
        except zlib.error as error:
            self._reject(f"it cannot be decompressed ({error})")
            return b""
        self._add(content)
        return self._decompressor.unused_data

    def _add(self, content: bytes) -> bool:
        room = self._limit.size - self._size
        self._size += len(content)
        if content:
            self._content += content[:room]
        if len(content) > room:
            self._reject(self._limit.flaw)
        return self.flaw is None

    def _reject(self, flaw: str) -> None:
        if self.flaw is None:
            self.flaw = flaw

    def cut_off(self, reason: str) -> None:
        """Record that the connection failed before the body's end. An earlier flaw remains."""
        self._decompress(1)
        if self.flaw is not None:
            return
        self.flaw = f"it was cut off after {self._size} byte{'' if self._size == 1 else 's'} ({reason})"
        self.cut = True

    def end(self) -> bytes:
        """Return the collected bytes once no more arrive."""
        self._decompress(1)
        if self._decompressor is not None and self._received and not self._decompressor.eof:
            self.cut_off("its compressed data ends too early")
        return bytes(self._content)
