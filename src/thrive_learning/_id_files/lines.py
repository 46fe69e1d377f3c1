"""Read lines of text from a file that is plain or gzip, in UTF-8, or in UTF-16 or UTF-32 with a BOM."""

import codecs
import io
import zlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from thrive_learning.errors import ThriveError

#: The longest line, in bytes. Longer ones are rejected, because a line is held in memory.
LONGEST_LINE = 64 * 1024 * 1024

_CHUNK_BYTES = 65_536
_PIECE_BYTES = 1024 * 1024  # the most that is decompressed at once
_GZIP = b"\x1f\x8b"
_AS_GZIP = 16 + zlib.MAX_WBITS
_LONGEST_BOM = 4

#: The encodings with a byte-order mark, longer ones first because that of UTF-32 begins with that of UTF-16.
_ENCODINGS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


class UnreadableInputError(ThriveError):
    """The input cannot be read. The message names the file, and the line if one is at fault."""


def unreadable(name: str, problem: str, where: str = "") -> UnreadableInputError:
    """Return the error for an input, or for a line or an item of it."""
    return UnreadableInputError(f"cannot read {name}{where and f', {where}'}: {problem}")


def no_ids(problem: str) -> UnreadableInputError:
    """Return the error for an input without IDs."""
    return UnreadableInputError(f"{problem}. Check the file or the command that produces it.")


def open_input(path: Path, name: str) -> io.BufferedReader:
    """Open a file for `InputLines`.

    Raises:
        UnreadableInputError: The file cannot be opened.
    """
    try:
        return path.open("rb")
    except OSError as error:
        problem = error.strerror or str(error)
    except ValueError as error:  # a path with a NUL
        problem = str(error)
    raise unreadable(name, problem)


class InputLines:
    """The lines of an input, read on demand.

    An error in a line is raised when the line is reached, after the lines before it were returned.

    Args:
        file: The input.
        name: The name of the input in messages.

    Attributes:
        read_bytes: How many bytes of the input the returned lines correspond to.
    """

    def __init__(self, file: io.BufferedIOBase, name: str) -> None:
        self.name: str = name
        self.read_bytes: float = 0
        self._file = file
        self._received = 0
        self._chunk = 0

    def __iter__(self) -> Iterator[tuple[int, str]]:
        """Yield each line with its number. A line includes its line end.

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
        """Yield lines in UTF-8, as many at a time as have arrived, so that no line waits for later ones.

        Raises:
            UnreadableInputError: The input cannot be read, or ends within gzip data. A line that is cut off
                by that is not returned.
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
                    if member.eof:  # another member, or zeros that pad a tape block
                        data = data.lstrip(b"\0")
                        if not data:
                            break
                        member = zlib.decompressobj(_AS_GZIP)
                    piece = member.decompress(data, _PIECE_BYTES)
                    data = member.unused_data or member.unconsumed_tail
                    if piece:
                        yield piece
        except zlib.error:
            problem = "the gzip data is damaged"
        if problem is None and not member.eof:
            problem = "the gzip data is truncated"
        if problem is not None:
            raise unreadable(self.name, problem)

    def _transcoded(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Convert text with a byte-order mark to UTF-8 without one."""
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
            problem = f"it is not valid {encoding}, although its byte-order mark says so"
        else:
            return
        raise unreadable(self.name, problem)

    def _decoded(self, line: bytes, number: int) -> str:
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            problem = f"byte {error.start + 1} is not valid UTF-8"
        else:
            if "\0" not in text:
                return text
            problem = "it contains a NUL byte. Save the file as UTF-8, or as UTF-16 with a byte-order mark"
        raise unreadable(self.name, problem, f"line {number}")


def _begin(chunks: Iterator[bytes], size: int) -> tuple[bytes, Iterator[bytes]]:
    """Return at least `size` first bytes if there are so many, and all chunks including these bytes."""
    head = b""
    while len(head) < size and (chunk := next(chunks, b"")):
        head += chunk
    return head, chain([head] if head else [], chunks)
