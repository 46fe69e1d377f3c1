"""The sandbox: a fake API that follows the contract, without a network and without real credentials.

`Sandbox` is a pure function from a request and the time to a response. `FaultySandbox` adds faults, new
records, and a rate limit. `SandboxTransport` runs either of them as an httpx transport. `thrive sandbox`
serves them over HTTP.
"""

import importlib
from typing import TYPE_CHECKING, Any

from thrive_learning.sandbox.arrivals import RecordArrivals
from thrive_learning.sandbox.core import API_URL, TOKEN_URL, WEBHOOKS_TOKEN_URL, Sandbox
from thrive_learning.sandbox.fault_scripts import FaultScript
from thrive_learning.sandbox.faults import Fault, SandboxReply, parse_fault
from thrive_learning.sandbox.faulty import FaultySandbox
from thrive_learning.sandbox.messages import SandboxRequest, SandboxResponse
from thrive_learning.sandbox.rate_limit import SandboxRateLimit

if TYPE_CHECKING:
    from thrive_learning.sandbox.transport import SandboxTransport

__all__ = [
    "API_URL",
    "TOKEN_URL",
    "WEBHOOKS_TOKEN_URL",
    "Fault",
    "FaultScript",
    "FaultySandbox",
    "RecordArrivals",
    "Sandbox",
    "SandboxRateLimit",
    "SandboxReply",
    "SandboxRequest",
    "SandboxResponse",
    "SandboxTransport",
    "parse_fault",
]


def __getattr__(name: str) -> Any:
    # This loads httpx, which the help of the command does not need.
    if name != "SandboxTransport":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = importlib.import_module(f"{__name__}.transport").SandboxTransport
    return value
