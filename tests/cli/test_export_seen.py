"""The keys that an export of a period remembers on disk."""

import random

from thrive_learning.cli.export.seen import SeenKeys


def test_a_key_is_new_once() -> None:
    draw = random.Random(1)  # noqa: S311 - not for secrets
    keys = [draw.randbytes(12) for _ in range(5000)]
    with SeenKeys() as seen:
        assert all(seen.add(key) for key in keys)
        assert not any(seen.add(key) for key in keys)
