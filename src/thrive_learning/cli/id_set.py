"""Which IDs are done: a set that keeps a million of them in 24 MiB. Pure."""

import hashlib

from thrive_learning.errors import InvalidIdError
from thrive_learning.ids import activity_id

_WIDTH = 12
_FREE = bytes(_WIDTH)
_FULL = 0.75  # of the slots: beyond that, looking for a free one takes long


def key_of(text: str) -> bytes:
    """Give the 12 bytes that stand for an ID: its own, so that case makes no difference.

    Args:
        text: An ID, or what was given in the place of one, which gets 12 bytes of a hash.
    """
    try:
        return bytes.fromhex(activity_id(text))
    except InvalidIdError:
        return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=_WIDTH).digest()


class IdSet:
    """A set of keys of 12 bytes, side by side in one table: a `set` of them needs three times the memory.

    It takes 16 to 32 bytes for each, and as much again by half for the moment in which it grows.
    """

    def __init__(self) -> None:
        self._size = 1024
        self._table = bytearray(self._size * _WIDTH)
        self._count = 0
        self._has_zeros = False  # whether the key that looks like a free slot is in it

    def __len__(self) -> int:
        return self._count

    def __contains__(self, key: bytes) -> bool:
        if key == _FREE:
            return self._has_zeros
        at = self._slot(key)
        return bytes(self._table[at : at + _WIDTH]) == key

    def add(self, key: bytes) -> bool:
        """Put a key in, and say whether it is new."""
        if key == _FREE:
            is_new, self._has_zeros = not self._has_zeros, True
            self._count += is_new
            return is_new
        at = self._slot(key)
        if bytes(self._table[at : at + _WIDTH]) == key:
            return False
        self._table[at : at + _WIDTH] = key
        self._count += 1
        if self._count > self._size * _FULL:
            self._grow()
        return True

    def _slot(self, key: bytes) -> int:
        """Give where in the table the key stands, or would stand."""
        mask = self._size - 1
        index = hash(key) & mask
        while True:
            at = index * _WIDTH
            found = bytes(self._table[at : at + _WIDTH])
            if found in (key, _FREE):
                return at
            index = (index + 1) & mask

    def _grow(self) -> None:
        before = self._table
        self._size *= 2
        self._table = bytearray(self._size * _WIDTH)
        for start in range(0, len(before), _WIDTH):
            key = bytes(before[start : start + _WIDTH])
            if key != _FREE:
                at = self._slot(key)
                self._table[at : at + _WIDTH] = key
