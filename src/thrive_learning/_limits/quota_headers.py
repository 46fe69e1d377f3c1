"""Reads the headers in which servers describe their rate limits. Pure.

`t`, `reset`, and the header fields that end in `-reset` are in seconds, Unix seconds, or Unix milliseconds,
whatever their specification says. Values that are not valid are left out, and so are fields that are longer
than any server needs.

Source: draft-ietf-httpapi-ratelimit-headers-10 (`RateLimit: "default";r=50;t=30`, with `RateLimit-Policy:
    "default";q=100;w=60`), -07 (`RateLimit: limit=100, remaining=50, reset=30`), and -06
    (`RateLimit-Remaining`); RFC 9651; GitHub, "Rate limits for the REST API" (`X-RateLimit-Remaining`);
    GitLab, "User and IP rate limits" (`RateLimit-Reset` in Unix seconds).
"""

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from thrive_learning._formats import http_date

_LONGEST_FIELD_BYTES, _MOST_MEMBERS = 2048, 16
_LEAST_EPOCH_S, _LEAST_EPOCH_MS = 1e9, 1e11

_PREFIXES: Final = (b"ratelimit-", b"x-ratelimit-", b"x-rate-limit-")
_RATE_LIMIT, _POLICY = b"ratelimit", b"ratelimit-policy"

#: A response without any of these says nothing of a limit.
NAMES: Final = frozenset({_RATE_LIMIT, _POLICY} | {prefix + b"remaining" for prefix in _PREFIXES})

_NUMBER = re.compile(r"\d{1,15}(?:\.\d{1,9})?", re.ASCII)
# A string without an end goes to the end of the text. To look for its end again from each of its characters
# would take quadratic time.
_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*(?:"|\\?\Z)'
_MEMBER = re.compile(rf'(?:{_STRING}|[^",]++)+', re.DOTALL)
_PARAMETER = re.compile(rf'(?:{_STRING}|[^";]++)+', re.DOTALL)
_REQUESTS = '"requests"'


class Quota(NamedTuple):
    """The rest of a quota.

    Attributes:
        remaining: The requests that may still be sent.
        reset_s: The seconds until there are more.
        long_run: The rate that its policy allows, in requests per second; 0 if unknown.
    """

    remaining: float
    reset_s: float
    long_run: float


class Policy(NamedTuple):
    """A number of requests in a time.

    Attributes:
        quota: The requests.
        window_s: The time, in seconds.
    """

    quota: float
    window_s: float

    @property
    def per_second(self) -> float:
        """The rate that it allows in the long run."""
        return self.quota / self.window_s


def read_limits(fields: Mapping[bytes, bytes], now: float) -> tuple[list[Quota], list[Policy]]:
    """Return the quotas and policies of a server.

    Args:
        fields: The headers of a response by their lowercase names. Values of one name are joined by commas.
        now: The seconds since 1970, for responses without a `Date`.
    """
    date = http_date(_text(fields, b"date"))
    sent_at = now if date is None else date.timestamp()
    quotas, policies = _current(fields, sent_at)
    for prefix in _PREFIXES:
        # Before draft 07, the policies stood behind the limit, as in `10, 10;w=1, 50;w=60`.
        behind = [policy for policy in map(_policy, _members(_text(fields, prefix + b"limit"))) if policy]
        policies += behind
        remaining, reset = (_text(fields, prefix + name) for name in (b"remaining", b"reset"))
        quotas += _quotas(remaining, reset, behind or policies, sent_at)
    return quotas, policies


def _current(fields: Mapping[bytes, bytes], sent_at: float) -> tuple[list[Quota], list[Policy]]:
    """Read `RateLimit` and `RateLimit-Policy`."""
    described = {member.name: member for member in _members(_text(fields, _POLICY))}
    policies = {name: policy for name, member in described.items() if (policy := _policy(member))}
    quotas: list[Quota] = []
    values: dict[str, str] = {}
    for member in _members(_text(fields, _RATE_LIMIT)):
        name, _, value = member.name.partition("=")
        values[name] = value  # in draft 07, the field is a dictionary
        if member.name in described and member.name not in policies:
            continue  # its policy is not one of requests
        policy = policies.get(member.name)
        quotas += _quotas(
            member.parameters.get("r"), member.parameters.get("t"), [policy] if policy else [], sent_at
        )
    all_policies = list(policies.values())
    quotas += _quotas(values.get("remaining"), values.get("reset"), all_policies, sent_at)
    return quotas, all_policies


class _Item(NamedTuple):
    name: str
    parameters: dict[str, str]


def _members(text: str | None) -> list[_Item]:
    """Return the members of a list of RFC 9651. A string stays in its quotes."""
    found: list[_Item] = []
    for match in itertools.islice(_MEMBER.finditer(text or ""), _MOST_MEMBERS):
        name, *parameters = _PARAMETER.findall(match[0]) or [""]
        pairs = (parameter.partition("=") for parameter in parameters)
        found.append(_Item(name.strip(), {key.strip(): value.strip() for key, _, value in pairs}))
    return found


def _policy(member: _Item) -> Policy | None:
    # Before draft 08, a policy had no name, and its quota was in its place.
    quota = _number(member.parameters.get("q", member.name))
    window_s = _number(member.parameters.get("w"))
    if not quota or not window_s or member.parameters.get("qu", _REQUESTS) != _REQUESTS:
        return None
    return Policy(quota, window_s)


def _quotas(
    remaining: str | None, reset: str | None, policies: list[Policy], sent_at: float
) -> Iterator[Quota]:
    """Return the quotas of two lists of numbers, such as from a field that was sent twice."""
    long_run = min((policy.per_second for policy in policies), default=0.0)
    counts, resets = (remaining or "").split(","), (reset or "").split(",")
    if len(counts) == len(resets):
        for count, until in zip(counts[:_MOST_MEMBERS], resets, strict=False):
            number, seconds = _number(count), _number(until)
            if number is not None and seconds is not None:
                yield Quota(number, _seconds_until(seconds, sent_at), long_run)


def _seconds_until(value: float, sent_at: float) -> float:
    if value < _LEAST_EPOCH_S:
        return value
    return max(0.0, (value / 1000 if value >= _LEAST_EPOCH_MS else value) - sent_at)


def _number(text: str | None) -> float | None:
    text = (text or "").strip()
    return float(text) if _NUMBER.fullmatch(text) else None


def _text(fields: Mapping[bytes, bytes], name: bytes) -> str | None:
    value = fields.get(name, b"")
    return value.decode("ascii", errors="replace") if 0 < len(value) <= _LONGEST_FIELD_BYTES else None
