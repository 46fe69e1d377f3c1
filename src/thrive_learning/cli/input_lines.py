"""Lines of text out of the bytes of a file: plain or gzip; UTF-8, or UTF-16 and UTF-32 with a BOM."""

import codecs
import io
import zlib
from collections.abc import Iterator
from itertools import chain

from thrive_learning.errors import ThriveError

#: The longest line, in bytes: what is longer would only fill the memory.
LONGEST_LINE = 64 * 1024 * 1024

_CHUNK_BYTES = 65_536
_PIECE_BYTES = 1024 * 1024  # of what a chunk of gzip is decompressed to
_GZIP = b"\x1f\x8b"
_AS_GZIP = 16 + zlib.MAX_WBITS
_LONGEST_BOM = 4

#: The encodings with a byte-order mark, the longer ones first: that of UTF-32 begins with that of UTF-16.
_ENCODINGS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


class UnreadableInputError(ThriveError):
    """The input cannot be read. The message names the file and, where it is one, the line."""


def unreadable(name: str, problem: str, where: str = "") -> UnreadableInputError:
    """Return the error for an input, or for a line or an item of it."""
    return UnreadableInputError(f"{name}{where and f', {where},'} cannot be read: {problem}")


def no_ids(problem: str) -> UnreadableInputError:
    """Return the error for an input without IDs."""
    return UnreadableInputError(f"{problem}. Check the file, or the command that should print them.")


class InputLines:
    """The lines of an input, read as they are asked for.

    Whatever is wrong with a line is said when it is reached: the lines before it have been returned by then.

    Args:
        file: The input.
        name: What messages call it.

    Attributes:
        read_bytes: How many bytes of the input stand for the lines that have been returned.
    """

    def __init__(self, file: io.BufferedIOBase, name: str) -> None:
        self.name: str = name
        self.read_bytes: float = 0
        self._file = file
        self._received = 0
        self._chunk = 0

    def __iter__(self) -> Iterator[tuple[int, str]]:
        """Return each line with its number and its end.

        Raises:
            UnreadableInputError: The input cannot be read, is not text, or ends within gzip data.
        """
        number = 0
        for lines in self.portions():
            before = self._received - self._chunk
            for index, line in enumerate(lines, 1):
                number += 1
                text = self._decoded(line, number)
                self.read_bytes = max(self.read_bytes, before + self._chunk * index / len(lines))
                yield number, text

    def portions(self) -> Iterator[list[bytes]]:
        """Return lines in UTF-8, as many at a time as have arrived, so that none waits for those after it.

        Raises:
            UnreadableInputError: The input cannot be read, or ends within gzip data. What came of a line that
                was cut off by that is not returned.
        """
        rest: list[bytes] = []
        length = 0
        for chunk in self._transcoded(self._unzipped(self._chunks())):
            # A line may end with \r\n, and the next chunk may begin with that \n.
            last = max(chunk.rfind(b"\n"), chunk.rfind(b"\r", 0, len(chunk) - 1)) + 1
            if last or (rest and rest[-1].endswith(b"\r")):
                yield b"".join([*rest, chunk[:last]]).splitlines(keepends=True)
                rest, length = [], 0
            rest.append(chunk[last:])
            length += len(rest[-1])
            if length > LONGEST_LINE:
                raise unreadable(self.name, f"a line is longer than {LONGEST_LINE // 2**20} MiB")
        if lines := b"".join(rest).splitlines(keepends=True):
            yield lines

    def _chunks(self) -> Iterator[bytes]:
        try:
            while chunk := self._file.read1(_CHUNK_BYTES):
                self._received += len(chunk)
                self._chunk = len(chunk)
                yield chunk
        except io.UnsupportedOperation:
            problem = "it is not open for reading"
        except OSError as error:
            problem = error.strerror or str(error)
        else:
            return
        raise unreadable(self.name, problem)

    def _unzipped(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        head, chunks = _begin(chunks, len(_GZIP))
        if not head.startswith(_GZIP):
            yield from chunks
            return
        problem = None
        member = zlib.decompressobj(_AS_GZIP)
        try:
            for chunk in chunks:
                data = chunk
                while data:
                    if member.eof:  # another member, or zeros that fill up a block of a tape
                        data = data.lstrip(b"\0")
                        if not data:
                            break
                        member = zlib.decompressobj(_AS_GZIP)
                    piece = member.decompress(data, _PIECE_BYTES)
                    data = member.unused_data or member.unconsumed_tail
                    if piece:
                        yield piece
        except zlib.error:
            problem = "its gzip data are damaged"
        if problem is None and not member.eof:
            problem = "its gzip data end too early: the file is not whole"
        if problem is not None:
            raise unreadable(self.name, problem)

    def _transcoded(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Turn what has a byte-order mark into UTF-8 without one."""
        head, chunks = _begin(chunks, _LONGEST_BOM)
        encoding = next((name for bom, name in _ENCODINGS.items() if head.startswith(bom)), None)
        if encoding is None:
            if head:
                yield next(chunks).removeprefix(codecs.BOM_UTF8)
            yield from chunks
            return
        try:
            for text in codecs.iterdecode(chunks, encoding):
                yield text.encode()
        except UnicodeDecodeError:
            problem = f"it is not {encoding}, as its byte-order mark says"
        else:
            return
        raise unreadable(self.name, problem)

    def _decoded(self, line: bytes, number: int) -> str:
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            problem = f"its byte {error.start + 1} is not UTF-8"
        else:
            if "\0" not in text:
                return text
            problem = "it has a NUL byte. Save UTF-16 with a byte-order mark, and text as UTF-8"
        raise unreadable(self.name, problem, f"line {number}")


def _begin(chunks: Iterator[bytes], size: int) -> tuple[bytes, Iterator[bytes]]:
    """Return the first bytes, and all chunks, the first of which has those."""
    head = b""
    while len(head) < size and (chunk := next(chunks, b"")):
        head += chunk
    return head, chain([head] if head else [], chunks)
