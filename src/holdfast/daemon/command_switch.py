"""`switch` and `release` on the local socket: the request is checked here, looked at and carried out by the worker."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from holdfast.base.time import SECOND, span_text
from holdfast.control.messages import Request
from holdfast.control.server import Reply
from holdfast.edge.channel import Switch
from holdfast.edge.clock import monotonic_ns

if TYPE_CHECKING:
    from holdfast.daemon.supervise import Supervisor

DIRECTIONS = ("here", "away", "release")


class Refusal(msgspec.Struct, frozen=True):
    """The part of the worker's answer that says whether it was carried out."""

    error: str = ""


def commands(supervisor: "Supervisor") -> dict[str, Callable[[Request, Reply], None]]:
    """The commands of this module, by name."""

    def switch(request: Request, reply: Reply) -> None:
        asked = request.arguments
        direction = "release" if request.command == "release" else str(asked.get("direction", ""))
        instance, by = str(asked.get("instance", "")), str(asked.get("by", ""))[:80] or "an operator"
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

        what = "release" if direction == "release" else f"switch --{direction}"
        if for_s is not None:
            what += f" --for {span_text(round(for_s * SECOND))}"
        if asked.get("force") is True:
            what += " --force"

        def note(outcome: str, cause: str) -> None:
            if asked.get("dry_run") is not True:
                supervisor.listeners.journal.say(
                    "command", instance[:100], f"{what}{outcome}", cause[:1000], monotonic_ns(), by=by, uid=reply.uid
                )

        def answer(octets: bytes | None) -> None:
            if octets is None:
                note(" failed", "no vrrp worker runs at the moment")
                reply.fail("no vrrp worker runs at the moment", "look at the log, and try again")
                return
            refusal = msgspec.json.decode(octets, type=Refusal)
            if refusal.error:
                note(" refused", refusal.error)
            reply.send(octets)

        note("", f"asked by {by} (uid {reply.uid})")
        supervisor.ask_with(message, answer)

    return {"switch": switch, "release": switch}
