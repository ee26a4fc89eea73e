"""What `status --json` shows of a service."""

from typing import Any

from holdfast.lvs.machine import ServerState, ServiceState
from holdfast.lvs.view import service_row
from tests.lvs.pools import real, service, sorry


def check_row(number: int) -> dict[str, Any]:
    return {"kind": "TCP_CHECK", "ok": number == 1}


def test_a_service_and_its_servers() -> None:
    config = service(
        real("10.0.0.1", checks=(1,), weight=3), real("10.0.0.2", checks=(2,)), real("10.0.0.3", weight=0),
        real("10.0.0.4"), real("10.0.0.5", checks=(3,), alpha_checks=(3,)), protocol=6, sorry=sorry("10.0.0.9", 81),
    )  # fmt: skip
    servers = (
        ServerState(), ServerState(failed=(2,)), ServerState(), ServerState(held_weight=0), ServerState(unproven=(3,)),
    )  # fmt: skip
    row = service_row(config, ServiceState(servers=servers, quorum_up=True), check_row)
    states = [server.pop("state") for server in row["real_servers"]]
    assert states == ["up", "down", "idle", "drained", "waiting"]
    assert row["real_servers"][0] == {
        "address": "10.0.0.1", "port": 80, "weight": 3, "effective_weight": 3, "alive": True,
        "slow_start_percent": None, "held_weight": None, "inhibit_on_failure": False,
        "checks": [{"kind": "TCP_CHECK", "ok": True}],
    }  # fmt: skip
    assert {name: row[name] for name in row if name != "real_servers"} == {
        "name": "192.0.2.1:80", "protocol": "TCP", "forwarding": "NAT", "scheduler": "rr", "quorum": 1,
        "label": "[192.0.2.1]:tcp:80", "hysteresis": 0, "live_weight": 3, "quorum_met": True, "suspended": False, "sorry_server": {"address": "10.0.0.9", "port": 81, "active": False},
    }  # fmt: skip
    aside = service_row(config, ServiceState(servers=servers), check_row)
    assert aside["sorry_server"]["active"] is True
    assert [server["state"] for server in aside["real_servers"]] == ["aside", "down", "aside", "aside", "waiting"]
