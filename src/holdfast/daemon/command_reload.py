"""`plan` and `reload` on the local socket, and the return to the old plan when nobody confirms the new one."""

import base64
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.base.problem import Grade, problem_rows
from holdfast.base.time import SECOND, Nanoseconds, span_text
from holdfast.config.plan import VrrpPlan, covered
from holdfast.control.messages import Request
from holdfast.control.server import Reply
from holdfast.daemon.building import CHANGE_LETTERS, CHANGES_TOLD, Built
from holdfast.edge.clock import monotonic_ns
from holdfast.vrrp.messages import Level

if TYPE_CHECKING:
    from holdfast.daemon.supervise import Supervisor

LONGEST_S = 86400.0
"""How long a confirmation may be waited for."""


class Trial:
    """A reload on trial: the plan confirmed last, and until when the new one may run unconfirmed."""

    def __init__(self, supervisor: "Supervisor") -> None:
        self._supervisor = supervisor
        self._confirmed: tuple[bytes, bytes] | None = None  # both plans; None: nothing is on trial
        self._until: Nanoseconds = 0

    @property
    def _running(self) -> tuple[bytes, bytes]:
        return self._supervisor.plan, self._supervisor.balancing.plan

    @property
    def pending(self) -> bool:
        """Whether a plan other than the confirmed one runs, or is being read."""
        return self._confirmed is not None and (self._supervisor.building or self._running != self._confirmed)

    def left_s(self) -> int | None:
        """Whole seconds until the return; None when nothing is on trial."""
        return max((self._until - monotonic_ns()) // SECOND, 0) if self.pending else None

    def begin(self, span_ns: Nanoseconds) -> None:
        """What runs now, or was confirmed last, is returned to after `span_ns`."""
        if not self.pending:
            self._confirmed = self._running
        self._until = monotonic_ns() + span_ns
        self._supervisor.after(span_ns, self._due)

    def confirm(self, by: str) -> bool:
        """Keep what runs, at whose word; False when nothing was on trial."""
        pending, self._confirmed = self.pending, None
        if pending:
            self._supervisor.log.say(Level.INFO, "The reload is confirmed: the new configuration stays")
            self._supervisor.listeners.journal.say("reload", "", "confirmed", by, monotonic_ns(), by=by)
        return pending

    def refused(self) -> None:
        """The new configuration is refused: when none was on trial before, none is now."""
        if self._running == self._confirmed:
            self._confirmed = None

    def _due(self, now: Nanoseconds) -> None:
        here = self._supervisor
        if self._confirmed is None or now < self._until or here.stopping_at is not None:
            return  # confirmed, or another trial has moved the end
        if here.building:
            here.after(SECOND, self._due)
            return
        plans, self._confirmed = self._confirmed, None
        if plans == self._running:
            return  # the new one was refused, or is the same
        file = here.options.config_file
        line = f"The reload was not confirmed: the configuration before it returns; {file} still holds the new one"
        here.log.say(Level.WARNING, line)
        here.listeners.journal.say("reload", "", "returned", line, now)
        here.take_plan(*plans)


def asker(request: Request, reply: Reply) -> str:
    """Who gave a command, as far as is known: `ann (uid 0)`."""
    by = str(request.arguments.get("by") or "")[:80]
    return f"{by} (uid {reply.uid})" if by else f"uid {reply.uid}"


def note_reloaded(supervisor: "Supervisor", cause: str, changes: tuple[str, ...]) -> None:
    """Note in the journal that another configuration is about to run, and what it changes."""
    count = f"{len(changes)} change{'' if len(changes) == 1 else 's'}" if changes else "nothing changed"
    what = f"reloaded, {count}"
    supervisor.listeners.journal.say("reload", "", what, cause, monotonic_ns(), changes=changes)


def note_refused(supervisor: "Supervisor", cause: str, refusal: str, built: Built) -> None:
    """Note in the journal that a configuration was refused, and its first errors."""
    errors = [problem.text() for problem in built.problems if problem.grade is Grade.ERROR]
    said = tuple(text[:CHANGE_LETTERS] for text in errors[:CHANGES_TOLD])
    what, why = "refused, the old configuration goes on", f"{refusal[:1000]}; asked by {cause}"
    supervisor.listeners.journal.say("reload", "", what, why, monotonic_ns(), changes=said)


def refusal_document(refusal: str, built: Built) -> dict[str, Any]:
    """The answer to who asked for a reload that is refused: why, and every problem as `check --json` shows it."""
    cure = "see the log, or run `holdfast check`"
    problems = problem_rows(built.problems)
    return {"error": f"the new configuration is refused: {refusal}", "cure": cure, "problems": problems}


def commands(supervisor: "Supervisor") -> dict[str, Callable[[Request, Reply], None]]:
    """The commands of this module, by name."""
    trial = supervisor.trial

    def plan(request: Request, reply: Reply) -> None:
        options = supervisor.options
        salt = os.urandom(16)
        shown = covered(msgspec.msgpack.decode(supervisor.plan, type=VrrpPlan), salt)
        reply.send(
            {
                "plan": base64.b64encode(msgspec.msgpack.encode(shown)).decode(),
                "salt": salt.hex(),
                "file": os.path.abspath(options.config_file),
                "config_id": options.config_id,
                "all_includes_checked": options.all_includes_checked,
                "on_trial": trial.pending,
            }
        )

    def reload(request: Request, reply: Reply) -> None:
        confirm_s = request.arguments.get("confirm_s")
        if confirm_s is not None:
            if not isinstance(confirm_s, int | float) or not 0 < confirm_s <= LONGEST_S:
                reply.fail(f"confirm_s is {confirm_s!r}", f"send seconds, above 0 and at most {LONGEST_S:g}")
                return
            span_ns = round(confirm_s * SECOND)
            trial.begin(span_ns)
            supervisor.log.say(Level.INFO, f"This reload returns after {span_text(span_ns)} unless it is confirmed")
            cause = f"holdfast reload --confirm {span_text(span_ns)} by {asker(request, reply)}"
        else:
            cause = f"holdfast reload by {asker(request, reply)}"
        supervisor.reload_for(reply, trial.refused, cause)

    def confirm(request: Request, reply: Reply) -> None:
        if trial.confirm(asker(request, reply)):
            reply.send({"confirmed": True})
        else:
            reply.fail("no reload waits to be confirmed", "it may have returned already: see the log")

    return {"plan": plan, "reload": reload, "confirm": confirm}
