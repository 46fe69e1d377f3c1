"""The kinds of tokens, and the outcomes of token requests. Pure."""

from typing import NamedTuple

from thrive_learning.credentials import Scope, Secret
from thrive_learning.errors import ThriveError
from thrive_learning.models import AccessToken
from thrive_learning.regions import Service

#: How long no token is requested after a failed request, unless the server asks for another wait, in seconds.
#: After a failed renewal, it varies by up to a fifth.
PAUSE_S = 30.0


#: A year. A longer lifetime could exceed the calendar's range.
LONGEST_LIFETIME_S = 366 * 86_400.0


def scope_or_text(name: str) -> Scope | str:
    """Return the scope of a name, or the name itself if the contract does not list it."""
    try:
        return Scope(name)
    except ValueError:
        return name


class Key(NamedTuple):
    """A kind of token.

    Attributes:
        service: The service whose token endpoint issues it. Outcomes are remembered for all its keys
            together.
        scopes: The requested scopes.
    """

    service: Service
    scopes: frozenset[Scope]


class Minted(NamedTuple):
    """A new token.

    Attributes:
        token: The token.
        lifetime_s: The lifetime according to the server, in seconds.
        requested_at: When its request was sent, by the cache's clock. Its lifetime counts from there.
    """

    token: AccessToken
    lifetime_s: float
    requested_at: float


class Failure(NamedTuple):
    """An outcome other than a token.

    Attributes:
        error: The error of the callers, each of which gets a copy.
        pause_s: How long no other token is requested, in seconds; None if the outcome does not affect the
            next request.
        secret: The client secret that was sent; None if it was forgotten.
        is_transient: Whether the next request may succeed with the same credentials.
        is_about_scopes: Whether it does not affect tokens with other scopes.
        is_own: Whether it is a time limit of the leader, which does not affect other requests.
    """

    error: ThriveError
    pause_s: float | None = None
    secret: Secret | None = None
    is_transient: bool = False
    is_about_scopes: bool = False
    is_own: bool = False
