"""The credentials of a client and the scopes of its tokens. Pure."""

import enum
import functools
from collections.abc import Callable, Iterable
from typing import Any, Literal, cast, overload

import attrs

from thrive_learning._interruptions import interruption
from thrive_learning.errors import ConfigurationError
from thrive_learning.regions import Service


class Scope(enum.StrEnum):
    """A permission of an access token.

    Source: the reference page, "Scopes".
    """

    ALL = "api/all"
    READ = "api/read"
    WRITE = "api/write"
    WEBHOOKS = "api/webhooks"


#: The scopes that each service's token endpoint supports.
_SERVICE_SCOPES: dict[Service, tuple[Scope, ...]] = {
    Service.API: (Scope.ALL, Scope.READ, Scope.WRITE),
    Service.WEBHOOKS: (Scope.WEBHOOKS, Scope.ALL),
}


class Secret:
    """Text that is never shown. It prints masked, and is pickled only if `may_pickle` allows it.

    Args:
        value: The text, or a function without arguments that returns it. The function is called each time the
            secret is needed, so a new secret takes effect without a restart. It is pickled by its name.
        may_pickle: Whether the text may be in a pickle, which anyone can read.

    Raises:
        ConfigurationError: The value is not text, is empty, has white space around it, or contains an
            invisible character. The message says which.
    """

    __slots__ = ("_may_pickle", "_value")

    def __init__(self, value: str | Callable[[], str], *, may_pickle: bool = False) -> None:
        self._may_pickle = may_pickle
        problem = None if callable(value) else _problem_of_secret(value)
        if problem:
            self._value: str | Callable[[], str] = ""
            del value  # a traceback may show local variables
            raise ConfigurationError(problem)
        self._value = value

    @property
    def is_fixed(self) -> bool:
        """Whether the text never changes, because it does not come from a function."""
        return not callable(self._value)

    @property
    def may_pickle(self) -> bool:
        """Whether the secret can be pickled. A function always can, because it is pickled by its name."""
        return self._may_pickle or callable(self._value)

    def reveal(self) -> str:
        """Return the text itself.

        Raises:
            ConfigurationError: The function fails or returns text that cannot be a secret.
        """
        if not callable(self._value):
            return self._value
        given = _ask(self._value)
        if isinstance(given, Secret):
            return given.reveal()
        raise ConfigurationError(given)

    def fixed(self) -> "Secret":
        """Return the current secret as one that never changes.

        Raises:
            ConfigurationError: The function fails, or returns text that cannot be a secret.
        """
        return self if self.is_fixed else Secret(self.reveal())

    def __repr__(self) -> str:
        return "Secret('**********')"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return self._value == other._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> "tuple[Callable[..., Secret], tuple[Any, ...]]":
        if not self.may_pickle:
            raise TypeError(
                "A Secret is not pickled by default. Read it from the environment of the other process, "
                "pass a function instead, or allow it with Secret(..., may_pickle=True)."
            )
        return functools.partial(Secret, may_pickle=self._may_pickle), (self._value,)

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, _memo: object) -> "Secret":
        return self


def _ask(function: Callable[[], str]) -> Secret | str:
    """Return the secret of a function, or what is wrong, because a raising frame would show the bare text."""
    try:
        value = function()
    except ConfigurationError as error:  # its author wrote the message for users
        return str(error)
    except Exception as error:  # the caller's function may raise anything
        if interruption(error) is not None:
            raise
        return f"the function that returns a secret failed ({type(error).__name__})"
    problem = _problem_of_secret(value)
    return Secret(value) if problem is None else f"the function that returns a secret: {problem}"


def _problem_of_secret(value: object) -> str | None:
    if not isinstance(value, str):
        return f"a secret is of type {type(value).__name__}. Pass it as text"
    problem = _problem_of_text(value)
    return None if problem is None else f"the secret {problem}"


