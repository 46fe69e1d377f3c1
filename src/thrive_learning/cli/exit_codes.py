"""What the command's exit codes mean, and which of them an error gets."""

import enum
from typing import Self

import click

from thrive_learning.cli.input_lines import UnreadableInputError
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

# Error codes with which a token endpoint denies access, whatever the status.
# Source: RFC 6749 section 5.2; the vendor's pages on errors.
_DENIALS = frozenset(
    {"invalid_client", "unauthorized_client", "invalid_scope", "access_denied", "unauthorized", "forbidden"}
)


class ExitCode(enum.IntEnum):
    """How the command ended. The numbers are stable: scripts rely on them.

    Attributes:
        meaning: How the help and the documentation explain it.
    """

    meaning: str

    OK = 0, "all went well, the output is complete"
    UNEXPECTED = 1, "any other error"
    USAGE = 2, "wrong usage, ID, setting or installation; nothing was sent"
    NOT_FOUND = 3, "the region holds no such record"
    ACCESS_DENIED = 4, "the credentials are not accepted, or do not allow this"
    RATE_LIMITED = 5, "too many requests; wait before the next"
    API_FAILED = 6, "the API failed, or refused for another reason"
    NO_ANSWER = 7, "the connection failed, or there was no answer in time"
    UNEXPECTED_RESPONSE = 8, "the answer breaks the API's contract"
    INCOMPLETE = 9, "an export ended, and some records are missing: its summary says why"
    UNREADABLE_INPUT = 10, "the input has no IDs or cannot be read; records written so far are safe"
    UNKNOWN = 11, "a check could not find out whether the settings work"
    INTERRUPTED = 130, "interrupted with Ctrl-C"
    PIPE_CLOSED = 141, "the reader of the output went away, as `head` does"

    def __new__(cls, number: int, meaning: str) -> Self:
        """Create a code."""
        code = int.__new__(cls, number)
        code._value_, code.meaning = number, meaning
        return code


def exit_code(error: BaseException) -> ExitCode:  # noqa: C901, PLR0911, PLR0912 - a table: the first row that fits
    """Give the exit code for an error, whatever raised it."""
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
