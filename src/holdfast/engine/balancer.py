"""Joins the load balancer's machines: checks report, services weigh, pools follow. One verb: `handle(event, now)`.

Pure like the engine beside it. A check belongs to nobody: equal checks of many services are one, made once, and its
verdict goes to every service that asked for it. What a service's pool is to be is not sent around: `PoolsChanged` names
the services, and whoever has the kernel asks `wanted()` for them.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import msgspec

from holdfast.base.ipvs import Table
from holdfast.base.time import SECOND, Nanoseconds
from holdfast.check import machine as checking
from holdfast.check.config import Check, MiscCheck, Pace, kind_of, schedule_of
from holdfast.check.conversation import Outcome
from holdfast.check.machine import CheckState
from holdfast.check.messages import AbandonRun, CheckEffect, FailureSeen, StartRun
from holdfast.check.messages import VerdictChanged as CheckVerdict
from holdfast.check.messages import WeightChanged as CheckWeight
from holdfast.check.rota import Rota
from holdfast.config.balancer_plan import BalancerPlan
from holdfast.lvs import machine as serving
from holdfast.lvs.config import VirtualServerConfig
from holdfast.lvs.machine import ServiceState
from holdfast.lvs.messages import (
    AddressMoved,
    CheckReported,
    ChecksWanted,
    Climbed,
    PoolChanged,
    ServerUp,
    WeightHeld,
)
from holdfast.lvs.messages import Effect as ServiceEffect

WallText: TypeAlias = Callable[[Nanoseconds], str]

OVERDUE_EVERY: Nanoseconds = 5_000_000_000
"""How often checks that give no result are looked for."""


NO_WEIGHT = -1
"""The configured weight that `misc_outcome` is to be given: one check may stand for servers of many weights, so what it
changes is counted from here, and 0 means that it says nothing."""


# ---- effects --------------------------------------------------------------------------------------------------------


class BeginCheck(msgspec.Struct, frozen=True):
    """Make check number `check`: conversation `stage`; its outcome comes back with `run`."""

    check: int
    run: int
    stage: int


class AbandonCheck(msgspec.Struct, frozen=True):
    """What comes of this run is not wanted any more."""

    check: int
    run: int


class PoolsChanged(msgspec.Struct, frozen=True):
    """The kernel is to have something else for these services, by their number."""

    services: tuple[int, ...]


class ServiceTold(msgspec.Struct, frozen=True):
    """Something to tell of a service: a server up or down, a quorum gained or lost, a weight."""

    service: int
    effect: ServiceEffect


class CheckTold(msgspec.Struct, frozen=True):
    """Something to tell of a check: a verdict, or a failure that changes nothing."""

    check: int
    text: str
    up: bool | None = None


Effect: TypeAlias = BeginCheck | AbandonCheck | PoolsChanged | ServiceTold | CheckTold


# ---- what it owns ---------------------------------------------------------------------------------------------------


class CheckSlot:
    """One check: what it is, where it stands, which services listen to it."""

    __slots__ = ("check", "overdue", "resting", "schedule", "services", "state")

    def __init__(self, check: Check, state: CheckState) -> None:
        self.check = check
        self.schedule = schedule_of(check)
        self.state = state
        self.services: tuple[int, ...] = ()
        self.resting: set[int] = set()  # services of these that do not want it made now
        self.overdue = ""


class ServiceSlot:
    """One service."""

    __slots__ = ("config", "state")

    def __init__(self, config: VirtualServerConfig, state: ServiceState) -> None:
        self.config = config
        self.state = state


class Reloaded(msgspec.Struct, frozen=True):
    """What a reload came to: what is to be done, the services that are gone, and the checks' new and old numbers.

    `kept`: old number → new one; a run on its way goes on under it. `abandoned`: old numbers that nobody asks for now.
    """

    effects: list[Effect]
    gone: tuple[ServiceSlot, ...]
    kept: dict[int, int]
    abandoned: tuple[int, ...]


class Balancer:
    """All services and checks of one plan."""

    def __init__(self, plan: BalancerPlan, now: Nanoseconds) -> None:
        self.plan = plan
        self.checks: list[CheckSlot] = []
        self.services: list[ServiceSlot] = []
        self._rota: Rota[int] = Rota()
        self._effects: list[Effect] = []
        self._changed: dict[int, None] = {}
        self._climbs: Rota[tuple[int, int]] = Rota()  # service and server: the next step of a slow start
        self._look_at = now + OVERDUE_EVERY
        self._order = 0  # checks made so far: the next one's place in the spread

    # ---- the beginning ----------------------------------------------------------------------------------------------

    def begin(self, now: Nanoseconds) -> list[Effect]:
        """Every service as it starts, every check booked, spread over its warm-up."""
        self.checks = [self._new_check(check, now) for check in self.plan.checks]
        begun: list[tuple[int, tuple[ServiceEffect, ...]]] = []
        for number, config in enumerate(self.plan.lvs.services):
            state, effects = serving.begin(config)
            self.services.append(ServiceSlot(config, state))
            begun.append((number, effects))
        self._listen()
        for number, effects in begun:
            self._serve_effects(number, effects, now)
        for number, slot in enumerate(self.checks):
            self._rota.book(number, slot.state.next_at)
        return self._taken()

    def _new_check(self, check: Check, now: Nanoseconds) -> CheckSlot:
        state = checking.start(schedule_of(check), now, checking.spread(self._order))
        self._order += 1
        return CheckSlot(check, state)

    def _listen(self) -> None:
        """Which services each check reports to."""
        users: list[list[int]] = [[] for _ in self.checks]
        for number, service in enumerate(self.services):
            for check in sorted({check for server in service.config.servers for check in server.checks}):
                users[check].append(number)
        for slot, services in zip(self.checks, users, strict=True):
            slot.services = tuple(services)

    def _taken(self) -> list[Effect]:
        if self._changed:
            self._effects.append(PoolsChanged(tuple(self._changed)))
            self._changed = {}
        effects, self._effects = self._effects, []
        return effects

    # ---- time -------------------------------------------------------------------------------------------------------

    def deadline(self) -> Nanoseconds | None:
        """When `turn` has something to do."""
        if not self.checks:
            return None
        moments = (self._rota.due_at(), self._climbs.due_at(), self._look_at)
        return min(at for at in moments if at is not None)

    def turn(self, now: Nanoseconds) -> list[Effect]:
        """Begin the checks that are due; look for those that give no result."""
        for number in self._rota.take(now):
            slot = self.checks[number]
            slot.state, effects = checking.timer_due(slot.schedule, slot.state, now)
            self._check_effects(number, effects, now)
            self._rota.book(number, slot.state.next_at)
        for service, server in list(self._climbs.take(now)):
            self._serve(service, Climbed(server, self.services[service].state.servers[server].tenths + 1), now)
            self._climb(service, server, now)
        if now >= self._look_at:
            self._look_at = now + OVERDUE_EVERY
            self._find_overdue(now)
        return self._taken()

    def _climb(self, service: int, server: int, now: Nanoseconds) -> None:
        """Book the next step of a slow start, if there is one."""
        slot = self.services[service]
        if slot.state.servers[server].tenths < serving.FULL:
            self._climbs.book((service, server), now + slot.config.servers[server].slow_start_ns // serving.FULL)

    def _find_overdue(self, now: Nanoseconds) -> None:
        for number, slot in enumerate(self.checks):
            why = checking.overdue(slot.schedule, slot.state, now)
            if bool(why) != bool(slot.overdue):
                self._effects.append(CheckTold(number, why or "gives results again"))
            slot.overdue = why

    # ---- what happens -----------------------------------------------------------------------------------------------

    def finished(self, check: int, run: int, outcome: Outcome, now: Nanoseconds) -> list[Effect]:
        """A run of a check ended."""
        if check < len(self.checks):
            slot = self.checks[check]
            slot.state, effects = checking.finished(slot.schedule, slot.state, run, outcome, now)
            self._check_effects(check, effects, now)
            self._rota.book(check, slot.state.next_at)
        return self._taken()

    def watched(self, outcome_of: Callable[[Check], Outcome | None], now: Nanoseconds) -> list[Effect]:
        """What checks watch has changed: `outcome_of` gives the outcome of those concerned, None of others."""
        for number, slot in enumerate(self.checks):
            outcome = outcome_of(slot.check)
            if outcome is not None:
                slot.state, effects = checking.told(slot.schedule, slot.state, outcome, now)
                self._check_effects(number, effects, now)
                self._rota.book(number, slot.state.next_at)
        return self._taken()

    def hold(self, service: int, server: int, weight: int | None, now: Nanoseconds) -> list[Effect]:
        """An operator's weight for a server; None gives it back."""
        self._serve(service, WeightHeld(server, weight), now)
        return self._taken()

    def moved(self, service: int, here: bool, now: Nanoseconds) -> list[Effect]:
        """A service's address came to this host, or left it."""
        self._serve(service, AddressMoved(here), now)
        return self._taken()

    def end(self) -> list[Effect]:
        """What is to be told when the daemon leaves."""
        for number, slot in enumerate(self.services):
            self._effects += [ServiceTold(number, effect) for effect in serving.end(slot.config, slot.state)]
        return self._taken()

    def _check_effects(self, number: int, effects: Iterable[CheckEffect], now: Nanoseconds) -> None:
        slot = self.checks[number]
        report = False
        for effect in effects:
            if isinstance(effect, StartRun):
                self._effects.append(BeginCheck(number, effect.run, effect.stage))
            elif isinstance(effect, AbandonRun):
                self._effects.append(AbandonCheck(number, effect.run))
            elif isinstance(effect, CheckVerdict):
                report = True
                if not (effect.first and effect.up):  # that it began well is no news
                    self._effects.append(CheckTold(number, effect.detail, effect.up))
            elif isinstance(effect, CheckWeight):
                report = True
            elif isinstance(effect, FailureSeen):
                text = f"{effect.detail} (attempt {effect.attempt} of {effect.attempts})"
                self._effects.append(CheckTold(number, text))
        if report:
            said = _reported(number, slot)
            for service in slot.services:
                self._serve(service, said, now)

    def _serve(self, number: int, event: Any, now: Nanoseconds) -> None:
        slot = self.services[number]
        slot.state, effects = serving.step(slot.config, slot.state, event)
        self._serve_effects(number, effects, now)

    def _serve_effects(self, number: int, effects: Iterable[ServiceEffect], now: Nanoseconds) -> None:
        for effect in effects:
            if isinstance(effect, PoolChanged):
                self._changed[number] = None
            elif isinstance(effect, ChecksWanted):
                self._rest(number, effect.running, now)
            else:
                self._effects.append(ServiceTold(number, effect))
                if isinstance(effect, ServerUp):
                    self._climb(number, effect.server, now)

    def _rest(self, service: int, running: bool, now: Nanoseconds) -> None:
        """A check rests when none of its services wants it."""
        for number, slot in enumerate(self.checks):
            if service not in slot.services:
                continue
            (slot.resting.discard if running else slot.resting.add)(service)
            suspended = len(slot.resting) == len(slot.services)
            slot.state, effects = checking.suspend(slot.schedule, slot.state, suspended, now)
            self._check_effects(number, effects, now)
            self._rota.book(number, slot.state.next_at)

    # ---- reload -----------------------------------------------------------------------------------------------------

    def reload(self, plan: BalancerPlan, now: Nanoseconds) -> "Reloaded":
        """Go on with another plan. Unchanged services and checks notice nothing."""
        old_checks, old_services = self.checks, self.services
        known = {_asked(slot.check): (number, slot) for number, slot in enumerate(old_checks)}
        kept: dict[int, int] = {}
        self.checks = []
        for number, check in enumerate(plan.checks):
            place = known.pop(_asked(check), None)
            if place is None:
                self.checks.append(self._new_check(check, now))
                continue
            kept[place[0]] = number
            self.checks.append(_renewed(place[1], check, now))
        abandoned = tuple(number for number, _ in known.values())
        self.plan = plan
        by_keys = {slot.config.keys: slot for slot in old_services}
        self.services = []
        told: list[tuple[int, tuple[ServiceEffect, ...]]] = []
        for number, config in enumerate(plan.lvs.services):
            before = by_keys.pop(config.keys, None)
            if before is None:
                state, effects = serving.begin(config)
            else:
                state, effects, _gone = serving.reload(before.config, before.state, config, kept)
            self.services.append(ServiceSlot(config, state))
            told.append((number, effects))
        self._listen()
        self._rota = Rota()
        self._climbs = Rota()
        for service, slot_of_service in enumerate(self.services):
            for server in range(len(slot_of_service.config.servers)):
                self._climb(service, server, now)
        for number, effects in told:
            self._serve_effects(number, effects, now)
        for number, slot in enumerate(self.checks):
            slot.resting = {
                service for service in slot.services if not self.services[service].state.here
            }
            suspended = bool(slot.services) and len(slot.resting) == len(slot.services)
            slot.state, effects_of_check = checking.suspend(slot.schedule, slot.state, suspended, now)
            self._check_effects(number, effects_of_check, now)
            self._rota.book(number, slot.state.next_at)
        return Reloaded(self._taken(), tuple(by_keys.values()), kept, abandoned)

    # ---- looking ----------------------------------------------------------------------------------------------------

    def wanted(self, services: Iterable[int] | None = None) -> Table:
        """What the kernel is to have for these services, or for all."""
        table: Table = {}
        for number in range(len(self.services)) if services is None else services:
            slot = self.services[number]
            table.update(serving.wanted_pools(slot.config, slot.state))
        return table

    def cause(self, service: int, server: int) -> str:
        """Why a server is as it is: what the checks said that have failed, else the last of all."""
        slot = self.services[service]
        asked = slot.state.servers[server].failed or slot.config.servers[server].checks
        said = (self.checks[number] for number in asked)
        return "; ".join(f"{kind_of(one.check)}: {one.state.last_detail}" for one in said if one.state.last_detail)

    def check_row(self, number: int, now: Nanoseconds, wall: WallText = str) -> dict[str, Any]:
        """A check as `status --json` shows it."""
        slot = self.checks[number]
        state, pace = slot.state, slot.schedule.pace
        return {
            "kind": kind_of(slot.check),
            "ok": state.up if state.settled else None,
            "since": wall(state.since),
            "last_run": None if state.last_at is None else wall(state.last_at),
            "age_s": None if state.last_at is None else round((now - state.last_at) / SECOND, 3),
            "duration_s": None if state.took_ns is None else round(state.took_ns / SECOND, 6),
            "longest_s": None if state.took_ns is None else round(state.longest_ns / SECOND, 6),
            "detail": slot.overdue or state.last_detail or "not made yet",
            "overdue": bool(slot.overdue),
            "failures": state.failures,
            "weight_change": state.weight_change,
            "retry": pace.retry,
            "delay_loop_s": pace.delay_loop_ns / SECOND,
            "delay_before_retry_s": pace.delay_before_retry_ns / SECOND,
            "shared_by": len(slot.services),
        }

    def rows(self, now: Nanoseconds, wall: WallText = str) -> Iterator[dict[str, Any]]:
        """`virtual_servers` of `status --json`; `wall` gives a moment of the loop's clock as people have it."""
        from holdfast.lvs.view import service_row

        for slot in self.services:
            yield service_row(slot.config, slot.state, lambda number: self.check_row(number, now, wall))


def _reported(number: int, slot: CheckSlot) -> CheckReported:
    """A program's exit status replaces each server's weight, whatever it is; a file's number is added to it."""
    change = slot.state.weight_change
    if isinstance(slot.check, MiscCheck):
        return CheckReported(number, slot.state.up, weight=change + NO_WEIGHT if change else None)
    return CheckReported(number, slot.state.up, added=change)


def _asked(check: Check) -> Check:
    """A check less its pace: what makes it the same one after a reload."""
    return msgspec.structs.replace(check, pace=Pace())


def _renewed(slot: CheckSlot, check: Check, now: Nanoseconds) -> CheckSlot:
    """The slot as it goes on; a run on its way keeps its number, whoever asks for it now."""
    fresh = CheckSlot(check, slot.state)
    if slot.check != check:
        fresh.state = checking.reconfigured(fresh.schedule, slot.state, now)
    fresh.overdue = slot.overdue
    return fresh
