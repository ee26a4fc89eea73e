"""Virtual servers in virtual time: what becomes of a service when its servers die, hang or flap.

The daemon's own balancer runs; only the servers are played. Each service is tried alone, for equal checks of several
services stand or fall together anyway.
"""

import heapq
from collections.abc import Iterator
from typing import Any

import msgspec

from holdfast.base.address import text
from holdfast.base.time import MILLISECOND, SECOND, Nanoseconds, span_text
from holdfast.check.config import BfdCheck, Check, FileCheck, kind_of, schedule_of
from holdfast.check.conversation import Outcome
from holdfast.config.balancer_plan import BalancerPlan
from holdfast.engine.balancer import Balancer, BeginCheck, Effect, ServiceTold
from holdfast.lvs.config import LvsPlan, RealServerConfig, VirtualServerConfig
from holdfast.lvs.machine import ServiceState, sorry_serves
from holdfast.lvs.messages import QuorumGained, QuorumLost, ServerDown, ServerUp

ANSWER_NS: Nanoseconds = MILLISECOND
"""A living server answers after so long."""

FLAPS = 20
"""So many results are looked at when a server answers every other time."""

PATIENCE = 20
"""After so many periods without anything happening nothing will."""


class ServerTrial(msgspec.Struct, frozen=True, kw_only=True):
    """What one fault of a service's servers led to. Times are the worst there may be; None: it never happens."""

    service: str
    servers: tuple[str, ...]
    fault: str  # dies, flaps
    leaves_after_ns: Nanoseconds | None = None
    returns_after_ns: Nanoseconds | None = None
    departures: int = 0  # of a flapping server, in FLAPS results
    weight_left: int = 0
    quorum_kept: bool = True
    sorry_serves: bool = False
    grade: str = "good"  # good, odd, none (nobody serves), bad
    text: str = ""

    def document(self) -> dict[str, Any]:
        """For programs; times in seconds."""
        row = msgspec.to_builtins(self)
        for name in ("leaves_after", "returns_after"):
            span_ns = row.pop(f"{name}_ns")
            row[f"{name}_s"] = None if span_ns is None else span_ns / SECOND
        return dict(row)


MOST = 50
"""So many services of different shape are tried; the rest is counted."""


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """A service, what its faults led to, and the services that would fare the same."""

    service: str
    quorum: int
    weight: int  # of all servers
    alike: tuple[str, ...]
    trials: tuple[ServerTrial, ...]


def try_services(plan: BalancerPlan) -> tuple[list[Tried], int]:
    """Every service of a plan, those that are alike once; and how many were left out beyond MOST."""
    shapes: dict[bytes, list[int]] = {}
    for number, config in enumerate(plan.lvs.services):
        shapes.setdefault(_shape(plan, config), []).append(number)
    found = []
    for numbers in list(shapes.values())[:MOST]:
        config = plan.lvs.services[numbers[0]]
        found.append(
            Tried(
                service=config.name,
                quorum=config.quorum,
                weight=sum(one.weight for one in config.servers),
                alike=tuple(plan.lvs.services[one].name for one in numbers[1:]),
                trials=tuple(try_service(plan, numbers[0])),
            )
        )
    return found, sum(len(numbers) for numbers in list(shapes.values())[MOST:])


def _shape(plan: BalancerPlan, config: VirtualServerConfig) -> bytes:
    """What decides how a service fares: two of the same shape fare the same, server by server."""
    servers = [
        (
            one.weight,
            one.inhibit,
            one.slow_start_ns,
            [(kind_of(plan.checks[check]), schedule_of(plan.checks[check])) for check in one.checks],
            len(one.alpha_checks),
        )
        for one in config.servers
    ]
    sorry = config.sorry is not None
    return msgspec.json.encode((servers, config.quorum, config.hysteresis, sorry, config.quorum_down is not None))


def try_service(plan: BalancerPlan, number: int) -> Iterator[ServerTrial]:
    """Every single server's death and flapping, and as many deaths together as the quorum takes to be lost."""
    alone = _alone(plan, plan.lvs.services[number])
    [config] = alone.lvs.services
    seen: dict[object, ServerTrial] = {}
    for place in range(len(config.servers)):
        yield _death(alone, config, place)
    for place, server in enumerate(config.servers):
        shape = tuple(msgspec.json.encode(alone.checks[check].pace) for check in server.checks)
        if shape and shape not in seen:  # servers checked alike flap alike
            seen[shape] = _flapping(alone, config, place)
            yield seen[shape]
    if len(config.servers) > 1:
        yield from _deaths(alone, config)


