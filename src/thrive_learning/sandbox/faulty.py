"""A sandbox with faults and a rate limit, in which records may arrive."""

import re
from dataclasses import replace
from http import HTTPStatus

from thrive_learning.sandbox.arrivals import RecordArrivals
from thrive_learning.sandbox.collection import Arrived
from thrive_learning.sandbox.core import Sandbox, is_list_target, is_token_target
from thrive_learning.sandbox.fault_scripts import FaultScript
from thrive_learning.sandbox.faults import Fault, SandboxReply, invalid_fault, kind_of, parse_fault
from thrive_learning.sandbox.messages import SandboxRequest, completed, error_response
from thrive_learning.sandbox.rate_limit import SandboxRateLimit

#: One preference in the list of `Prefer`. The alternatives begin with different characters, so matching takes
#: linear time.
_PREFERENCE = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*"?)+', re.DOTALL)


class FaultySandbox:
    """A sandbox with faults. A request can ask for a fault with `Prefer: fault=…`.

    The header takes precedence over the script, which does not count that request. The rate limit takes
    precedence over both. A request that it rejects uses up no fault.

    Args:
        sandbox: The sandbox that gives the normal responses.
        script: The faults of requests without the header; by default no faults.
        arrivals: The records that arrive after list requests; by default no records.
        rate_limit: Which requests get 429; by default none. It can be replaced at any time.

    Source:
        RFC 7240, sections 2 and 3
    """

    def __init__(
        self,
        sandbox: Sandbox,
        script: FaultScript | None = None,
        arrivals: RecordArrivals | None = None,
        rate_limit: SandboxRateLimit | None = None,
    ) -> None:
        self.sandbox: Sandbox = sandbox
        self.script: FaultScript = FaultScript() if script is None else script
        self.arrivals: RecordArrivals = RecordArrivals() if arrivals is None else arrivals
        self.rate_limit: SandboxRateLimit | None = rate_limit

    @property
    def current(self) -> Sandbox:
        """The sandbox with the records that have arrived."""
        arrived = self.arrivals.arrived
        return self.sandbox if arrived == Arrived() else self.sandbox.with_arrived(arrived)

    def reply(self, request: SandboxRequest, *, now: float) -> SandboxReply:
        """Respond to one request, and count it.

        Args:
            request: Any request. An invalid preference gets the status 400.
            now: The time in Unix seconds.
        """
        reply = self._limited_reply(request, now)
        if is_list_target(request.target) and reply.response.status == HTTPStatus.OK:
            return replace(reply, arrived=self.arrivals.after_list(now))
        return reply

    def _limited_reply(self, request: SandboxRequest, now: float) -> SandboxReply:
        limit = self.rate_limit
        # The limit is the tenant's, so only requests that are known to be the tenant's count.
        if limit is None or not self.sandbox.is_from_tenant(request, now=now):
            return self._reply(request, now)
        rejection, headers = limit.take(now)
        if rejection is None:
            reply = self._reply(request, now)
        else:
            reply = SandboxReply(completed(rejection, request, now), is_over_limit=True)
        response = replace(reply.response, headers={**reply.response.headers, **headers})
        return replace(reply, response=response)

    def _reply(self, request: SandboxRequest, now: float) -> SandboxReply:
        sandbox = self.current
        is_token = is_token_target(request.target)
        try:
            preferred = _preferred(request, is_token=is_token)
        except ValueError as error:
            return SandboxReply(completed(error_response(HTTPStatus.BAD_REQUEST, str(error)), request, now))
        if preferred is not None:
            reply = preferred.reply(sandbox, request, now=now)
            applied = {"preference-applied": f'fault="{preferred}"'}
            response = replace(reply.response, headers={**reply.response.headers, **applied})
            return replace(reply, response=response)
        fault = self.script.next_fault(is_token=is_token)
        if fault is None:
            return SandboxReply(sandbox.respond(request, now=now))
        return fault.reply(sandbox, request, now=now)


def _preferred(request: SandboxRequest, *, is_token: bool) -> Fault | None:
    text = _preference_of_a_fault(request.headers.get("prefer", ""))
    if text is None:
        return None
    fault = parse_fault(text)
    if fault.times is not None or fault.for_tokens:
        raise invalid_fault(
            str(fault), "in Prefer, a fault affects only this request, so it cannot have a number or 'token'"
        )
    if is_token and not kind_of(fault.name).for_tokens:
        raise invalid_fault(str(fault), f"{fault.name} affects only requests with an access token")
    return fault


def _preference_of_a_fault(prefer: str) -> str | None:
    """Return the value of the first preference `fault`; None without one.

    Source:
        RFC 7240, section 2
    """
    for preference in _PREFERENCE.findall(prefer):
        name, _, value = preference.partition("=")
        if name.partition(";")[0].strip().lower() == "fault":
            # A value with a colon must be quoted, which users forget. A fault has no quotation marks or
            # semicolons.
            return "" if ";" in name else value.partition(";")[0].strip().strip('"')
    return None