def _problem_of_text(value: str) -> str | None:  # noqa: PLR0911 - a table whose first matching row counts
    """Return why a text cannot be a secret or an ID, and what to do; None if it can."""
    if not value or value.isspace():
        return "is only white space. Set it" if value else "is empty. Set it"
    if value.startswith("\ufeff"):
        return "begins with a byte-order mark. Remove it"
    if "\0" in value:
        return "contains a NUL character, as UTF-16 text does. Save it as UTF-8"
    if any("\ud800" <= character <= "\udfff" for character in value):
        return "is not UTF-8 text. Save it as UTF-8"
    if "\n" in value or "\r" in value:
        return f"{'ends with' if value.splitlines()[1:] == [] else 'contains'} a line end. Remove it"
    if value != value.strip():
        return f"{'ends' if value == value.lstrip() else 'begins'} with white space. Remove it"
    invisible = next((character for character in value if not character.isprintable()), None)
    return f"contains the invisible character U+{ord(invisible):04X}. Remove it" if invisible else None


_LONGEST_IDENTIFIER = 1024


def _check_identifier(name: str, value: object) -> None:
    problem = _problem_of_text(value) if isinstance(value, str) else "is not text. Pass a string"
    if problem is not None:
        raise ConfigurationError(f"{name} is {value!r}, which {problem}")
    if len(cast("str", value)) > _LONGEST_IDENTIFIER:
        raise ConfigurationError(
            f"{name} has {len(cast('str', value))} characters. It may have at most {_LONGEST_IDENTIFIER}"
        )


def _check_tenant_id(value: str) -> None:
    _check_identifier("tenant_id", value)
    # A colon ends the username of HTTP Basic; a dot segment would vanish from the path of the token URL.
    if ":" in value or value in {".", ".."}:
        raise ConfigurationError(
            f"tenant_id is {value!r}, which is not a tenant ID. A tenant ID looks like eu-west-2_AbcdEfghI"
        )


def _check_secret(name: str, masked: "Secret | str") -> None:
    if isinstance(masked, str):
        raise ConfigurationError(f"{name}: {masked}")