def _alone(plan: BalancerPlan, config: VirtualServerConfig) -> BalancerPlan:
    """The service by itself, its checks numbered afresh; its address counts as here."""
    used = sorted({check for server in config.servers for check in server.checks})
    fresh = {old: new for new, old in enumerate(used)}
    servers = tuple(
        msgspec.structs.replace(
            one,
            checks=tuple(fresh[check] for check in one.checks),
            alpha_checks=tuple(fresh[check] for check in one.alpha_checks),
        )
        for one in config.servers
    )
    changed = msgspec.structs.replace(config, servers=servers, ha_suspend=False)
    return BalancerPlan(lvs=LvsPlan(services=(changed,)), checks=tuple(plan.checks[one] for one in used))


class Bench:
    """One service running; `dead` are the checks that get no answer, `flapping` those that get every other one."""

    def __init__(self, plan: BalancerPlan) -> None:
        self.balancer = Balancer(plan, 0)
        self.now: Nanoseconds = 0
        self.dead: set[int] = set()
        self.flapping: set[int] = set()
        self.results = 0  # of flapping checks
        self.begun = -1  # the check begun last
        self._ends: list[tuple[Nanoseconds, int, int, bool]] = []  # when, check, run, whether it was answered
        self._take(self.balancer.begin(0))

    @property
    def config(self) -> VirtualServerConfig:
        """The service."""
        return self.balancer.services[0].config

    def _take(self, effects: list[Effect]) -> list[object]:
        told: list[object] = []
        for effect in effects:
            if isinstance(effect, BeginCheck):
                fails = effect.check in self.dead
                check = self.balancer.checks[effect.check].check
                span_ns = schedule_of(check).deadline_ns if fails and _asks(check) else ANSWER_NS
                heapq.heappush(self._ends, (self.now + span_ns, effect.check, effect.run, not fails))
                self.begun = effect.check
            elif isinstance(effect, ServiceTold):
                told.append(effect.effect)
        return told

    def step(self) -> tuple[list[object], int | None]:
        """To the next thing that happens: what is told of the service, and the check that ended then, if one did."""
        due_at = self.balancer.deadline()
        if self._ends and (due_at is None or self._ends[0][0] <= due_at):
            self.now, check, run, good = heapq.heappop(self._ends)
            if check in self.flapping:
                self.results += 1
                good = bool(self.results % 2)
            outcome = Outcome(good, "answers" if good else "no answer")
            return self._take(self.balancer.finished(check, run, outcome, self.now)), check
        assert due_at is not None
        self.now = due_at
        return self._take(self.balancer.turn(self.now)), None

    def settle(self) -> None:
        """Until every check has given a result."""
        while not all(slot.state.settled for slot in self.balancer.checks):
            self.step()

    def until_passed(self, check: int) -> None:
        """Until just after this check has ended once more."""
        while self.step()[1] != check:
            pass

    def until_begun(self, check: int) -> None:
        """Until just after this check has begun once more."""
        self.begun = -1
        while self.begun != check:
            self.step()

    def until(self, wanted: type, server: int) -> Nanoseconds | None:
        """How long until the server comes or goes; None when it never does."""
        begun = self.now
        longest = max((slot.schedule.pace.delay_loop_ns + slot.schedule.deadline_ns) for slot in self.balancer.checks)
        while self.now - begun < PATIENCE * longest:
            told, _ = self.step()
            if any(isinstance(one, wanted) and getattr(one, "server", None) == server for one in told):
                return self.now - begun
        return None


def _asks(check: Check) -> bool:
    """Whether a check notices that its server is dead."""
    return not isinstance(check, FileCheck | BfdCheck)


def _checks_of(plan: BalancerPlan, server: RealServerConfig) -> list[int]:
    return [check for check in server.checks if _asks(plan.checks[check])]


def _label(server: RealServerConfig) -> str:
    address = text(server.address)
    shown = f"[{address}]" if ":" in address else address
    return f"{shown}:{server.port}" if server.port else address


