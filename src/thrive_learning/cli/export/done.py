"""The IDs of an export that need no request, and the reasons. Pure."""

import hashlib

from thrive_learning._ids import validate_activity_id
from thrive_learning.errors import InvalidIdError

_WIDTH = 12

#: Why an ID needs no request: its record is in the output, it failed permanently, or this run had it already.
HAS_RECORD, HAS_FAILED, IS_REPEATED = 1, 2, 3

#: The reason for each key of an ID that needs no request.
Done = dict[bytes, int]


def key_of(text: str) -> bytes:
    """Return the 12-byte key of an ID, which does not depend on upper and lower case.

    Args:
        text: An ID, whose bytes are the key, or other text, whose hash is the key.
    """
    try:
        return bytes.fromhex(validate_activity_id(text))
    except InvalidIdError:
        return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=_WIDTH).digest()
