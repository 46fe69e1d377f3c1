"""What a token is for, and what a request for one came to. Pure."""

from typing import NamedTuple

from thrive_learning.credentials import Scope, Secret
from thrive_learning.errors import ThriveError
from thrive_learning.models import AccessToken
from thrive_learning.regions import Service

#: No token is requested for this long after a request that brought none, unless the server asks for another
#: wait. After a renewal that failed, give or take a fifth. Seconds.
PAUSE_S = 30.0


#: A year: what servers say beyond it leaves the calendar.
LONGEST_LIFETIME_S = 366 * 86_400.0


def scope_or_text(name: str) -> Scope | str:
    """Return the scope of a name, or the name itself if the contract does not know it."""
    try:
        return Scope(name)
    except ValueError:
        return name


class Key(NamedTuple):
    """What a token is for.

    Attributes:
        service: Whose token endpoint issues it. What happens there is remembered for all its keys together.
        scopes: What was asked for.
    """

    service: Service
    scopes: frozenset[Scope]


class Minted(NamedTuple):
    """A new token.

    Attributes:
        token: The token.
        lifetime_s: For how long the server said that it is valid, in seconds.
        requested_at: When its request was sent, by the cache's clock: its life is counted from there.
    """

    token: AccessToken
    lifetime_s: float
    requested_at: float


class Failure(NamedTuple):
    """An outcome other than a token.

    Attributes:
        error: What the callers get, each a copy.
        pause_s: For how long no other token is requested, in seconds; None if the outcome says nothing about
            the next request.
        secret: The client secret that was sent; None if it is not known any more.
        is_transient: Whether the next request may succeed with the same credentials.
        is_about_scopes: Whether it says nothing about tokens of other scopes.
        is_own: Whether it is a time limit of the leader, which says nothing about anybody else's request.
    """

    error: ThriveError
    pause_s: float | None = None
    secret: Secret | None = None
    is_transient: bool = False
    is_about_scopes: bool = False
    is_own: bool = False