def _death(plan: BalancerPlan, config: VirtualServerConfig, place: int) -> ServerTrial:
    server = config.servers[place]
    name, asking = _label(server), _checks_of(plan, server)
    if not asking:
        return ServerTrial(
            service=config.name, servers=(name,), fault="dies", grade="bad",
            text="its death is never noticed: it has no check that asks it",
        )  # fmt: skip
    leaves: list[Nanoseconds | None] = []
    returns: list[Nanoseconds | None] = []
    for check in asking:  # the worst moment to die is just after a success, to return just after a check began
        bench = Bench(plan)
        bench.settle()
        bench.until_passed(check)
        bench.dead = set(asking)
        leaves.append(bench.until(ServerDown, place))
        state = bench.balancer.services[0].state
        bench.until_begun(check)
        bench.dead = set()
        returns.append(bench.until(ServerUp, place))
    weight = sum(one.weight for other, one in enumerate(config.servers) if other != place)
    return _judged(config, (name,), _longest(leaves), _longest(returns), state, weight)


def _longest(spans: list[Nanoseconds | None]) -> Nanoseconds | None:
    known = [span for span in spans if span is not None]
    return max(known) if len(known) == len(spans) else None


def _judged(
    config: VirtualServerConfig, names: tuple[str, ...], leaves: Nanoseconds | None, returns: Nanoseconds | None,
    state: ServiceState, weight: int,
) -> ServerTrial:  # fmt: skip
    kept = state.quorum_up
    sorry = sorry_serves(config, state)
    said, grade = [], "good"
    if leaves is not None and len(names) == 1:
        said.append(f"leaves the pool within {span_text(leaves)}")
        if returns is not None:
            said.append(f"is back within {span_text(returns)} of its return")
    if leaves is None:
        said.append("never leaves the pool")
        grade = "bad"
    said.append(f"weight {weight} is left, the quorum of {config.quorum} is {'kept' if kept else 'lost'}")
    if not kept:
        said.append(_consequence(config, sorry, weight))
        grade = "none" if not sorry and not weight else "odd"
    return ServerTrial(
        service=config.name, servers=names, fault="dies", leaves_after_ns=leaves, returns_after_ns=returns,
        weight_left=weight, quorum_kept=kept, sorry_serves=sorry, grade=grade, text="; ".join(said),
    )  # fmt: skip


def _consequence(config: VirtualServerConfig, sorry: bool, weight: int) -> str:
    runs = "quorum_down runs, " if config.quorum_down is not None else ""
    if sorry and config.sorry is not None:
        return f"{runs}the sorry server {text(config.sorry.address)} serves"
    return f"{runs}those that are left go on serving" if weight else f"{runs}nobody serves"


def _deaths(plan: BalancerPlan, config: VirtualServerConfig) -> Iterator[ServerTrial]:
    """The fewest servers whose death together loses the quorum, when one alone does not."""
    order = sorted(range(len(config.servers)), key=lambda place: -config.servers[place].weight)
    order = [place for place in order if _checks_of(plan, config.servers[place])]
    bench = Bench(plan)
    bench.settle()
    gone: list[int] = []
    for place in order:
        gone.append(place)
        bench.dead |= set(_checks_of(plan, config.servers[place]))
        if bench.until(ServerDown, place) is None:
            return
        state = bench.balancer.services[0].state
        if not state.quorum_up:
            if len(gone) > 1:
                weight = sum(one.weight for other, one in enumerate(config.servers) if other not in gone)
                names = tuple(_label(config.servers[one]) for one in gone)
                yield _judged(config, names, 0, None, state, weight)
            return


def _flapping(plan: BalancerPlan, config: VirtualServerConfig, place: int) -> ServerTrial:
    server = config.servers[place]
    asking = _checks_of(plan, server)
    bench = Bench(plan)
    bench.settle()
    bench.flapping = set(asking[:1])
    departures, quorums, begun = 0, 0, bench.now
    while asking and bench.results < FLAPS:
        told, _ = bench.step()
        departures += sum(isinstance(one, ServerDown) for one in told)
        quorums += sum(isinstance(one, QuorumLost | QuorumGained) for one in told)
    if departures:
        span = span_text(bench.now - begun)
        said = f"leaves {departures} times in {span}" + (f", and the quorum changes {quorums} times" if quorums else "")
        said += ": each failure counts at once; write retry 1 or more"
    else:
        said = "stays in the pool: a single failure is forgiven (retry)"
    return ServerTrial(
        service=config.name, servers=(_label(server),), fault="flaps", departures=departures,
        grade="odd" if departures else "good", text=said,
    )  # fmt: skip
