"""The recovery of a journal and an output that a crash cut off anywhere."""

import io
import json

import pytest

from thrive_learning.cli.export.journal import Entry, Extent, Head, Position, recovered
from thrive_learning.errors import ConfigurationError

ORIGIN = "region production, tenant t"
HEAD = Head(ORIGIN)
FIRST = HEAD.text()
LINES = [b'{"id":"a"}\n', b'{"id":"b","name":"' + b"x" * 60 + b'"}\n', b"{}\n", b'{"id":"d"}\n']
KEYS = [bytes([number]) * 12 for number in range(len(LINES))]
#: The writes of an export in order, each into the journal (0) or the output (1).
WRITES = [(0, FIRST), (0, Entry.checkpoint(0).text())]
for number, (key, line) in enumerate(zip(KEYS, LINES, strict=True)):
    WRITES += [(0, Entry.of(key, line).text()), (1, line)]
    if number == 1:
        WRITES.append((0, Entry.checkpoint(len(LINES[0] + LINES[1])).text()))


def recover(journal: bytes, output: bytes, head: Head = HEAD) -> tuple[tuple[int, Extent], list[bytes]]:
    done: list[bytes] = []
    extent = recovered(io.BytesIO(journal), io.BytesIO(output), head, done.append)
    return (extent.records, extent), done


def cut_at(end: int) -> tuple[bytes, bytes]:
    """Return the journal and the output after a number of written bytes."""
    files = [b"", b""]
    for which, data in WRITES:
        files[which] += data[:end]
        end = max(end - len(data), 0)
    return files[0], files[1]


def test_a_crash_at_any_byte_loses_nothing_and_doubles_nothing() -> None:
    for end in range(sum(len(data) for _, data in WRITES) + 1):
        journal, output = cut_at(end)
        (records, extent), done = recover(journal, output)
        whole = [line for count, line in enumerate(LINES) if output.startswith(b"".join(LINES[: count + 1]))]
        assert records == len(whole) == len(done)
        assert output[: extent.output_bytes] == b"".join(whole)
        assert all(key in done for key in KEYS[: len(whole)])
        # A second recovery has the same result.
        assert recover(journal[: extent.journal_bytes], output[: extent.output_bytes])[0] == (records, extent)
        if journal.startswith(FIRST):
            assert (extent.journal_bytes - len(FIRST)) % len(Entry.of(KEYS[0], b"").text()) == 0
        else:
            assert extent == Extent(0, 0, 0)


def test_a_machine_that_fails_loses_what_the_disk_did_not_have_and_no_more() -> None:
    """After the checkpoint, any part of either file may be missing or zero."""
    journal, output = cut_at(10_000)
    safe_bytes = len(LINES[0] + LINES[1])
    checkpoint = journal.index(Entry.checkpoint(safe_bytes).text()) + 43
    for journal_end in range(checkpoint, len(journal) + 1):
        for output_end in range(safe_bytes, len(output) + 1):
            for rest in (b"", bytes(3)):
                (records, extent), _ = recover(journal[:journal_end] + rest, output[:output_end] + rest)
                assert 2 <= records <= 4
                assert output.startswith(b"".join(LINES[:records]))
                assert extent.output_bytes == len(b"".join(LINES[:records]))


def test_a_large_journal_is_read_in_parts() -> None:
    count = 10_000
    entries = b"".join(Entry.of(number.to_bytes(12, "big"), b"{}\n").text() for number in range(count))
    (records, extent), done = recover(FIRST + entries, b"{}\n" * count)
    assert (records, extent, len(done)) == (
        count,
        (count, len(FIRST + entries), 3 * count, (0, 1)),
        count,
    )


def test_more_than_four_gigabytes_have_a_checkpoint_too() -> None:
    offset = 5 * 2**32 + 7
    entry = Entry.parsed(Entry.checkpoint(offset).text())
    assert entry is not None
    assert entry.offset == offset


