"""Runs inside the user-mode kernel: real connections through the director, spread as the schedulers say."""

from collections.abc import Iterator

import msgspec
import pytest

from holdfast.edge.services import Memory, Services
from holdfast.lvs import machine
from holdfast.lvs.messages import CheckReported, WeightHeld
from tests.usermode.inside.farm import PORT, VIP6, Farm


@pytest.fixture(scope="module")
def farm() -> Iterator[Farm]:
    with Farm() as made:
        yield made


FORWARDING = {"NAT": "NAT", "DR": "DR", "TUN": "TUN", "GUE": "TUN type gue port 6080", "GRE": "TUN type gre"}


@pytest.mark.parametrize("how", FORWARDING)
def test_round_robin_over_every_forwarding(farm: Farm, how: str) -> None:
    with farm.answering(how):
        farm.configure(f"lb_algo rr\nlb_kind {FORWARDING[how]}")
        assert farm.spread(12) == {"a": 4, "b": 4, "c": 4}


@pytest.mark.parametrize("how", ["NAT", "DR", "TUN"])
def test_weighted_round_robin(farm: Farm, how: str) -> None:
    with farm.answering(how):
        farm.configure(f"lb_algo wrr\nlb_kind {FORWARDING[how]}", weights=(1, 2, 3))
        assert farm.spread(12) == {"a": 2, "b": 4, "c": 6}


@pytest.mark.parametrize("how", ["NAT", "DR", "TUN"])
def test_least_connections(farm: Farm, how: str) -> None:
    with farm.answering(how):
        farm.configure(f"lb_algo lc\nlb_kind {FORWARDING[how]}")
        held = [farm.connect() for _ in range(6)]
        assert sorted(one.name for one in held) == ["a", "a", "b", "b", "c", "c"]
        counts = farm.ipvs.server_counts(farm.service.keys[0])
        assert sum(one.connections for one in counts.values()) >= 6
        assert sum(one.active for one in counts.values()) == 6
        for one in held:
            one.close()


@pytest.mark.parametrize("how", ["NAT", "DR", "TUN"])
@pytest.mark.parametrize("scheduler", ["sh", "mh"])
def test_hashing_by_source(farm: Farm, how: str, scheduler: str) -> None:
    with farm.answering(how):
        farm.configure(f"lb_algo {scheduler}\nlb_kind {FORWARDING[how]}")
        served = {source: farm.spread(2, source) for source in (f"192.0.2.{150 + number}" for number in range(20))}
        assert all(list(one.values()) == [2] for one in served.values()), served
        assert {name for one in served.values() for name in one} == {"a", "b", "c"}


def test_hashing_by_source_and_port(farm: Farm) -> None:
    with farm.answering("DR"):
        farm.configure("lb_algo mh\nmh-port\nlb_kind DR")
        assert len(farm.spread(20, "192.0.2.150")) == 3


def test_persistence_keeps_a_client_s_server(farm: Farm) -> None:
    with farm.answering("DR"):
        farm.configure("lb_algo rr\nlb_kind DR\npersistence_timeout 30")
        served = [farm.spread(3, f"192.0.2.{150 + number}") for number in range(6)]
        assert all(list(one.values()) == [3] for one in served), served
        assert {name for one in served for name in one} == {"a", "b", "c"}


@pytest.mark.parametrize("how", ["NAT", "DR"])
def test_ipv6(farm: Farm, how: str) -> None:
    with farm.answering(how):
        farm.configure(f"lb_algo rr\nlb_kind {how}", where=f"{VIP6} {PORT}")
        assert farm.spread(6, target=VIP6) == {"a": 2, "b": 2, "c": 2}


def test_a_dead_server_leaves_and_a_drained_one_gets_nothing_new_and_nobody_is_cut(farm: Farm) -> None:
    with farm.answering("DR"):
        farm.configure("lb_algo rr\nlb_kind DR")
        servers = tuple(
            msgspec.structs.replace(one, checks=(number,)) for number, one in enumerate(farm.service.servers)
        )
        service = msgspec.structs.replace(farm.service, servers=servers)
        held = {one.name: one for one in (farm.connect() for _ in range(3))}
        state, _ = machine.step(service, farm.state, CheckReported(0, ok=False))
        assert farm.services.want(machine.wanted_pools(service, state)) == []
        assert farm.spread(8) == {"b": 4, "c": 4}
        state, _ = machine.step(service, state, WeightHeld(1, 0))
        assert farm.services.want(machine.wanted_pools(service, state)) == []
        assert farm.spread(4) == {"c": 4}
        assert held["b"].works()
        assert held["c"].works()
        state, _ = machine.step(service, state, CheckReported(0, ok=True))
        state, _ = machine.step(service, state, WeightHeld(1, None))
        assert farm.services.want(machine.wanted_pools(service, state)) == []
        assert farm.spread(6) == {"a": 2, "b": 2, "c": 2}
        # the process dies; the next one finds the table and cuts nobody
        assert (
            Services(farm.ipvs, Memory(""))
            .begin(machine.wanted_pools(service, state))[0]
            .startswith("tcp 192.0.2.100:80")
        )
        assert held["b"].works()
        for one in held.values():
            one.close()
