"""The URLs of the API and its token endpoints. Pure."""

import enum
import ipaddress
import re
import urllib.parse
from typing import Any, ClassVar

import attrs

from thrive_learning._hosts import is_valid_host
from thrive_learning.errors import ConfigurationError

_TENANT = "{tenant_id}"
_NETLOC = re.compile(r"([a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::\d*)?")


class Service(enum.Enum):
    """The service that an access token is for. Each service has its own token endpoint.

    Source: the reference page, "OAuth".
    """

    API = "api"
    WEBHOOKS = "webhooks"


def _printable(_region: "Region", _attribute: "attrs.Attribute[str]", name: object) -> None:
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise ConfigurationError(f"The name of a region is {name!r}. Use a printable name.")


def _without_slash(url: str) -> str:
    return str(url).rstrip("/")


def _api_url(region: "Region", attribute: "attrs.Attribute[Any]", url: object) -> None:
    path = _path(region, attribute, url)
    if "{" in path or "}" in path:
        raise ConfigurationError(
            f"{attribute.alias} of region {region.name!r} is {url!r}. Remove its placeholder {{}}."
        )


def _tenant_url(region: "Region", attribute: "attrs.Attribute[Any]", url: object) -> None:
    segments = _path(region, attribute, url).split("/")
    rest = "/".join(segment for segment in segments if segment != _TENANT)
    if _TENANT not in segments or "{" in rest or "}" in rest:
        raise ConfigurationError(
            f"{attribute.alias} of region {region.name!r} is {url!r}. Its path must have the segment "
            f"{_TENANT} and no other placeholder."
        )


def _path(region: "Region", attribute: "attrs.Attribute[Any]", url: object) -> str:
    """Return the path of a URL that credentials may be sent to."""
    parts = _parts(url)
    problem = parts if isinstance(parts, str) else _problem(parts)
    if problem is None and isinstance(parts, urllib.parse.SplitResult):
        return parts.path
    # A URL with a password in it is a secret, so the message does not repeat it.
    shown = "the given value" if not isinstance(url, str) or "@" in url else repr(url)
    raise ConfigurationError(f"{attribute.alias} of region {region.name!r}: {shown} {problem}.")


def _parts(url: object) -> urllib.parse.SplitResult | str:
    if not isinstance(url, str) or not url.isascii() or not url.isprintable() or " " in url:
        return "is not a URL of visible ASCII characters"
    if url.endswith(("?", "#")):
        return "has a query or a fragment. Remove it"
    try:
        parts = urllib.parse.urlsplit(url)
        _ = parts.port
    except ValueError as error:
        return f"is not a URL ({error})"
    return parts


def _problem(parts: urllib.parse.SplitResult) -> str | None:
    if parts.scheme not in {"https", "http"} or not parts.hostname:
        return "is not an absolute URL. It must begin with https:// and a host"
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        return "is plain HTTP, which exposes credentials on the network. Use https"
    if "@" in parts.netloc:
        return "contains credentials. Pass them to the client instead"
    found = _NETLOC.fullmatch(parts.netloc.lower())
    if found is None or not is_valid_host(found[1]) or parts.port == 0 or "\\" in parts.path:
        return "has an invalid host, port, or path"
    if parts.query or parts.fragment:
        return "has a query or a fragment. Remove it"
    return None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@attrs.frozen
