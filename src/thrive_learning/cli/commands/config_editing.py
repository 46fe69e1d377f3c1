"""Change the config file: check values, and replace the file atomically. Comments stay."""

import contextlib
import os
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

from thrive_learning._home import expand_home
from thrive_learning._settings.engine_names import parse_engine
from thrive_learning._settings.layers import URL_KEYS, VARIABLES, profile_layer, unknown_key
from thrive_learning._settings.profiles import ProfileFile, load_profiles
from thrive_learning.cli.regular_files import replacing
from thrive_learning.cli.suggestions import did_you_mean, nearest
from thrive_learning.credentials import BasicCredentials, ClientCredentials, Secret
from thrive_learning.errors import ConfigurationError
from thrive_learning.rate_limits import RateLimit
from thrive_learning.regions import Region

#: How long one process waits for another that has locked the file, in seconds.
LOCK_LIMIT_S = 10.0

#: New values by key; None removes a key.
Changes = Mapping[str, str | Secret | None]


def known_key(key: str) -> str:
    """Return the name of a key of a profile, which may be written with `-` for `_`.

    Raises:
        ConfigurationError: The key is unknown. The message suggests one.
    """
    found = key.replace("-", "_")
    if found in VARIABLES:
        return found
    raise ConfigurationError(unknown_key(found))


def check_value(key: str, value: str, others: Mapping[str, Any]) -> None:
    """Check a value before it is written.

    Args:
        key: A key of a profile.
        value: Its value, which is not a secret.
        others: The other keys of the profile, and their values.

    Raises:
        ConfigurationError: The value is not valid for this key.
    """
    if not value.strip():
        raise ConfigurationError(f"the value of {key} is empty. Use 'thrive config unset {key}' to remove it")
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
            ClientCredentials("checked", client_secret="checked", **options)  # noqa: S106 - not a secret
        case "engine":
            parse_engine(value)
        case "rate_limit":
            RateLimit.parse(value)
        case "scopes":
            ClientCredentials("checked", "checked", "checked", value.replace(",", " ").split())
        case _:
            pass  # files and commands were checked with the layer


def _check_known(region: str) -> None:
    names = [known.name for known in Region.VENDOR]
    if region.strip().lower().replace("_", "-") not in names:
        raise ConfigurationError(
            f"{region!r} is not a region.{did_you_mean(nearest(region, names))} Choose one of "
            f"{', '.join(names)}, or set {', '.join(URL_KEYS)} first for a custom region"
        )


def absolute(key: str, value: str) -> str:
    """Return a value as it is stored: the path of a file is made absolute.

    Raises:
        ConfigurationError: The path begins with the home folder of an unknown user.
    """
    if not key.endswith("_file"):
        return value
    path = expand_home(value)
    if isinstance(path, str):
        raise ConfigurationError(f"{key}: {path}. Use an absolute path")
    return str(path.absolute())


def change_profile(path: Path, profile: str, decide: Callable[[ProfileFile], Changes]) -> None:
    """Change a profile under a lock, so that no other process changes the file meanwhile.

    Args:
        path: The file, which need not exist. A link stays a link, and its target is changed.
        profile: The profile's name.
        decide: Returns the changes for the file as it is. It may raise, and is called twice: before anything
            is created, and under the lock.

    Raises:
        ConfigurationError: The file cannot be read or written, or another process keeps it locked.
    """
    target = Path(os.path.realpath(path))
    decide(_editable(path, target))
    with _locked(target):
        changes = decide(_editable(path, target))
        # Neither text is a local variable here, because both may contain secrets.
        write_private(
            target,
            with_changes(
                target.read_text(encoding="utf-8-sig") if os.path.lexists(target) else "", profile, changes
            ),
        )


def _editable(path: Path, target: Path) -> ProfileFile:
    """Load a config file that is readable or does not exist; a broken one must not be overwritten."""
    file = load_profiles(path)
    if file.absence is not None and os.path.lexists(target):
        raise ConfigurationError(
            f"{file.absence if file.is_unreadable else f'{path} is not a regular file'}. "
            "Set THRIVE_CONFIG_FILE to another path"
        )
    return file


@contextlib.contextmanager
def _locked(path: Path) -> Generator[None]:
    """Hold the lock of a file. The lock is a file beside it, and must not be a link."""
    from filelock import FileLock, Timeout  # noqa: PLC0415 - reading needs none

    lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=LOCK_LIMIT_S, mode=0o600)
    problem = None
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        problem = f"another process has locked {path} for {LOCK_LIMIT_S:g} s. Try again"
    except OSError as error:
        problem = f"cannot write {path}: {error.strerror} ({error.filename})"
    if problem is not None:
        raise ConfigurationError(problem)
    try:
        yield
    finally:
        lock.release()


def with_changes(text: str, profile: str, changes: Changes) -> str:
    """Return the text of a config file with some keys of a profile set or removed.

    A profile that is left without keys is removed too.
    """
    import tomlkit  # noqa: PLC0415 - reading does without it

    document = tomlkit.parse(text)
    if profile not in document:
        document[profile] = tomlkit.table()
    table: Any = document[profile]
    for key, value in changes.items():
        if value is not None:
            table[key] = value.reveal() if isinstance(value, Secret) else value
        elif key in table:
            del table[key]
    if not table:
        del document[profile]
    return tomlkit.dumps(document)


def write_private(path: Path, text: str) -> None:
    """Replace a file atomically, readable only by its owner (mode 0600).

    Args:
        path: A regular file, or one that does not exist. Its folder exists.
        text: The new text.

    Raises:
        ConfigurationError: The file cannot be written.
    """
    problem = None
    try:
        with replacing(path, mode=0o600) as file:
            file.write(text.encode())
    except OSError as error:
        problem = f"cannot write {path}: {error.strerror}"
    del text  # it may contain secrets
    if problem is not None:
        raise ConfigurationError(problem)
