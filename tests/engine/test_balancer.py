"""Checks, services and pools together: shared checks, quorum, holds, reloads, checks that give no result."""

import msgspec

from holdfast.base.address import parse
from holdfast.base.command import Command
from holdfast.base.ipvs import INET, Service, ServiceKey
from holdfast.base.time import SECOND
from holdfast.check.config import Check, MiscCheck, Pace, Target, TcpCheck
from holdfast.check.conversation import Outcome
from holdfast.check.misc import misc_outcome
from holdfast.config.balancer_plan import BalancerPlan
from holdfast.engine.balancer import NO_WEIGHT, Balancer, BeginCheck, CheckTold, PoolsChanged, ServiceTold
from holdfast.lvs.config import LvsPlan, RealServerConfig, VirtualServerConfig
from holdfast.lvs.messages import QuorumGained, QuorumLost, ServerDown, ServerUp

GOOD, BAD = Outcome(True, "connected"), Outcome(False, "refused")
PACE = Pace(delay_loop_ns=6 * SECOND, retry=1, delay_before_retry_ns=SECOND, warmup_ns=0)


def check(last: int, pace: Pace = PACE) -> Check:
    return TcpCheck(pace=pace, target=Target(address=parse(f"10.0.0.{last}"), port=80, timeout_ns=2 * SECOND))


def service(port: int, servers: dict[int, int], **more: object) -> VirtualServerConfig:
    """A service on `port` whose servers are 10.0.0.KEY with the check VALUE."""
    config = VirtualServerConfig(
        name=f"192.0.2.1:{port}",
        label=f"[192.0.2.1]:tcp:{port}",
        keys=(ServiceKey(INET, 6, parse("192.0.2.1"), port),),
        service=Service(scheduler="rr"),
        protocol=6,
        servers=tuple(
            RealServerConfig(address=parse(f"10.0.0.{last}"), port=80, checks=(number,))
            for last, number in servers.items()
        ),
    )
    return msgspec.structs.replace(config, **more)


def plan(*services: VirtualServerConfig, checks: int = 2, pace: Pace = PACE) -> BalancerPlan:
    return BalancerPlan(lvs=LvsPlan(services=services), checks=tuple(check(n + 1, pace) for n in range(checks)))


def begun(one: BalancerPlan) -> Balancer:
    made = Balancer(one, 0)
    made.begin(0)
    return made


def pools(made: Balancer) -> dict[int, list[tuple[str, int]]]:
    """Port of the service → (last octet, weight) of each server in the kernel's pool."""
    return {
        key.port: [(f"{where.address[3]}", one.weight) for where, one in pool.destinations.items()]
        for key, pool in made.wanted().items()
    }


def outcome(made: Balancer, number: int, result: Outcome, now: int) -> list[object]:
    """Let a run of this check begin, and end with `result`."""
    for effect in made.turn(now):
        if isinstance(effect, BeginCheck) and effect.check == number:
            return list(made.finished(number, effect.run, result, now))
    raise AssertionError(f"check {number} was not due at {now}")


def test_a_server_leaves_after_its_retries_and_returns_with_one_success() -> None:
    made = begun(plan(service(80, {1: 0, 2: 1})))
    first = made.turn(0)
    assert first == [BeginCheck(0, 1, 0), BeginCheck(1, 1, 0)]
    assert made.finished(0, 1, GOOD, 0) == []
    assert made.finished(1, 1, GOOD, 0) == []
    assert outcome(made, 0, BAD, 6 * SECOND) == []  # forgiven once
    gone = outcome(made, 0, BAD, 7 * SECOND)
    assert gone == [CheckTold(0, "refused", False), ServiceTold(0, ServerDown(0)), PoolsChanged((0,))]
    assert pools(made) == {80: [("2", 1)]}
    back = outcome(made, 0, GOOD, 13 * SECOND)
    assert back == [CheckTold(0, "connected", True), ServiceTold(0, ServerUp(0)), PoolsChanged((0,))]
    assert pools(made) == {80: [("1", 1), ("2", 1)]}


def test_one_check_serves_many_services() -> None:
    made = begun(plan(*(service(port, {1: 0}) for port in (80, 81, 82)), checks=1))
    assert made.turn(0) == [BeginCheck(0, 1, 0)]
    told = made.finished(0, 1, BAD, 0)  # the very first failure counts
    assert [one.service for one in told if isinstance(one, ServiceTold) and isinstance(one.effect, ServerDown)] == [
        0, 1, 2,
    ]  # fmt: skip
    assert told[-1] == PoolsChanged((0, 1, 2))
    assert pools(made) == {80: [], 81: [], 82: []}
    assert made.check_row(0, SECOND)["shared_by"] == 3