class Region:
    """One deployment of the platform, with the URLs of its API and its two token endpoints.

    Use one of the vendor's four, which `Region.VENDOR` lists, parse a name from a configuration file with
    `Region.parse`, or describe another deployment with `Region.custom`.

    Attributes:
        name: The region's name, such as `"production-mea"`.
        api_url: The URL that the paths of the API are appended to, without a trailing slash.

    Source: the reference page, "OAuth"; openapi/DEVIATIONS.md row 6 for the URLs of the API.
    """

    PRODUCTION: ClassVar["Region"]
    STAGING: ClassVar["Region"]
    PRODUCTION_MEA: ClassVar["Region"]
    STAGING_MEA: ClassVar["Region"]
    VENDOR: ClassVar[tuple["Region", ...]]

    name: str = attrs.field(validator=_printable)
    api_url: str = attrs.field(converter=_without_slash, validator=_api_url)
    _token_url: str = attrs.field(alias="token_url", repr=False, validator=_tenant_url)
    _webhooks_token_url: str | None = attrs.field(
        alias="webhooks_token_url", repr=False, validator=attrs.validators.optional(_tenant_url)
    )

    def __str__(self) -> str:
        return self.name

    @property
    def value(self) -> str:
        """The region's name, as `value` of an enum member would be."""
        return self.name

    @property
    def urls(self) -> tuple[str, ...]:
        """All URLs of the region. A URL of a token endpoint contains the placeholder `{tenant_id}`."""
        return tuple(
            url for url in (self.api_url, self._token_url, self._webhooks_token_url) if url is not None
        )

    @classmethod
    def parse(cls, name: str) -> "Region":
        """Return the region with this name.

        Args:
            name: `production`, `staging`, `production-mea`, or `staging-mea`, in any case.

        Raises:
            ConfigurationError: The name is unknown. The message lists the known names.
        """
        region = _BY_NAME.get(str(name).strip().lower().replace("_", "-"))
        if region is None:
            import difflib  # noqa: PLC0415 - for mistakes only

            wanted = str(name)[:64].lower()
            begun = [known for known in _BY_NAME if len(wanted) > 1 and known.startswith(wanted)]
            near = difflib.get_close_matches(wanted, _BY_NAME, n=1) or begun
            question = f" (did you mean {near[0]!r}?)" if near else ""
            raise ConfigurationError(
                f"{name!r} is not a region{question}. Choose one of {', '.join(_BY_NAME)}, "
                "or describe your own: pass Region.custom(...) to ThriveClient(...), or set THRIVE_API_URL."
            )
        return region

    @classmethod
    def custom(
        cls, name: str, *, api_url: str, token_url: str, webhooks_token_url: str | None = None
    ) -> "Region":
        """Describe a deployment that is not one of the four, such as a proxy or a local sandbox.

        Args:
            name: The name in messages and logs.
            api_url: The URL that the paths of the API are appended to.
            token_url: The token endpoint of the API. `{tenant_id}` in its path stands for the tenant ID.
            webhooks_token_url: The token endpoint for webhooks, in the same format; needed only for
                their tokens.

        Raises:
            ConfigurationError: A URL is not absolute, is neither HTTPS nor HTTP to a loopback host, or
                contains credentials, a query, or a fragment; or the path of a token URL lacks `{tenant_id}`.
        """
        if any(name == taken for taken in _BY_NAME):
            raise ConfigurationError(f"{name!r} is the name of a built-in region. Use another name.")
        try:
            return cls(name, api_url, token_url, webhooks_token_url)
        except ConfigurationError as error:
            problem = f"{error}"
        finally:
            del api_url, token_url, webhooks_token_url  # a traceback may show local variables
        raise ConfigurationError(problem)

    def token_url(self, tenant_id: str, service: object = Service.API) -> str:
        """Return the URL of a token endpoint.

        Args:
            tenant_id: The tenant ID; it is percent-encoded as one segment of the path.
            service: The service that the token is for.

        Raises:
            ConfigurationError: The region has no token endpoint for webhooks.
        """
        template = self.token_url_template(service)
        return template.replace(_TENANT, urllib.parse.quote(tenant_id, safe=""))

    def token_url_template(self, service: object = Service.API) -> str:
        """Return the URL of a token endpoint with `{tenant_id}` in it, as errors and log records show it.

        Args:
            service: The service that the token is for.

        Raises:
            ConfigurationError: The region has no token endpoint for webhooks.
        """
        if not isinstance(service, Service):
            raise ConfigurationError(f"service is {service!r}. Use Service.API or Service.WEBHOOKS.")
        template = self._token_url if service is Service.API else self._webhooks_token_url
        if template is None:
            raise ConfigurationError(
                f"The region {self.name!r} has no token endpoint for webhooks. "
                "Pass webhooks_token_url to Region.custom(...)."
            )
        return template


def _public(name: str, domain: str) -> Region:
    return Region(
        name=name,
        api_url=f"https://public.api.{domain}/rest/v1",
        token_url=f"https://public.api.{domain}/oauth2/token/{_TENANT}",
        webhooks_token_url=f"https://user.api.{domain}/oauth2/token/{_TENANT}",
    )


Region.PRODUCTION = _public("production", "learn.link")
Region.STAGING = _public("staging", "learnstaging.link")
Region.PRODUCTION_MEA = _public("production-mea", "mea.learn.tech")
Region.STAGING_MEA = _public("staging-mea", "meastaging.learn.tech")

Region.VENDOR = (Region.PRODUCTION, Region.STAGING, Region.PRODUCTION_MEA, Region.STAGING_MEA)
_BY_NAME = {region.name: region for region in Region.VENDOR}