@pytest.mark.parametrize(
    ("journal", "output", "said"),
    [
        (b"", b"{}\n", "its journal is missing"),
        (FIRST[:-1], b"{}\n", "its journal is missing"),
        (b"{}\n", b"", "its journal cannot be read by this version"),
        (b"[]\n", b"", "its journal cannot be read by this version"),
        (b"x\n", b"", "its journal cannot be read by this version"),
        (
            json.dumps({"thrive_export": 2, "origin": ORIGIN}).encode() + b"\n",
            b"",
            "cannot be read by this version",
        ),
        (
            json.dumps({"thrive_export": 1, "origin": 5}).encode() + b"\n",
            b"",
            "cannot be read by this version",
        ),
        (Head("the sandbox").text(), b"{}\n", f"its records come from the sandbox, not from {ORIGIN}"),
        (
            json.dumps({"thrive_export": 1, "origin": ORIGIN, "query": 5}).encode() + b"\n",
            b"",
            "cannot be read by this version",
        ),
        (Head(ORIGIN, {}).text(), b"{}\n", "it is an export of a period"),
        (b"x" * 5000, b"", "its journal cannot be read by this version"),
        (b"\0" * 5000, b"", "its journal cannot be read by this version"),
        (b"\0" * 50, b"{}\n", "its journal is missing"),
        (cut_at(10_000)[0], b"".join(LINES)[:50], "it has 50 bytes, but its journal says 92"),
        (
            cut_at(10_000)[0],
            b"x" * 200,
            "it was changed, because a record does not end where its journal says",
        ),
        (FIRST + Entry.checkpoint(1).text(), b"\n", "its journal is damaged \\(a checkpoint does not match"),
        (
            FIRST + b"-" * 43 + Entry.checkpoint(0).text(),
            b"",
            "its journal is damaged \\(it has an invalid entry",
        ),
    ],
)
def test_damage_that_no_crash_could_cause_is_rejected(journal: bytes, output: bytes, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        recover(journal, output)


@pytest.mark.parametrize("journal", [b"", FIRST[:5], FIRST[:-1], b"\0" * 50, Head("elsewhere").text()])
def test_an_export_without_records_is_started_again(journal: bytes) -> None:
    assert recover(journal, b"")[0] == (0, (0, 0, 0, (0, 1)))


PERIOD = Head(ORIGIN, {"since": "2026-01-01T00:00:00+00:00"})


def test_an_export_of_a_period_goes_on_at_its_page() -> None:
    """After a crash at any byte of the journal, the position is that of the last complete record."""
    parts = [(PERIOD.text(), b"", Position()), (Entry.checkpoint(0).text(), b"", Position())]
    for page, (key, line) in enumerate(zip(KEYS, LINES, strict=True), 1):
        parts.append((Entry.at(Position(1, page)).text(), b"", Position(1, page)))
        parts.append((Entry.of(key, line).text(), line, Position(1, page)))
    for count in range(1, len(parts) + 1):
        journal = b"".join(entry for entry, _, _ in parts[:count])
        output = b"".join(line for _, line, _ in parts[:count])
        (records, extent), done = recover(journal, output, PERIOD)
        assert (extent.journal_bytes, extent.output_bytes) == (len(journal), len(output))
        assert (records, extent.position) == (len(done), parts[count - 1][2])
        if output:  # an incomplete record, so its page is still the next one
            torn = recover(journal, output[:-1], PERIOD)[0][1]
            assert torn.output_bytes < len(output)
            assert torn.position <= extent.position


def test_a_page_whose_records_are_not_whole_is_the_next_one() -> None:
    journal = PERIOD.text() + Entry.at(Position(0, 7)).text() + Entry.of(KEYS[0], LINES[0]).text()
    (records, extent), _ = recover(journal + Entry.at(Position(0, 8)).text(), b"torn", PERIOD)
    assert (records, extent.position) == (0, Position(0, 7))


@pytest.mark.parametrize(
    ("before", "said"),
    [(HEAD, "it is an export by IDs"), (Head(ORIGIN, {}), "its period differs")],
)
def test_an_export_of_other_records_is_not_resumed(before: Head, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        recover(before.text(), b"{}\n", PERIOD)