def test_the_quorum_is_lost_and_gained() -> None:
    made = begun(plan(service(80, {1: 0, 2: 1}, quorum=2)))
    made.turn(0)
    made.finished(0, 1, GOOD, 0)
    lost = made.finished(1, 1, BAD, 0)
    assert ServiceTold(0, QuorumLost(1)) in lost
    assert ServiceTold(0, QuorumGained(2)) in outcome(made, 1, GOOD, 6 * SECOND)


def test_an_operators_weight_holds_until_it_is_given_back() -> None:
    made = begun(plan(service(80, {1: 0, 2: 1})))
    made.hold(0, 1, 0, 0)
    assert pools(made) == {80: [("1", 1), ("2", 0)]}
    row = next(made.rows(SECOND))
    assert [server["state"] for server in row["real_servers"]] == ["up", "drained"]
    made.hold(0, 1, None, 0)
    assert pools(made) == {80: [("1", 1), ("2", 1)]}


def test_a_reload_leaves_what_is_the_same_alone() -> None:
    before = plan(service(80, {1: 0, 2: 1}))
    made = begun(before)
    made.turn(0)
    made.finished(0, 1, BAD, 0)
    made.finished(1, 1, GOOD, 0)
    same = made.reload(before, 3 * SECOND)
    assert same.effects == []
    assert (same.kept, same.abandoned, same.gone) == ({0: 0, 1: 1}, (), ())
    assert pools(made) == {80: [("2", 1)]}
    assert made.deadline() == 5 * SECOND  # the look for overdue ones; the next check is due at 6 s
    # the first check is gone, the second goes on under another number, a third is new; another service comes
    after = BalancerPlan(
        lvs=LvsPlan(services=(service(80, {2: 0, 3: 1}), service(90, {2: 0}))), checks=(check(2), check(3))
    )
    done = made.reload(after, 4 * SECOND)
    assert (done.kept, done.abandoned) == ({1: 0}, (0,))
    assert pools(made) == {80: [("2", 1), ("3", 1)], 90: [("2", 1)]}
    assert PoolsChanged((0, 1)) in done.effects
    assert made.checks[0].services == (0, 1)
    removed = made.reload(BalancerPlan(), 5 * SECOND)
    assert [slot.config.name for slot in removed.gone] == ["192.0.2.1:80", "192.0.2.1:90"]
    assert removed.abandoned == (0, 1)
    assert made.deadline() is None


def test_another_pace_keeps_the_verdict() -> None:
    made = begun(plan(service(80, {1: 0}), checks=1))
    made.turn(0)
    made.finished(0, 1, BAD, 0)
    slower = msgspec.structs.replace(PACE, delay_loop_ns=60 * SECOND)
    done = made.reload(plan(service(80, {1: 0}), checks=1, pace=slower), SECOND)
    assert (done.kept, done.effects) == ({0: 0}, [])
    assert made.checks[0].schedule.pace.delay_loop_ns == 60 * SECOND
    assert pools(made) == {80: []}


def test_a_check_that_never_ends_is_a_fault_and_said_once() -> None:
    made = begun(plan(service(80, {1: 0}), checks=1))
    made.turn(0)
    told = [
        (at, effect.text)
        for at in range(5, 61, 5)
        for effect in made.turn(at * SECOND)
        if isinstance(effect, CheckTold)
    ]
    assert told == [(20, "no result for 20 s, 3 of its periods: its run does not end")]
    assert made.check_row(0, 60 * SECOND)["detail"].startswith("no result")
    made.finished(0, 1, GOOD, 61 * SECOND)
    assert [e.text for e in made.turn(65 * SECOND) if isinstance(e, CheckTold)] == ["gives results again"]


def test_ha_suspend_rests_a_check_only_when_no_service_wants_it() -> None:
    made = begun(plan(service(80, {1: 0}, ha_suspend=True), service(81, {1: 0}), checks=1))
    assert made.turn(0) == [BeginCheck(0, 1, 0)]
    made.finished(0, 1, GOOD, 0)
    alone = begun(plan(service(80, {1: 0}, ha_suspend=True), checks=1))
    assert alone.turn(0) == []
    alone.moved(0, True, SECOND)
    assert [type(one) for one in alone.turn(7 * SECOND)] == [BeginCheck]
    alone.moved(0, False, 8 * SECOND)
    assert alone.turn(20 * SECOND) == []


