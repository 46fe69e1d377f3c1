"""Changing the file of profiles: what may be put there, and how it gets there whole. Comments stay."""

import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thrive_learning.credentials import BasicCredentials, ClientCredentials
from thrive_learning.errors import ConfigurationError
from thrive_learning.profiles import ProfileFile
from thrive_learning.regions import Region
from thrive_learning.settings import SECRET_KEYS, URL_KEYS, VARIABLES, no_key, profile_layer


def known_key(key: str) -> str:
    """Give a key of a profile, which may be written with `-`.

    Raises:
        ConfigurationError: There is no such key; the message gives the nearest.
    """
    found = key.replace("-", "_")
    if found in VARIABLES:
        return found
    raise ConfigurationError(no_key(found))


def check_value(key: str, value: str, others: Mapping[str, Any]) -> None:
    """Check a value before it is written.

    Args:
        key: A key of a profile.
        value: Its value; no secret.
        others: What the profile holds besides.

    Raises:
        ConfigurationError: It cannot be the value of this key.
    """
    alone = ProfileFile(Path.cwd() / "config.toml", None, {"profile": {key: value}})
    problem = profile_layer(alone, "profile").problem
    if problem is not None:
        raise ConfigurationError(problem.partition(": ")[2])
    _check_meaning(key, value, others)


def _check_meaning(key: str, value: str, others: Mapping[str, Any]) -> None:
    urls = dict.fromkeys(URL_KEYS, "https://a.invalid/{tenant_id}") | {"api_url": "https://a.invalid"}
    match key:
        case "region" if any(name in others for name in URL_KEYS):
            Region.custom(value, **urls)
        case "region":
            _check_known(value)
        case "api_url" | "token_url" | "webhooks_token_url":
            Region.custom("custom", **(urls | {key: value}))
        case "tenant_id":
            BasicCredentials(value, "checked")
        case "client_id" | "client_auth":
            options: dict[str, Any] = {"client_id": "checked", key: value}
            ClientCredentials("checked", client_secret="checked", **options)  # noqa: S106 - it is none
        case "scopes":
            ClientCredentials("checked", "checked", "checked", value.replace(",", " ").split())
        case _:
            pass  # a secret, a file or a command: there is no more to know


def _check_known(region: str) -> None:
    try:
        Region.parse(region)
    except ConfigurationError as error:
        problem = f"{error}. In a profile, that is to set {', '.join(URL_KEYS)} first"
    else:
        return
    raise ConfigurationError(problem)


def absolute(key: str, value: str) -> str:
    """Give a value as it is to be written: the path of a file is made absolute."""
    return str(Path(value).expanduser().absolute()) if key.endswith("_file") else value


def with_changes(text: str, profile: str, changes: Mapping[str, str | None]) -> str:
    """Give the text of a file of profiles with some keys of a profile set, or removed (None).

    A profile that is left without keys goes with them.
    """
    import tomlkit  # noqa: PLC0415 - reading needs it not

    document = tomlkit.parse(text)
    if profile not in document:
        document[profile] = tomlkit.table()
    table: Any = document[profile]
    for key, value in changes.items():
        if value is not None:
            table[key] = value
        elif key in table:
            del table[key]
    if not table:
        del document[profile]
    return tomlkit.dumps(document)


def write_private(path: Path, text: str) -> None:
    """Put text in the place of a file at once, for its owner alone (mode 0600).

    Raises:
        ConfigurationError: It cannot be written, or the path is that of something else than a file.
    """
    problem = _written(path, text)
    del text  # there may be secrets in it
    if problem is not None:
        raise ConfigurationError(problem)


def _written(path: Path, text: str) -> str | None:
    path = path.resolve()  # a link stays one
    if path.exists() and not path.is_file():
        return f"{path} is no file: THRIVE_CONFIG_FILE should name one"
    temporary = ""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        return f"{path} cannot be written: {error.strerror}"
    return None


def is_secret(key: str) -> bool:
    """Whether the value of a key is itself a secret."""
    return key in SECRET_KEYS
