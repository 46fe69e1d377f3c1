"""Records as text, for people and for programs. Pure: it writes nothing.

What a server sends must neither steer the terminal nor break the output, so whatever a terminal would obey is
escaped, and so is what the output's encoding lacks.
"""

import datetime as dt
import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thrive_learning.models import Activity

# C0 and C1 controls but the line end, line and paragraph separators, and what reorders or hides text
# (https://trojansource.codes). Each of them is below U+10000: `\u` and four digits say it, in JSON too.
_CONTROLS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")

_GAP = "  "


def visible(text: str) -> str:
    r"""Escape what a terminal would obey, as in `\u001b`; line ends stay."""
    return _CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def one_line(text: str) -> str:
    """Escape what a terminal would obey, line ends included."""
    return visible(text).replace("\n", "\\n")


def as_json(value: object, encoding: str) -> str:
    """Render a value as indented JSON, in the characters themselves where the encoding has them all.

    Args:
        value: What JSON can say.
        encoding: The output's, such as `"utf-8"`.
    """
    text = json.dumps(value, ensure_ascii=False, indent=2)
    try:
        text.encode(encoding)
    except UnicodeEncodeError:  # lone surrogates, which no encoding has, among them
        text = json.dumps(value, indent=2)
    return visible(text)


def as_table(activity: "Activity", encoding: str) -> str:
    """Render a record for people: a field and its value a line, in the order in which they were received.

    Args:
        activity: The record; its unknown fields are shown too.
        encoding: The output's, such as `"utf-8"`.
    """
    fields = {one_line(name): value for name, value in activity.to_dict().items()}
    if activity.date is not None:
        fields["date"] = _readable(activity.date)
    width = max(map(len, fields))
    rows = (_row(f"{name:<{width}}", value, encoding) for name, value in fields.items())
    return "\n".join(rows).encode(encoding, "backslashreplace").decode(encoding)


def _row(name: str, value: object, encoding: str) -> str:
    text = one_line(value) if isinstance(value, str) else as_json(value, encoding)
    margin = " " * len(name + _GAP)
    return name + _GAP + text.replace("\n", "\n" + margin)


def _readable(date: dt.datetime) -> str:
    # In the time zone that it came in: the first and the last days of the calendar have no UTC.
    return f"{date.replace(tzinfo=None).isoformat(' ', 'seconds')} {date.tzname()}"
