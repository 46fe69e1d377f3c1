"""The headers of a response that results and errors keep. Pure."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

#: The names that are kept, in lower case. None of them carries credentials, cookies, or a URL.
_KEPT: Final = re.compile(
    r"age|cache-control|content-encoding|content-length|content-type|date|deprecation|retry-after|server|sunset"
    r"|via|x-cache|cf-ray|x-amz-cf-id|x-amzn-trace-id|x-correlation-id"
    r"|x-request-id|x-amzn-requestid|apigw-requestid"
    r"|(?:x-)?ratelimit(?:-[a-z0-9-]+)?"
)


def is_kept(name: str) -> bool:
    """Return whether results and errors keep the header of this name, in lower case."""
    return _KEPT.fullmatch(name) is not None


class ResponseHeaders(Mapping[str, str]):
    """Headers by their names, in any case. It is immutable and can be pickled.

    Args:
        fields: The values by their names.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._fields = {name.lower(): value for name, value in fields.items()}

    def __getitem__(self, name: str) -> str:
        if isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance] - a mapping has no other key
            return self._fields[name.lower()]
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return repr(self._fields)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return type(self), (self._fields,)
