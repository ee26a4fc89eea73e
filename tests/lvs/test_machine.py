"""The rules of pools, weights and quorum, with their numbers written out."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.base.ipvs import INET, INET6, DestinationKey, ServiceKey
from holdfast.lvs import machine
from holdfast.lvs.config import VirtualServerConfig
from holdfast.lvs.machine import CheckWeight, ServerState, ServiceState, begin, effective_weight, step, wanted_pool
from holdfast.lvs.messages import (
    AddressMoved,
    CheckReported,
    ChecksWanted,
    Effect,
    Event,
    PoolChanged,
    QuorumGained,
    QuorumLost,
    ServerDown,
    ServerUp,
    WeightChanged,
    WeightHeld,
)
from tests.lvs.pools import DR, TUN, WEB, key, place, real, service, sorry, weights

UP, FAIL = True, False


def ok(check: int, weight: int | None = None, added: int = 0) -> CheckReported:
    return CheckReported(check, UP, weight, added)


def bad(check: int) -> CheckReported:
    return CheckReported(check, FAIL)


def run(config: VirtualServerConfig, *events: Event) -> tuple[ServiceState, list[tuple[Effect, ...]]]:
    state, effects = begin(config)
    told = [effects]
    for event in events:
        state, effects = step(config, state, event)
        told.append(effects)
    return state, told


def pool(config: VirtualServerConfig, state: ServiceState, of: ServiceKey = WEB) -> dict[str, int]:
    return weights(wanted_pool(config, state, of))


A, B, C = "10.0.0.1", "10.0.0.2", "10.0.0.3"
THREE = service(real(A, checks=(1,)), real(B, checks=(2,)), real(C, checks=(3,)), quorum=2)


# -- up and down ------------------------------------------------------------------------------------------------------


def test_servers_without_alpha_begin_up_and_reach_the_quorum() -> None:
    state, told = run(THREE)
    assert told == [
        (ServerUp(0, at_start=True), ServerUp(1, at_start=True), ServerUp(2, at_start=True), QuorumGained(3), PoolChanged())
    ]
    assert pool(THREE, state) == {"10.0.0.1:80": 1, "10.0.0.2:80": 1, "10.0.0.3:80": 1}


def test_the_first_failed_check_takes_it_out_and_the_last_one_back_puts_it_in() -> None:
    config = service(real(A, checks=(1, 2), weight=7), real(B))
    state, told = run(config, bad(1), bad(2), ok(1), ok(2), ok(2), bad(9))
    assert told[1:] == [
        (ServerDown(0), PoolChanged()),
        (),
        (),
        (ServerUp(0), PoolChanged()),
        (),
        (),
    ]
    assert pool(config, state) == {"10.0.0.1:80": 7, "10.0.0.2:80": 1}


def test_without_sorry_server_the_rest_stays_when_the_quorum_is_lost() -> None:
    state, told = run(THREE, bad(1), bad(2))
    assert told[1:] == [(ServerDown(0), PoolChanged()), (ServerDown(1), QuorumLost(1), PoolChanged())]
    assert pool(THREE, state) == {"10.0.0.3:80": 1}
    assert not state.quorum_up


def test_one_check_may_serve_several_servers() -> None:
    config = service(real(A, checks=(1,)), real(B, checks=(1,)))
    _, told = run(config, bad(1))
    assert told[1] == (ServerDown(0), ServerDown(1), QuorumLost(0), PoolChanged())


def test_inhibit_keeps_it_with_weight_0() -> None:
    config = service(real(A, checks=(1,), inhibit=True, weight=3), real(B))
    state, told = run(config, bad(1))
    assert told[1] == (ServerDown(0), PoolChanged())
    assert pool(config, state) == {"10.0.0.1:80": 0, "10.0.0.2:80": 1}
    state, _ = step(config, state, ok(1))
    assert pool(config, state) == {"10.0.0.1:80": 3, "10.0.0.2:80": 1}


# -- alpha and omega --------------------------------------------------------------------------------------------------


def test_alpha_waits_for_all_alpha_checks_to_succeed_once() -> None:
    config = service(real(A, checks=(1, 2, 3), alpha_checks=(1, 2)), real(B, checks=(4,), alpha_checks=(4,), inhibit=True))
    state, told = run(config)
    assert told == [(PoolChanged(),)]
    assert pool(config, state) == {"10.0.0.2:80": 0}
    state, told = run(config, ok(3), ok(1), bad(1), ok(2), ok(1))
    assert told[1:] == [(), (), (), (), (ServerUp(0), QuorumGained(1), PoolChanged())]


def test_omega_tells_the_end() -> None:
    quiet, state = THREE, run(THREE, bad(1))[0]
    assert machine.end(quiet, state) == ()
    loud = msgspec.structs.replace(THREE, omega=True)
    assert machine.end(loud, state) == (
        ServerDown(1, stopping=True), ServerDown(2, stopping=True), QuorumLost(2, stopping=True),
    )  # fmt: skip


# -- quorum -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quorum", "hysteresis", "live", "was_up", "up"),
    [  # live = 0..10 of ten servers of weight 1
        (1, 0, 1, False, True),
        (1, 0, 0, True, False),
        (5, 0, 4, False, False),
        (5, 0, 5, False, True),
        (5, 0, 5, True, True),
        (5, 0, 4, True, False),
        (5, 2, 6, False, False),
        (5, 2, 7, False, True),
        (5, 2, 3, True, True),
        (5, 2, 2, True, False),
        (9, 8, 1, True, True),
        (9, 8, 0, True, False),  # nothing alive is never enough
    ],
)
def test_quorum(quorum: int, hysteresis: int, live: int, was_up: bool, up: bool) -> None:
    config = service(*(real(f"10.0.0.{number}", checks=(number,)) for number in range(1, 12)), quorum=quorum, hysteresis=hysteresis)
    servers = tuple(ServerState(failed=() if number <= live else (number,)) for number in range(1, 12))
    before = ServiceState(servers=(*servers[:10], ServerState()), quorum_up=was_up)
    state, effects = step(config, before, bad(11))
    assert state.quorum_up is up
    assert [type(one) for one in effects if isinstance(one, QuorumGained | QuorumLost)] == (
        [] if up == was_up else [QuorumGained if up else QuorumLost]
    )


def test_weights_count_for_the_quorum() -> None:
    config = service(real(A, checks=(1,), weight=5), real(B, checks=(2,), weight=2), quorum=3)
    _, told = run(config, bad(1))
    assert told[1] == (ServerDown(0), QuorumLost(2), PoolChanged())
    _, told = run(config, bad(2))
    assert told[1] == (ServerDown(1), PoolChanged())


# -- the sorry server -------------------------------------------------------------------------------------------------

SORRY = service(real(A, checks=(1,)), real(B, checks=(2,), inhibit=True), quorum=2, sorry=sorry("10.0.0.99", 81))


def test_the_sorry_server_stands_for_all() -> None:
    state, told = run(SORRY, bad(1))
    assert told[1] == (ServerDown(0), QuorumLost(1), PoolChanged())
    assert pool(SORRY, state) == {"10.0.0.2:80": 0, "10.0.0.99:81": 1}
    state, effects = step(SORRY, state, ok(1))
    assert effects == (ServerUp(0), QuorumGained(2), PoolChanged())
    assert pool(SORRY, state) == {"10.0.0.1:80": 1, "10.0.0.2:80": 1}


def test_sorry_server_inhibit_is_always_there() -> None:
    config = msgspec.structs.replace(SORRY, sorry=sorry("10.0.0.99", 81, inhibit=True))
    state, _ = run(config)
    assert pool(config, state) == {"10.0.0.1:80": 1, "10.0.0.2:80": 1, "10.0.0.99:81": 0}
    state, _ = step(config, state, bad(2))
    assert pool(config, state) == {"10.0.0.2:80": 0, "10.0.0.99:81": 1}


def test_starting_without_quorum_is_told_when_a_sorry_server_has_to_serve() -> None:
    alpha = real(A, checks=(1,), alpha_checks=(1,))
    assert run(service(alpha, sorry=sorry("10.0.0.99")))[1] == [(QuorumLost(0), PoolChanged())]
    assert run(service(alpha))[1] == [(PoolChanged(),)]
    assert run(service(sorry=sorry("10.0.0.99")))[1] == [(QuorumLost(0), PoolChanged())]


def test_a_sorry_server_that_is_a_real_server_too() -> None:
    config = service(real(A, checks=(1,), weight=4), sorry=sorry(A, inhibit=True))
    state, _ = run(config)
    assert pool(config, state) == {"10.0.0.1:80": 4}
    state, _ = step(config, state, bad(1))
    assert pool(config, state) == {"10.0.0.1:80": 1}


# -- weights ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("configured", "said", "weight"),
    [
        (10, (), 10),
        (10, ((1, 5, 0),), 5),  # misc_dynamic, exit 7
        (10, ((1, 0, 0),), 0),  # exit 2
        (10, ((1, 253, 0),), 253),
        (10, ((1, 5, 0), (2, 8, 0)), 3),  # 10 + (5 - 10) + (8 - 10)
        (10, ((1, 5, 0), (2, 2, 0)), 0),  # 10 - 5 - 8 is below 0
        (10, ((1, None, 7),), 17),
        (10, ((1, None, -20),), 0),
        (10, ((1, 5, 0), (2, None, 3)), 8),
        (2147483647, ((1, None, 1),), 2147483647),
    ],
)
def test_effective_weight(configured: int, said: tuple[tuple[int, int | None, int], ...], weight: int) -> None:
    state = ServerState(weights=tuple(CheckWeight(*one) for one in said))
    assert effective_weight(real(A, weight=configured), state) == weight
    held = msgspec.structs.replace(state, held_weight=4)
    assert effective_weight(real(A, weight=configured), held) == 4


def test_a_changed_weight_changes_pool_and_quorum() -> None:
    config = service(real(A, checks=(1,), weight=4), real(B, checks=(2,)), quorum=3)
    state, told = run(config, ok(1, weight=9), ok(1, weight=9), ok(1, weight=1), ok(1))
    assert told[1:] == [
        (WeightChanged(0, 4, 9), PoolChanged()),
        (),
        (WeightChanged(0, 9, 1), QuorumLost(2), PoolChanged()),
        (WeightChanged(0, 1, 4), QuorumGained(5), PoolChanged()),
    ]
    state, effects = step(config, state, WeightHeld(0, 0))
    assert effects == (WeightChanged(0, 4, 0), QuorumLost(1), PoolChanged())
    assert pool(config, state) == {"10.0.0.1:80": 0, "10.0.0.2:80": 1}
    state, effects = step(config, state, WeightHeld(0, None))
    assert effects == (WeightChanged(0, 0, 4), QuorumGained(5), PoolChanged())


def test_a_weight_that_changes_while_the_server_is_down_is_remembered() -> None:
    config = service(real(A, checks=(1, 2), weight=4), real(B))
    state, told = run(config, bad(1), ok(2, weight=6), ok(1))
    assert told[2] == (WeightChanged(0, 4, 6), PoolChanged())
    assert pool(config, state) == {"10.0.0.1:80": 6, "10.0.0.2:80": 1}


def test_a_failed_check_keeps_the_weight_it_gave() -> None:
    config = service(real(A, checks=(1,), weight=4), real(B))
    _, told = run(config, ok(1, weight=6), bad(1), ok(1, weight=6))
    assert told[2:] == [(ServerDown(0), PoolChanged()), (ServerUp(0), PoolChanged())]


# -- places -----------------------------------------------------------------------------------------------------------


def test_ports_and_families() -> None:
    config = service(
        real(A, 8080),
        real(B, 8080, forwarding=DR),
        real(C, 8080, forwarding=TUN),
        real("fd00::1", 8080),
        real("fd00::2", 8080, forwarding=TUN),
        sorry=sorry("fd00::9", 0, inhibit=True),
    )
    state, _ = run(config)
    assert pool(config, state) == {"10.0.0.1:8080": 1, "10.0.0.2:80": 1, "10.0.0.3:80": 1, "[fd00::2]:80": 1}
    assert pool(config, state, key("tcp", "fd00::a", 443)) == {
        "10.0.0.3:443": 1, "[fd00::1]:8080": 1, "[fd00::2]:443": 1, "[fd00::9]:0": 0,
    }  # fmt: skip
    assert pool(config, state, ServiceKey(INET, fwmark=3)) == {
        "10.0.0.1:8080": 1, "10.0.0.2:0": 1, "10.0.0.3:0": 1, "[fd00::2]:0": 1,
    }  # fmt: skip


def test_thresholds_and_forwarding_go_along() -> None:
    config = service(real(A, upper_threshold=100, lower_threshold=50, forwarding=DR))
    [one] = wanted_pool(config, run(config)[0], WEB).values()
    assert (one.upper_threshold, one.lower_threshold, one.forwarding) == (100, 50, DR)


def test_a_group_s_services_share_the_pool_and_have_each_their_mask() -> None:
    keys = (WEB, key("tcp", "192.0.2.2", 80), key("tcp", "fd00::a", 80), ServiceKey(INET6, fwmark=3))
    config = service(real(A), keys=keys, netmask6=64)
    table = machine.wanted_pools(config, run(config)[0])
    assert [weights(table[one].destinations) for one in keys] == [{"10.0.0.1:80": 1}] * 2 + [{}] * 2
    assert [table[one].service.netmask for one in keys] == [0xFFFFFFFF, 0xFFFFFFFF, 64, 64]
    assert keys[0].family == INET


# -- ha_suspend -------------------------------------------------------------------------------------------------------


def test_ha_suspend_rests_the_checks_and_nothing_else() -> None:
    config = msgspec.structs.replace(THREE, ha_suspend=True)
    state, told = run(config, AddressMoved(True), AddressMoved(True), AddressMoved(False))
    assert told[0][-2:] == (ChecksWanted(False), PoolChanged())
    assert told[1:] == [(ChecksWanted(True),), (), (ChecksWanted(False),)]
    assert len(pool(config, state)) == 3
    assert step(THREE, run(THREE)[0], AddressMoved(False))[1] == ()


# -- reload -----------------------------------------------------------------------------------------------------------


def test_a_reload_with_nothing_changed_changes_nothing() -> None:
    state, _ = run(THREE, bad(1), WeightHeld(1, 0))
    assert machine.reload(THREE, state, THREE, {1: 1, 2: 2, 3: 3}) == (state, (), ())


def test_a_reload_keeps_verdicts_by_their_new_numbers() -> None:
    state, _ = run(THREE, bad(1))
    new = service(real(C, checks=(13,)), real(A, checks=(11,), weight=2), real("10.0.0.4", checks=(14,)), quorum=2)
    after, effects, gone = machine.reload(THREE, state, new, {1: 11, 3: 13})
    assert after.servers == (ServerState(), ServerState(failed=(11,)), ServerState())
    assert effects == (WeightChanged(1, 1, 2), ServerUp(2, at_start=True), PoolChanged())
    assert gone == (THREE.servers[1],)


def test_a_failed_check_that_is_gone_lets_its_server_up() -> None:
    state, _ = run(THREE, bad(1))
    new = msgspec.structs.replace(THREE, servers=(real(A, checks=(9,)), *THREE.servers[1:]))
    after, effects, gone = machine.reload(THREE, state, new, {2: 2, 3: 3})
    assert effects == (ServerUp(0), PoolChanged())
    assert (after.servers[0].alive, gone) == (True, ())


def test_new_alpha_checks_hold_only_servers_that_were_down() -> None:
    alpha = service(real(A, checks=(1, 7), alpha_checks=(1, 7)), real(B, checks=(2, 8), alpha_checks=(2, 8)))
    state, _ = run(service(real(A, checks=(1,)), real(B, checks=(2,))), bad(1))
    after, _, _ = machine.reload(service(real(A, checks=(1,)), real(B, checks=(2,))), state, alpha, {1: 1, 2: 2})
    assert after.servers == (ServerState(failed=(1,), unproven=(7,)), ServerState())


def test_a_new_quorum_counts_at_once() -> None:
    state, _ = run(THREE, bad(1))
    raised = msgspec.structs.replace(THREE, quorum=3, sorry=sorry("10.0.0.99"))
    after, effects, _ = machine.reload(THREE, state, raised, {1: 1, 2: 2, 3: 3})
    assert effects == (QuorumLost(2), PoolChanged())
    assert pool(raised, after) == {"10.0.0.99:80": 1}


# -- any history ------------------------------------------------------------------------------------------------------

EVENTS = st.lists(
    st.one_of(
        st.builds(CheckReported, st.integers(1, 4), st.booleans(), st.none() | st.integers(0, 3), st.integers(-2, 2)),
        st.builds(WeightHeld, st.integers(0, 2), st.none() | st.integers(0, 3)),
    ),
    max_size=25,
)


@settings(max_examples=150, deadline=None)
@given(EVENTS, st.integers(1, 4), st.booleans())
def test_the_pool_is_never_a_surprise(events: list[Event], quorum: int, has_sorry: bool) -> None:
    """Whatever happened: a dead server has no weight, effects tell each change once, and PoolChanged means just that."""
    config = service(
        real(A, checks=(1, 2), alpha_checks=(1,)), real(B, checks=(3,), inhibit=True), real(C, checks=(4, 1)),
        quorum=quorum, sorry=sorry("10.0.0.99") if has_sorry else None,
    )  # fmt: skip
    state, _ = begin(config)
    for event in events:
        before, (state, effects) = state, step(config, state, event)
        now = wanted_pool(config, state, WEB)
        if not effects:
            assert now == wanted_pool(config, before, WEB)
            assert [one.alive for one in before.servers] == [one.alive for one in state.servers]
        for one, server in zip(config.servers, state.servers, strict=True):
            there = now.get(DestinationKey(one.address, 80))
            if not server.alive:
                assert there is None or there.weight == 0
        live = machine.live_weight(config, state)
        assert state.quorum_up == (live >= quorum and live > 0)
        assert (place("10.0.0.99") in now) == (has_sorry and not state.quorum_up)
