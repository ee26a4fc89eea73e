"""`switch` and `release` on the local socket: the request is checked here, looked at and carried out by the worker."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from holdfast.base.time import SECOND
from holdfast.control.messages import Request
from holdfast.control.server import Reply
from holdfast.edge.channel import Switch

if TYPE_CHECKING:
    from holdfast.daemon.supervise import Supervisor

DIRECTIONS = ("here", "away", "release")


def commands(supervisor: "Supervisor") -> dict[str, Callable[[Request, Reply], None]]:
    """The commands of this module, by name."""

    def switch(request: Request, reply: Reply) -> None:
        asked = request.arguments
        direction = "release" if request.command == "release" else str(asked.get("direction", ""))
        instance, by = str(asked.get("instance", "")), str(asked.get("by", "")) or "an operator"
        for_s = asked.get("for_s")
        if direction not in DIRECTIONS or not instance:
            reply.fail("switch wants an instance and a direction", 'send "instance" and "direction": "here" or "away"')
            return
        if for_s is not None and (not isinstance(for_s, int | float) or for_s <= 0):
            reply.fail(f"for_s is {for_s!r}", "send a number of seconds above 0")
            return

        def message(number: int) -> Switch:
            return Switch(
                ask=number,
                instance=instance,
                direction=direction,
                by=by,
                for_ns=None if for_s is None else round(for_s * SECOND),
                force=asked.get("force") is True,
                dry_run=asked.get("dry_run") is True,
            )

        def answer(octets: bytes | None) -> None:
            if octets is None:
                reply.fail("no vrrp worker runs at the moment", "look at the log, and try again")
            else:
                reply.send(octets)

        supervisor.ask_with(message, answer)

    return {"switch": switch, "release": switch}
