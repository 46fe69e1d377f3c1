"""Which IDs are done, and why: a million of them in 26 MiB. Pure."""

import hashlib

from thrive_learning._ids import activity_id
from thrive_learning.errors import InvalidIdError

_WIDTH = 12
_FULL = 0.75  # of the slots: beyond that, looking for a free one takes long

#: Why an ID needs no request: its record is there, it has failed for good, or this run had it before.
HAS_RECORD, HAS_FAILED, IS_REPEATED = 1, 2, 3


def key_of(text: str) -> bytes:
    """Return the 12 bytes that stand for an ID: its own, so that case makes no difference.

    Args:
        text: An ID, or what was given in the place of one, which gets 12 bytes of a hash.
    """
    try:
        return bytes.fromhex(activity_id(text))
    except InvalidIdError:
        return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=_WIDTH).digest()


class IdSet:
    """Keys of 12 bytes and a reason for each, side by side in one table: a `dict` needs far more memory.

    It takes 17 to 35 bytes for each, and as much again by half for the moment in which it grows.
    """

    def __init__(self) -> None:
        self._size = 1024
        self._table = bytearray(self._size * _WIDTH)
        self._reasons = bytearray(self._size)  # 0 where the slot is free
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, key: bytes) -> bool:
        return self.reason(key) is not None

    def reason(self, key: bytes) -> int | None:
        """Return the reason for which a key is in it; None if it is not."""
        return self._reasons[self._slot(key)] or None

    def add(self, key: bytes, reason: int = IS_REPEATED) -> bool:
        """Put a key in if it is new, and return whether it is."""
        slot = self._slot(key)
        if self._reasons[slot]:
            return False
        self._put(slot, key, reason)
        self._count += 1
        if self._count > self._size * _FULL:
            self._grow()
        return True

    def _put(self, slot: int, key: bytes, reason: int) -> None:
        self._table[slot * _WIDTH : (slot + 1) * _WIDTH] = key
        self._reasons[slot] = reason

    def _slot(self, key: bytes) -> int:
        """Return the slot of a key, or the free one that it would get."""
        slot = hash(key) & (self._size - 1)
        while self._reasons[slot] and not self._table.startswith(key, slot * _WIDTH):
            slot = (slot + 1) & (self._size - 1)
        return slot

    def _grow(self) -> None:
        before, reasons = self._table, self._reasons
        self._size *= 2
        self._table = bytearray(self._size * _WIDTH)
        self._reasons = bytearray(self._size)
        for slot, reason in enumerate(reasons):
            if reason:
                key = bytes(before[slot * _WIDTH : (slot + 1) * _WIDTH])
                self._put(self._slot(key), key, reason)
