"""Why a virtual server or a real server is as it is: the reasons' slugs, and the words that hold numbers."""

from typing import Any

import pytest

from holdfast.engine.why import Explanation, Reason
from holdfast.engine.why_services import explain_server, explain_service, server_names

CHECK = {
    "kind": "TCP_CHECK", "ok": True, "since": "2026-11-22T10:00:00Z", "last_run": "2026-11-22T10:00:00Z", "age_s": 1.5,
    "detail": "connected", "overdue": False, "failures": 0, "retry": 1, "delay_loop_s": 6.0,
    "delay_before_retry_s": 1.0, "shared_by": 1,
}  # fmt: skip


def check(**more: object) -> dict[str, Any]:
    return {**CHECK, **more}


def server(last: int, state: str = "up", **more: object) -> dict[str, Any]:
    alive = state in ("up", "idle", "drained", "aside")
    row: dict[str, Any] = {
        "address": f"10.0.0.{last}", "port": 80, "label": f"[10.0.0.{last}]:tcp:80", "weight": 10,
        "effective_weight": 10, "held_weight": None, "inhibit_on_failure": False, "alive": alive,
        "slow_start_percent": None, "state": state, "checks": [check(ok=alive)],
    }  # fmt: skip
    return {**row, **more}


def service(*servers: dict[str, Any], **more: object) -> dict[str, Any]:
    live = sum(one["effective_weight"] for one in servers if one["alive"])
    row: dict[str, Any] = {
        "name": "192.0.2.1:80", "label": "[192.0.2.1]:tcp:80", "quorum": 1, "hysteresis": 0, "live_weight": live,
        "quorum_met": live > 0, "suspended": False, "real_servers": list(servers), "sorry_server": None,
    }  # fmt: skip
    return {**row, **more}


def slugs(found: Explanation) -> tuple[list[str], list[str], list[str]]:
    return ([one.slug for one in found.reasons], [one.slug for one in found.changes], [one.slug for one in found.warnings])


def texts(reasons: tuple[Reason, ...]) -> list[str]:
    return [one.text for one in reasons]


ROWS: list[tuple[dict[str, Any], list[str], list[str], list[str]]] = [
    (server(1), ["checks-passed"], ["check-fails", "drain"], []),
    (server(1, "down"), ["checks-failed"], ["check-passes"], []),
    (server(1, "down", inhibit_on_failure=True), ["checks-failed"], ["check-passes"], []),
    (server(1, "waiting", checks=[check(ok=None)]), ["alpha"], ["check-passes"], []),
    (server(1, "drained", held_weight=0, effective_weight=0), ["checks-passed", "held"], ["check-fails", "enable"], []),
    (server(1, "idle", effective_weight=0), ["checks-passed", "weight-changed", "idle"], ["check-fails", "drain"], []),
    (server(1, slow_start_percent=30, effective_weight=3), ["checks-passed", "slow-start"], ["check-fails", "drain"], []),
    (server(1, checks=[]), ["unchecked"], ["drain"], []),
    (server(1, "aside"), ["aside"], ["check-fails", "drain"], []),
    (server(1, checks=[check(overdue=True)]), ["checks-passed"], ["check-fails", "drain"], ["overdue"]),
]


@pytest.mark.parametrize(("row", "reasons", "changes", "warnings"), ROWS)
def test_a_real_server(row: dict[str, Any], reasons: list[str], changes: list[str], warnings: list[str]) -> None:
    found = explain_server(service(row, server(2)), row, ())
    assert slugs(found) == (reasons, changes, warnings)
    assert found.name == "10.0.0.1:80 of 192.0.2.1:80"
    assert found.state == row["state"].upper()


def test_the_last_server_takes_the_quorum_with_it() -> None:
    row = server(1, checks=[check(failures=1)])
    found = explain_server(service(row, server(2, "down")), row, ())
    assert texts(found.changes) == [
        "if TCP_CHECK fails once: it leaves, within 6 s and the time each attempt takes",
        "then weight 0 is left and the quorum is lost; those that are left go on serving",
        "`holdfast server drain 192.0.2.1:80 10.0.0.1:80` takes it out without cutting connections",
    ]
    assert texts(found.reasons[0].because) == ["TCP_CHECK passes (1 of 2 failures): connected, 1.5 s ago"]


def test_quorum_arithmetic_with_hysteresis() -> None:
    sorry = {"address": "10.0.0.9", "port": 80, "active": False}
    met = service(server(1), server(2), server(3, "down"), quorum=25, hysteresis=6, sorry_server=sorry)
    assert texts(explain_service(met, ()).reasons) == ["quorum met: weight 20 is alive, at least 19 keep it"]
    assert texts(explain_service(met, ()).changes) == [
        "if 10.0.0.1:80 fails: weight 10 is left, the quorum is lost; the sorry server 10.0.0.9:80 serves then",
        "if 10.0.0.2:80 fails: weight 10 is left, the quorum is lost; the sorry server 10.0.0.9:80 serves then",
    ]
    lost = service(server(1), server(2, "down"), server(3, "down"), quorum=15, hysteresis=6, quorum_met=False)
    found = explain_service({**lost, "sorry_server": {**sorry, "active": True}}, ())
    assert slugs(found)[0] == ["quorum", "sorry-server"]
    assert texts(found.reasons)[0] == "quorum lost: weight 10 is alive, 21 would gain it"
    assert texts(found.changes) == [
        "if 10.0.0.2:80 returns: weight 20 is alive, still 1 too little",
        "if 10.0.0.3:80 returns: weight 20 is alive, still 1 too little",
    ]
    assert texts(explain_service(service(server(1), server(2)), ()).changes) == [
        "no single server's failure loses the quorum"
    ]


def test_what_led_here_and_since_when() -> None:
    rows = [
        {"time": "T1", "name": "[192.0.2.1]:tcp:80", "what": "server [10.0.0.1]:tcp:80 down", "up": False},
        {"time": "T2", "name": "[192.0.2.1]:tcp:80", "what": "server [10.0.0.2]:tcp:80 down", "up": False},
        {"time": "T3", "name": "[192.0.2.1]:tcp:80", "what": "quorum lost", "up": False},
        {"time": "T4", "name": "[192.0.2.9]:tcp:80", "what": "quorum lost", "up": False},
    ]
    row = server(1, "down")
    whole = service(row, server(2, "down"))
    assert explain_server(whole, row, rows).since == "T1"
    assert [one["time"] for one in explain_server(whole, row, rows).history] == ["T1"]
    assert explain_service(whole, rows).since == "T3"
    assert [one["time"] for one in explain_service(whole, rows).history] == ["T1", "T2", "T3"]


def test_names() -> None:
    assert server_names(server(1)) == ("10.0.0.1", "10.0.0.1:80", "[10.0.0.1]:tcp:80")
    assert server_names({"address": "2001:db8::7", "port": 80})[1] == "[2001:db8::7]:80"
