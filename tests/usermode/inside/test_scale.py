"""Runs inside the user-mode kernel: a published production size, 37,205 real servers in 2,277 services."""

from pathlib import Path

import msgspec

from holdfast.base.time import SECOND
from holdfast.config.balancer_plan import BalancerPlan
from holdfast.config.builder import build_plan
from holdfast.edge.services import Memory, Services
from holdfast.engine.balancer import Balancer, PoolsChanged
from tests.config.golden import PlainDisk
from tests.usermode.inside.ipvs import fresh

SERVICES, SERVERS = 2277, 37205


def text(changed: int = -1) -> str:
    """The services; the weight of server number `changed` is another."""
    lines = []
    for number in range(SERVICES):
        lines.append(
            f"virtual_server 192.{number // 62500}.{number // 250 % 250}.{number % 250 + 1} 80 {{\n delay_loop 600\n"
            " lvs_sched rr\n lvs_method NAT\n protocol TCP"
        )
        for one in range(SERVERS * number // SERVICES, SERVERS * (number + 1) // SERVICES):
            weight = 7 if one == changed else 1
            address = f"10.{one // 62500}.{one // 250 % 250}.{one % 250 + 1}"
            lines.append(f" real_server {address} 80 {{\n weight {weight}\n TCP_CHECK {{\n }}\n }}")
        lines.append("}")
    return "\n".join(lines) + "\n"


def plan(path: Path, changed: int = -1) -> BalancerPlan:
    path.write_text(text(changed))
    return msgspec.msgpack.decode(build_plan(str(path), disk=PlainDisk()).balancer_bytes, type=BalancerPlan)


def test_a_reload_of_thousands_calls_the_kernel_for_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "lb.conf"
    balancer = Balancer(plan(path), 0)
    balancer.begin(0)
    with fresh() as kernel:
        services = Services(kernel, Memory(""))
        assert services.begin(balancer.wanted()) == []
        booked = [slot.state.next_at for slot in balancer.checks]
        kernel.calls()
        done = balancer.reload(plan(path), SECOND)
        assert services.replace(balancer.wanted()) == []
        assert kernel.calls() == 0
        assert [one for one in done.effects if not isinstance(one, PoolsChanged)] == []
        assert done.abandoned == ()
        assert [slot.state.next_at for slot in balancer.checks] == booked  # no check is delayed
        balancer.reload(plan(path, changed=12345), 2 * SECOND)
        assert services.replace(balancer.wanted()) == []
        assert 1 <= kernel.calls() <= 3
        assert sum(len(kernel.destinations(key)) for key in list(kernel.services())[:10]) > 100
