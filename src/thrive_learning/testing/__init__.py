"""Test projects that use this SDK: a programmable sandbox, pytest fixtures, and protocols for fakes.

pytest finds the fixtures automatically: `thrive_sandbox`, `thrive_client`, `async_thrive_client`, and
`thrive_server`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thrive_learning.testing.protocols import (
        ActivitiesProtocol,
        AsyncActivitiesProtocol,
        AsyncThriveClientProtocol,
        ThriveClientProtocol,
    )
    from thrive_learning.testing.sandbox import (
        FakeClock,
        RecordedRequest,
        ServedSandbox,
        ThriveSandbox,
        make_activity,
    )
    from thrive_learning.testing.webhooks import SignedWebhook, make_webhook

__all__ = [
    "ActivitiesProtocol",
    "AsyncActivitiesProtocol",
    "AsyncThriveClientProtocol",
    "FakeClock",
    "RecordedRequest",
    "ServedSandbox",
    "SignedWebhook",
    "ThriveClientProtocol",
    "ThriveSandbox",
    "make_activity",
    "make_webhook",
]


def __getattr__(name: str) -> Any:
    # pytest imports this package at each start, even in projects that do not use it.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "protocols" if name.endswith("Protocol") else "sandbox"
    if name.lower().endswith("webhook"):
        home = "webhooks"
    value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    return value


def __dir__() -> list[str]:
    return __all__
