"""Prepares text from a server for a message, an attribute, or a log record, without secrets. Pure.

Secrets are masked first, because quoting and truncating could change or cut them beyond recognition. Only a
server's text is masked, never our own, because a short secret could appear in our words.
"""

import functools
import re

#: The replacement of a secret.
MASK = "**********"

#: The maximum length of a quote of a server's text, in characters.
MAX_QUOTE_CHARACTERS = 300

_ENTITIES = {"&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "apos"}
# "+" and "/" are "-" and "_" in URL-safe base64.
_OTHERWISE = {" ": r"\+", "+": "-", "/": "_"}


def mask_secrets(text: str, secrets: tuple[str, ...]) -> str:
    """Mask the secrets that a server's text repeats, in every form that a server is likely to write.

    These forms are unchanged, in upper or lower case, percent-encoded (once or more), form-encoded, escaped
    as in JSON, Python, HTML, or XML, and in either alphabet of base64.
    """
    return _pattern(secrets).sub(MASK, text) if secrets else text


def show(text: str, secrets: tuple[str, ...], limit: int = MAX_QUOTE_CHARACTERS) -> str:
    """Return a server's text for one line of a message: masked, printable, and shortened.

    Args:
        text: The server's text.
        secrets: The secrets that it may repeat.
        limit: The maximum number of characters, including the ellipsis that replaces the rest.
    """
    line = " ".join(
        "".join(c if c.isprintable() else " " for c in _masked_start(text, secrets, limit)).split()
    )
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def excerpt(text: str, secrets: tuple[str, ...], limit: int) -> str:
    """Return the beginning of a server's text, masked and with its line ends, for the `body` of an error."""
    return _masked_start(text, secrets, limit)[:limit]


def _masked_start(text: str, secrets: tuple[str, ...], limit: int) -> str:
    """Mask only as much of a text as is shown, because a body may have ten megabytes."""
    reach = 40 * max((len(secret) for secret in secrets), default=0)  # the longest form of a secret
    # A mask is shorter than most secrets, so the text after them moves up.
    end = 8 * limit
    if len(text) <= end + reach:
        return mask_secrets(text, secrets)
    pieces, start = list[str](), 0
    for match in _pattern(secrets).finditer(text, 0, end + reach):
        if match.start() >= end:
            break
        pieces += text[start : match.start()], MASK
        start = match.end()
    return "".join([*pieces, text[start:end]])


@functools.lru_cache(maxsize=32)
def _pattern(secrets: tuple[str, ...]) -> re.Pattern[str]:
    # The longest first, because one may be a part of another.
    found = sorted({secret for secret in secrets if secret}, key=len, reverse=True)
    return re.compile("|".join(map(_any_form, found)) or r"(?!)", re.IGNORECASE)


def _any_form(secret: str) -> str:
    core = secret.rstrip("=") or secret
    padding = "" if core == secret else f"{_any_form_of('=')}*"
    return "".join(map(_any_form_of, core)) + padding


def _any_form_of(character: str) -> str:
    """Return a pattern for a character, unchanged or escaped in any of the usual forms."""
    if character.isascii() and character.isalnum():
        return character
    code, units = ord(character), character.encode("utf-16-be", "surrogatepass").hex()
    forms = [  # the longest first
        rf"\\{{1,4}}{re.escape(character)}",
        "".join(f"%(?:25){{0,3}}{byte:02x}" for byte in character.encode("utf-8", "surrogatepass")),
        "".join(rf"\\{{1,4}}u{units[start : start + 4]}" for start in range(0, len(units), 4)),
        rf"\\{{1,4}}x{code:02x}",
        rf"&\#0{{0,6}}{code};",
        rf"&\#x0{{0,6}}{code:x};",
        *(f"&{name};" for name in [_ENTITIES.get(character)] if name),
        *(form for form in [_OTHERWISE.get(character)] if form),
        re.escape(character),
    ]
    return f"(?:{'|'.join(forms)})"