def test_ten_thousand_checks_are_spread_over_their_warm_up() -> None:
    pace = Pace(delay_loop_ns=10 * SECOND, warmup_ns=10 * SECOND)
    checks = tuple(
        TcpCheck(pace=pace, target=Target(address=parse(f"10.1.{n // 250}.{n % 250}"), port=80)) for n in range(10_000)
    )
    made = Balancer(BalancerPlan(checks=checks), 0)
    made.begin(0)
    counts = [sum(isinstance(e, BeginCheck) for e in made.turn(at * SECOND)) for at in range(1, 11)]
    assert all(950 <= count <= 1050 for count in counts), counts


def test_a_programs_exit_status_sets_the_weight_of_every_server_it_stands_for() -> None:
    misc = MiscCheck(pace=PACE, command=Command(argv=("/bin/weigh",)), dynamic=True)
    heavy = service(81, {2: 0})
    heavy = msgspec.structs.replace(heavy, servers=(msgspec.structs.replace(heavy.servers[0], weight=9),))
    made = begun(BalancerPlan(lvs=LvsPlan(services=(service(80, {1: 0}), heavy)), checks=(misc,)))
    for status, weights in ((0, (1, 9)), (7, (5, 5)), (2, (0, 0)), (0, (1, 9)), (255, (253, 253))):
        now = (made.deadline() or 0) + SECOND
        while not (runs := [one for one in made.turn(now) if isinstance(one, BeginCheck)]):
            now += SECOND
        made.finished(0, runs[0].run, misc_outcome(status, False, True, NO_WEIGHT, f"exited with {status}"), now)
        assert pools(made) == {80: [("1", weights[0])], 81: [("2", weights[1])]}, status


def slow(*weights: int) -> BalancerPlan:
    """A service whose servers have these weights and a slow start of 50 s."""
    config = service(80, dict(zip((1, 2), (0, 1), strict=True)))
    servers = zip(config.servers, weights, strict=True)
    started = tuple(msgspec.structs.replace(one, weight=w, slow_start_ns=50 * SECOND) for one, w in servers)
    return plan(msgspec.structs.replace(config, servers=started))


def say(made: Balancer, number: int, result: Outcome, now: int) -> None:
    """Check `number` has this result now."""
    made.watched(lambda asked: result if asked == made.checks[number].check else None, now)


def test_a_slow_start_climbs_in_tenths_when_a_server_returns() -> None:
    made = begun(slow(20, 20))
    assert pools(made) == {80: [("1", 20), ("2", 20)]}  # at the start nobody is new
    say(made, 0, BAD, 0)
    assert pools(made) == {80: [("2", 20)]}
    say(made, 0, GOOD, SECOND)
    assert pools(made) == {80: [("1", 2), ("2", 20)]}
    assert next(made.rows(SECOND))["real_servers"][0]["slow_start_percent"] == 10
    climbed = []
    for step in range(1, 11):
        made.turn((1 + step * 5) * SECOND)
        climbed.append(pools(made)[80][0][1])
    assert climbed == [4, 6, 8, 10, 12, 14, 16, 18, 20, 20]
    assert next(made.rows(SECOND))["real_servers"][0]["slow_start_percent"] is None


def test_a_slow_start_does_not_keep_the_quorum_waiting_and_gives_way_to_an_operator() -> None:
    made = begun(slow(1, 20))
    made.services[0].config = msgspec.structs.replace(made.services[0].config, quorum=21)
    say(made, 1, BAD, 0)
    assert not made.services[0].state.quorum_up
    say(made, 1, GOOD, SECOND)
    assert made.services[0].state.quorum_up
    made.hold(0, 1, 7, SECOND)
    assert pools(made) == {80: [("1", 1), ("2", 7)]}
    made.hold(0, 1, None, SECOND)
    assert pools(made) == {80: [("1", 1), ("2", 2)]}


def test_a_slow_start_goes_on_over_a_reload_and_ends_where_it_is_not_asked_for_any_more() -> None:
    made = begun(slow(1, 20))
    say(made, 1, BAD, 0)
    say(made, 1, GOOD, 0)
    made.reload(slow(1, 30), 0)
    assert pools(made) == {80: [("1", 1), ("2", 3)]}
    made.turn(5 * SECOND)
    assert pools(made) == {80: [("1", 1), ("2", 6)]}
    made.reload(plan(service(80, {1: 0, 2: 1})), 6 * SECOND)
    assert pools(made) == {80: [("1", 1), ("2", 1)]}
