"""What the command's exit codes mean, and which of them an error gets."""

import enum

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
    """How the command ended. The numbers are stable: scripts rely on them."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    NOT_FOUND = 3
    ACCESS_DENIED = 4
    RATE_LIMITED = 5
    API_FAILED = 6
    NO_ANSWER = 7
    UNEXPECTED_RESPONSE = 8
    INCOMPLETE = 9
    UNREADABLE_INPUT = 10
    UNKNOWN = 11
    INTERRUPTED = 130
    PIPE_CLOSED = 141


#: What the help and the documentation say of each.
MEANINGS = {
    ExitCode.OK: "all went well, the output is complete",
    ExitCode.UNEXPECTED: "an error that is none of the others",
    ExitCode.USAGE: "wrong usage, ID, setting or installation; nothing was sent",
    ExitCode.NOT_FOUND: "the region holds no such record",
    ExitCode.ACCESS_DENIED: "the credentials are not accepted, or do not allow this",
    ExitCode.RATE_LIMITED: "too many requests; wait before the next",
    ExitCode.API_FAILED: "the API failed, or refused for another reason",
    ExitCode.NO_ANSWER: "the connection failed, or there was no answer in time",
    ExitCode.UNEXPECTED_RESPONSE: "the answer breaks the API's contract",
    ExitCode.INCOMPLETE: "an export ended, and some records are missing: its summary says why",
    ExitCode.UNREADABLE_INPUT: "the IDs cannot be read, or there are none; what came before is safe",
    ExitCode.UNKNOWN: "a check could not find out whether the settings work",
    ExitCode.INTERRUPTED: "interrupted with Ctrl-C",
    ExitCode.PIPE_CLOSED: "the reader of the output went away, as `head` does",
}


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
