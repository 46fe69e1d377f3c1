"""Which IDs are done, and why. Pure."""

import hashlib

from thrive_learning._ids import activity_id
from thrive_learning.errors import InvalidIdError

_WIDTH = 12

#: Why an ID needs no request: its record is there, it has failed for good, or this run had it before.
HAS_RECORD, HAS_FAILED, IS_REPEATED = 1, 2, 3

#: The reason for each key of an ID that needs no request.
Done = dict[bytes, int]


def key_of(text: str) -> bytes:
    """Return the 12 bytes that stand for an ID: its own, so that case makes no difference.

    Args:
        text: An ID, or what was given in the place of one, which gets 12 bytes of a hash.
    """
    try:
        return bytes.fromhex(activity_id(text))
    except InvalidIdError:
        return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=_WIDTH).digest()
