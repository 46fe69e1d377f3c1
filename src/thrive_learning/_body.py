"""The bytes of a response's body as they were sent → as they were meant, within a cap. Pure."""

import zlib
from typing import Final, NamedTuple

from thrive_learning.errors import ConfigurationError

#: What the body of a record may hold after decompression, unless the client allows more. A record has some
#: hundred bytes, and JSON takes up to thirty times its size in memory.
DEFAULT_RECORD_BYTES: Final = 1024 * 1024


class BodyLimit(NamedTuple):
    """How large a body may be.

    Attributes:
        size: Its bytes after decompression.
        setting: The option that raises it; empty if there is none.
    """

    size: int
    setting: str

    @property
    def flaw(self) -> str:
        """What is wrong with a body that is larger."""
        how = f"; {self.setting} raises this limit" if self.setting else ""
        return f"its body is larger than {self.size} bytes{how}"


#: A token response has at most some kilobytes.
TOKEN_LIMIT: Final = BodyLimit(64 * 1024, "")


def record_limit(size: object) -> BodyLimit:
    """Return the limit for a record's body.

    Raises:
        ConfigurationError: The size is not a positive integer.
    """
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise ConfigurationError(
            f"max_record_bytes is {size!r}. Pass a positive number of bytes, such as {DEFAULT_RECORD_BYTES}."
        )
    return BodyLimit(size, "max_record_bytes=")


# Data that does not compress grows a little, by a header and some bytes for each block.
_COMPRESSED_OVERHEAD = 16 * 1024

# 32: let zlib tell gzip from deflate by the first bytes.
_GZIP_OR_DEFLATE = zlib.MAX_WBITS | 32

# Source: the IANA registry of HTTP content codings.
_ENCODINGS = frozenset(
    {"aes128gcm", "br", "compress", "dcb", "dcz", "deflate", "exi", "gzip", "identity", "pack200-gzip"}
    | {"x-compress", "x-gzip", "zstd"}
)


class Body:
    """Collects a body chunk by chunk, decompresses it on the way, and stops at the cap.

    Args:
        content_encoding: The response's `Content-Encoding`, empty if it has none.
        limit: How large the body may be.
    """

    __slots__ = ("_chunks", "_decompressor", "_limit", "_received", "_size", "cut", "flaw")

    def __init__(self, content_encoding: str, limit: BodyLimit) -> None:
        self._limit = limit
        self._chunks: list[bytes] = []
        self._size = 0
        self._received = 0
        self._decompressor = None
        #: Why the body cannot be used, or None if it can.
        self.flaw: str | None = None
        #: Whether the flaw is that its end is missing, which another try may cure.
        self.cut = False
        encoding = content_encoding.strip().lower()
        if encoding in {"gzip", "x-gzip", "deflate"}:
            self._decompressor = zlib.decompressobj(_GZIP_OR_DEFLATE)
        elif encoding not in {"", "identity"}:
            # A name is shown only if it is registered: this module knows no secrets that it could mask.
            known = ", ".join(name for name in map(str.strip, encoding.split(",")) if name in _ENCODINGS)
            self.flaw = f"its Content-Encoding was not asked for ({known or 'an unknown one'})"

    def feed(self, chunk: bytes) -> bool:
        """Take the next bytes as they came; False says that no more are wanted."""
        if self.flaw is not None:
            return False
        self._received += len(chunk)
        if self._received > self._limit.size + (0 if self._decompressor is None else _COMPRESSED_OVERHEAD):
            self.flaw = self._limit.flaw
            return False
        if self._decompressor is not None:
            if self._decompressor.eof and chunk:
                self.flaw = "it goes on after the end of its compressed data"
                return False
            try:
                # One byte more than there is room for tells a body that fits from one that does not;
                # without a limit here one small chunk could become a thousand times its size in memory.
                chunk = self._decompressor.decompress(chunk, self._limit.size - self._size + 1)
            except zlib.error as error:
                self.flaw = f"it cannot be decompressed ({error})"
                return False
        self._size += len(chunk)
        if self._size > self._limit.size:
            self.flaw = self._limit.flaw
            return False
        self._chunks.append(chunk)
        return True

    def cut_off(self, reason: str) -> None:
        """Note that the connection failed before the body's end; an earlier flaw remains."""
        if self.flaw is not None:
            return
        self.flaw = f"it was cut off after {self._size} byte{'' if self._size == 1 else 's'} ({reason})"
        self.cut = True

    def end(self) -> bytes:
        """Give what was collected, once no more bytes come."""
        if (
            self.flaw is None
            and self._decompressor is not None
            and self._chunks
            and not self._decompressor.eof
        ):
            self.cut_off("its compressed data ends too early")
        return b"".join(self._chunks)