def _scopes(value: object) -> tuple[Scope, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ConfigurationError(f"scopes is {value!r}. Pass a list of scopes, such as [Scope.READ].")
    return tuple(dict.fromkeys(_scope(scope) for scope in cast("Iterable[object]", value)))


def _scope(value: object) -> Scope:
    if value not in tuple(Scope):
        raise ConfigurationError(f"{value!r} is not a scope. Choose from {', '.join(Scope)}.")
    return Scope(str(value))


# Both classes have an __init__ of their own, because that of attrs would keep the bare secret in a local
# variable, which a traceback about an invalid tenant ID would show. They set all attributes before they check
# any, because the same traceback shows `self` as well.


def _set(credentials: object, **values: object) -> None:
    for name, value in values.items():
        object.__setattr__(credentials, name, value)


@attrs.frozen(init=False)
class BasicCredentials:
    """A tenant ID and its API secret, sent as HTTP Basic with every call.

    Args:
        tenant_id: The tenant ID, such as `eu-west-2_AbcdEfghI`.
        api_secret: The API secret of this tenant, or a function that returns it (see `Secret`).

    Raises:
        ConfigurationError: A value is not text, is empty, or is not valid.

    Source: the reference page, "Security"; RFC 7617.
    """

    tenant_id: str
    api_secret: Secret

    def __init__(self, tenant_id: str, api_secret: str | Callable[[], str] | Secret) -> None:
        masked = _masked(api_secret)
        del api_secret
        _set(self, tenant_id=tenant_id, api_secret=masked)
        _check_tenant_id(tenant_id)
        _check_secret("api_secret", masked)


#: How a client authenticates at the token endpoint: see `ClientCredentials`.
ClientAuth = Literal["auto", "post", "basic"]


@attrs.frozen(init=False)
class ClientCredentials:
    """An OAuth 2.0 client. The SDK requests, shares, and renews its access tokens.

    Args:
        tenant_id: The tenant ID, such as `eu-west-2_AbcdEfghI`. It is part of the token URL.
        client_id: The client ID; None for the tenant ID, which the vendor's token page uses as the client ID.
        client_secret: The client secret, or a function that returns it (see `Secret`). The vendor's token
            page calls it the API secret.
        scopes: The scopes to request; empty lets the server choose.
        client_auth: How the client authenticates at the token endpoint. `"post"` sends ID and secret as form
            fields, `"basic"` sends them with HTTP Basic. `"auto"` tries form fields, then HTTP Basic once if
            the server rejects the client, and afterwards uses the one that worked.

    Raises:
        ConfigurationError: A value is missing, empty, not text, or not valid, or a scope is unknown.

    Source: the reference page, "OAuth"; the vendor's token page; RFC 6749 sections 2.3.1 and 4.4.
    """

    tenant_id: str
    client_id: str
    client_secret: Secret
    scopes: tuple[Scope, ...]
    client_auth: ClientAuth

    @overload
    def __init__(
        self,
        tenant_id: str,
        client_id: str | None,
        client_secret: str | Callable[[], str] | Secret,
        scopes: Iterable[Scope | str] = ...,
        client_auth: ClientAuth = ...,
    ) -> None: ...

    @overload
    def __init__(
        self,
        tenant_id: str,
        client_id: str | None = ...,
        *,
        client_secret: str | Callable[[], str] | Secret,
        scopes: Iterable[Scope | str] = ...,
        client_auth: ClientAuth = ...,
    ) -> None: ...

    def __init__(
        self,
        tenant_id: str,
        client_id: str | None = None,
        client_secret: str | Callable[[], str] | Secret | None = None,
        scopes: Iterable[Scope | str] = (Scope.READ,),
        client_auth: ClientAuth = "auto",
    ) -> None:
        if client_secret is None:
            # The second argument may be a secret, passed in the belief that it is the client secret.
            client_id = None
            masked: Secret | str = "the secret is missing. Pass it by name, as client_secret="
        else:
            masked = _masked(client_secret)
        del client_secret
        _set(
            self,
            tenant_id=tenant_id,
            client_id=tenant_id if client_id is None else client_id,
            client_secret=masked,
            scopes=scopes,
            client_auth=client_auth,
        )
        _check_tenant_id(tenant_id)
        _check_identifier("client_id", self.client_id)
        _check_secret("client_secret", masked)
        _set(self, scopes=_scopes(scopes))
        if client_auth not in ("auto", "post", "basic"):
            raise ConfigurationError(f"client_auth is {client_auth!r}. Choose 'auto', 'post', or 'basic'.")

    def scopes_for(self, service: Service, wanted: Iterable[Scope | str] | None = None) -> tuple[Scope, ...]:
        """Return the scopes to request for a token.

        Args:
            service: The service that the token is for.
            wanted: The scopes that the caller names, or None for those of the credentials.

        Returns:
            The wanted scopes, or those of the credentials that the service supports. For webhooks, if the
            credentials have no such scope, `api/webhooks`.

        Raises:
            ConfigurationError: The service does not support a wanted scope, or none of the configured ones.
        """
        # Callers without a type checker may pass anything.
        if not isinstance(cast("object", service), Service):
            raise ConfigurationError(f"service is {service!r}. Use Service.API or Service.WEBHOOKS.")
        known = _SERVICE_SCOPES[service]
        if wanted is not None:
            scopes = _scopes(wanted)
            strange = [scope for scope in scopes if scope not in known]
        else:
            scopes = tuple(scope for scope in self.scopes if scope in known)
            if not scopes and service is Service.WEBHOOKS:
                scopes = (Scope.WEBHOOKS,)
            strange = [] if scopes else list(self.scopes)
        if strange:
            raise ConfigurationError(
                f"The {service.value} service does not support the scope {', '.join(strange)}. "
                f"Choose from {', '.join(known)}."
            )
        return scopes


#: The credentials of a client.
Credentials = BasicCredentials | ClientCredentials


def _masked(value: str | Callable[[], str] | Secret) -> Secret | str:
    """Return the secret, or what is wrong with it, because a raising frame would show the bare text."""
    if isinstance(value, Secret):
        return value
    problem = None if callable(value) else _problem_of_secret(value)
    return Secret(value) if problem is None else problem
