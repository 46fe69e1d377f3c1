"""The exit codes of the command, their meanings, and the code of each error."""

import enum
from typing import Self

import click

from thrive_learning._id_files.lines import UnreadableInputError
from thrive_learning.errors import (
    ApiError,
    ConfigurationError,
    ConnectionFailedError,
    ForbiddenError,
    InvalidIdError,
    NotFoundError,
    RateLimitedError,
    TokenError,
    UnauthorizedError,
    UnexpectedResponseError,
)

# Error codes with which a token endpoint denies access, regardless of the status.
# Source: RFC 6749 section 5.2; the vendor's pages on errors.
_DENIALS = frozenset(
    {"invalid_client", "unauthorized_client", "invalid_scope", "access_denied", "unauthorized", "forbidden"}
)


class ExitCode(enum.IntEnum):
    """How the command ended. The numbers are stable, because scripts rely on them.

    Attributes:
        meaning: The explanation in the help and the documentation.
    """

    meaning: str

    OK = 0, "success; the output is complete"
    UNEXPECTED = 1, "another error, such as an output that cannot be written"
    USAGE = 2, "invalid usage, ID, setting, or installation"
    NOT_FOUND = 3, "the API has no record with this ID"
    ACCESS_DENIED = 4, "the credentials were rejected, or do not allow this"
    RATE_LIMITED = 5, "too many requests; wait before you retry"
    API_FAILED = 6, "the API failed, or rejected the request for another reason"
    NO_ANSWER = 7, "the connection failed or timed out"
    UNEXPECTED_RESPONSE = 8, "the response does not match the API's contract"
    INCOMPLETE = 9, "an export ended without some records; its summary says why"
    UNREADABLE_INPUT = 10, "the input has no IDs or cannot be read; records already written stay"
    UNKNOWN = 11, "a check could not determine whether the settings work"
    INTERRUPTED = 130, "interrupted with Ctrl-C"
    PIPE_CLOSED = 141, "the reader of the output closed it, as `head` does"

    def __new__(cls, number: int, meaning: str) -> Self:
        """Create a code."""
        code = int.__new__(cls, number)
        code._value_, code.meaning = number, meaning
        return code


def exit_code(error: BaseException) -> ExitCode:  # noqa: C901, PLR0911, PLR0912 - a table: the first row that fits
    """Return the exit code for an error."""
    match error:
        case InvalidIdError() | ConfigurationError() | click.UsageError() | ModuleNotFoundError():
            return ExitCode.USAGE
        case NotFoundError():
            return ExitCode.NOT_FOUND
        case UnauthorizedError() | ForbiddenError() | TokenError(status_code=400 | 401 | 403 | 404):
            return ExitCode.ACCESS_DENIED
        case RateLimitedError() | TokenError(status_code=429):
            return ExitCode.RATE_LIMITED
        case TokenError(error=str(code), is_transient=False) if code.lower() in _DENIALS:
            return ExitCode.ACCESS_DENIED
        case TokenError(status_code=200, error=str()):
            return ExitCode.API_FAILED
        case UnexpectedResponseError() | TokenError(status_code=200):
            return ExitCode.UNEXPECTED_RESPONSE
        case ApiError() | TokenError():
            return ExitCode.API_FAILED
        case ConnectionFailedError():
            return ExitCode.NO_ANSWER
        case UnreadableInputError():
            return ExitCode.UNREADABLE_INPUT
        case KeyboardInterrupt() | click.Abort():
            return ExitCode.INTERRUPTED
        case BrokenPipeError():
            return ExitCode.PIPE_CLOSED
        case _:
            return ExitCode.UNEXPECTED
