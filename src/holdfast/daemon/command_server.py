"""`server` on the local socket: an operator's weight for a real server, held until it is given back."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from holdfast.control.messages import Request
from holdfast.control.server import Reply
from holdfast.edge.channel import HoldServer
from holdfast.edge.clock import monotonic_ns

if TYPE_CHECKING:
    from holdfast.daemon.supervise import Supervisor

HIGHEST_WEIGHT = 2**31 - 1


def commands(supervisor: "Supervisor") -> dict[str, Callable[[Request, Reply], None]]:
    """The command of this module, by name."""

    def server(request: Request, reply: Reply) -> None:
        asked = request.arguments
        service, name = str(asked.get("service", "")), str(asked.get("server", ""))
        weight, by = asked.get("weight"), str(asked.get("by", "")) or "an operator"
        if not service or not name:
            reply.fail("server wants a service and a server", 'send "service" and "server"')
            return
        if weight is not None and (not isinstance(weight, int) or not 0 <= weight <= HIGHEST_WEIGHT):
            reply.fail(f"weight is {weight!r}", f"send a number from 0 to {HIGHEST_WEIGHT}, or null to give it back")
            return

        def answer(octets: bytes | None) -> None:
            if octets is None:
                reply.fail("nothing is balanced at the moment", "look at the log: is there a virtual_server, and IPVS?")
                return
            if b'"error"' not in octets:
                supervisor.balancing.held(octets)
                held = "its own weight again" if weight is None else f"weight {weight}, held"
                what = f"{name} of {service}: {held}"
                supervisor.listeners.journal.say("command", service, what, f"server, by {by}", monotonic_ns(), by=by)
            reply.send(octets)

        supervisor.balancing.ask_with(
            lambda number: HoldServer(ask=number, service=service, server=name, weight=weight), answer
        )

    return {"server": server}
