"""The embedded API: answers requests as the contract says, without a network and without real credentials.

`Sandbox` is a pure function from a request and the time to a response, `SandboxTransport` runs it under
httpx.
"""

from thrive_learning.sandbox.core import (
    API_URL,
    TOKEN_URL,
    WEBHOOKS_TOKEN_URL,
    Sandbox,
    SandboxRequest,
    SandboxResponse,
)
from thrive_learning.sandbox.transport import SandboxTransport

__all__ = [
    "API_URL",
    "TOKEN_URL",
    "WEBHOOKS_TOKEN_URL",
    "Sandbox",
    "SandboxRequest",
    "SandboxResponse",
    "SandboxTransport",
]
