"""What the supervisor tells of the loops, without asking them: who stands still is named, and what was counted."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.control.client import AskError, ask
from holdfast.daemon import loops
from holdfast.edge.pulse import Pulse
from holdfast.lab.daemons import holdfast_status
from holdfast.lab.hosts import Lab, descendants, wait_until
from tests.daemon.test_nftables import NftSite

SECOND = 10**9


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as made:
        yield made


@pytest.mark.parametrize(
    ("beat_s", "started_s", "now_s", "silent_s", "why"),
    [
        (0, 100, 104, 4.0, ""),  # it has only just begun
        (0, 100, 106, 6.0, "the vrrp worker (pid {pid}) gave no sign of life for 6 s"),
        (130, 100, 135, 5.0, ""),
        (130, 100, 137, 7.0, "the vrrp worker (pid {pid}) gave no sign of life for 7 s"),
        (138, 100, 137, 0.0, ""),
    ],
)
def test_when_a_loop_counts_as_standing(beat_s: int, started_s: int, now_s: int, silent_s: float, why: str) -> None:
    pulse = Pulse()
    pulse.beat(beat_s * SECOND)
    found = loops.worker_loop("vrrp", os.getpid(), pulse, started_s * SECOND, now_s * SECOND)
    assert (found.silent_s, found.why) == (silent_s, why.format(pid=os.getpid()))
    assert bool(found.cure) is bool(why)


def test_the_lvs_worker_too_and_what_its_services_served(lab: Lab) -> None:
    site = NftSite(lab)
    daemon = site.start(site.text(1, 1))
    assert sum(site.answers().values()) == 20

    def shown() -> dict[str, Any]:
        return dict(holdfast_status(site.director)["virtual_servers"][0])

    def checks() -> list[dict[str, Any]]:
        return [check for server in shown()["real_servers"] for check in server["checks"]]

    wait_until(lambda: all(check["last_run"] for check in checks()), 5, "both are checked")
    service = shown()
    servers = [server["connections"] for server in service["real_servers"]]
    assert service["connections"]["total"] == sum(server["total"] for server in servers) == 20
    assert all(0 < check["duration_s"] <= check["longest_s"] < 5 for check in checks())
    names = {Path(f"/proc/{pid}/comm").read_text().strip(): pid for pid in descendants(daemon.pid)}
    worker, run_dir = names["holdfast_lvs"], f"/proc/{names['holdfast_lvs']}/root/run/holdfast"

    def told() -> dict[str, Any]:
        return {one["name"]: one for one in ask(run_dir, {"command": "routine"}, 1)["loops"]}

    def why() -> str:
        try:
            return str(told()["lvs"]["why"])
        except AskError:
            return "it was asked just before it was stopped"

    wait_until(lambda: sum(told()["lvs"]["lag"]["counts"]) > 0, 5, "it came to what was due")
    assert why() == ""
    assert told()["lvs"]["advert_lateness"] is None
    os.kill(worker, signal.SIGSTOP)
    try:
        wait_until(lambda: why() == f"the lvs worker (pid {worker}) is stopped", 5, "it is noticed")
    finally:
        os.kill(worker, signal.SIGCONT)
    wait_until(lambda: why() == "", 5, "it goes on")
