"""Scripts of every bad kind, as trackers and as notify scripts: the election goes on, the last state is always told."""

import itertools
import os
import signal

import pytest

from holdfast.lab.daemons import holdfast_status, start_holdfast
from holdfast.lab.hosts import Host, Lab, Spawned, descendants, wait_until
from tests.daemon.two_hosts import BOOT_S, CONFIGURATION, VIP, Site, teller, written_state

pytestmark = pytest.mark.alone

SCHEDULING_S = 0.05

BAD = {
    "hang": "#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 1; done\n",
    "spew": "#!/bin/sh\nhead -c 50000000 /dev/zero | tr '\\0' x\n",
    "fork": "#!/bin/sh\nfor i in 1 2 3 4 5; do setsid sleep 300 & done\nexit 0\n",
    "die": "#!/bin/sh\nkill -9 $$\n",
    "binary": "\x7fELF\x01\x02\x03",
    "nobody": "#!/no/such/interpreter\n",
}


def bad_trackers(host: Host) -> tuple[str, str]:
    """The vrrp_script blocks of all bad scripts, none of which decides anything, and the lines that track them."""
    blocks, uses = "", ""
    for name, body in BAD.items():
        path = host.write(name, body, 0o755)
        blocks += f'vrrp_script {name} {{\n    script "{path}"\n    interval 1\n    timeout 1\n    weight 1\n}}\n'
        uses += f"        {name}\n"
    return blocks, f"track_script {{\n{uses}    }}"


def end_strays(host: Host, daemons: list[Spawned]) -> None:
    """Programs that the scripts left behind on purpose end with the test."""
    kept = {pid for daemon in daemons for pid in (daemon.pid, *descendants(daemon.pid))}
    for pid in host.processes():
        if pid not in kept:
            os.kill(pid, 9)


def test_every_bad_tracking_script_at_once_holds_no_advert_up(lab: Lab) -> None:
    host, peer = lab.host("a"), lab.host("b")
    wire = lab.capture(frozenset((112,)))
    blocks, uses = bad_trackers(host)
    daemon = start_holdfast(host, blocks + CONFIGURATION % (150, uses))
    wait_until(lambda: host.holds(VIP), BOOT_S, "a leads")
    other = start_holdfast(peer, CONFIGURATION % (100, ""))
    wait_until(lambda: written_state(peer, "web") == "BACKUP", BOOT_S, "b follows")

    def trackers() -> dict[str, tuple[bool | None, int]]:
        return {t["name"]: (t["up"], t["runs"]) for t in holdfast_status(host)["trackers"] if t["kind"] == "script"}

    wait_until(lambda: all(up is not None and runs >= 3 for up, runs in trackers().values()), 12, "three runs", 0.1)
    end_strays(host, [daemon])
    assert {name: up for name, (up, _) in trackers().items()} == {
        "hang": False, "spew": True, "fork": True, "die": False, "binary": False, "nobody": False,
    }  # fmt: skip
    times = [a.time_ns for a in wire.adverts() if a.source == host.ip4]
    late = max(later - earlier for earlier, later in itertools.pairwise(times[5:])) / 1e9
    assert late < 0.1 + SCHEDULING_S
    assert [a for a in wire.adverts() if a.source == peer.ip4] == []
    assert len(daemon.text()) < 100_000
    assert "Traceback" not in daemon.text()
    assert other.alive()


def test_a_tracking_script_that_vanishes_counts_as_failed_and_comes_back(lab: Lab) -> None:
    host = lab.host("a")
    path = host.write("check", "#!/bin/sh\nexit 0\n", 0o755)
    script = f'vrrp_script check {{\n    script "{path}"\n    interval 1\n}}\n'
    start_holdfast(host, script + CONFIGURATION % (150, "track_script {\n        check\n    }"))
    wait_until(lambda: host.holds(VIP), BOOT_S, "leads")
    os.unlink(path)
    wait_until(lambda: written_state(host, "web") == "FAULT", 4, "in FAULT without it")
    assert not host.holds(VIP)
    host.write("check", "#!/bin/sh\nexit 0\n", 0o644)
    host.write("check", "#!/bin/sh\nexit 0\n", 0o755)
    wait_until(lambda: host.holds(VIP), 4, "leads with it")


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_notify_script_delays_nobody(lab: Lab, kind: str) -> None:
    host = lab.host("a")
    path = host.write("bad", BAD[kind], 0o755)
    daemon = start_holdfast(host, CONFIGURATION % (150, f'notify "{path}"\n    notify_master "{path}.gone"'))
    wait_until(lambda: host.holds(VIP), BOOT_S, "leads")
    wait_until(lambda: written_state(host, "web") == "MASTER", 2, "the state file is true")
    daemon.signal(signal.SIGTERM)
    wait_until(lambda: not host.holds(VIP), 1, "released at once")
    assert daemon.wait(6) == 0  # within child_wait_time, whatever the script does
    assert host.run("cat", "/run/holdfast/state") == ""
    assert "Traceback" not in daemon.text()


def test_however_slow_the_script_the_last_state_is_told(lab: Lab) -> None:
    def slow(host: Host) -> str:
        path, _ = teller(host)
        return f'notify "{host.write("slow", f"#!/bin/sh{chr(10)}sleep 0.3; exec {path} $*{chr(10)}", 0o755)}"'

    site = Site(lab, more=slow)
    for _ in range(10):
        site.a.links.down("eth0")
        wait_until(lambda: not site.a.holds(VIP), 2, "off")
        site.a.links.up("eth0")
        wait_until(lambda: site.a.holds(VIP), 3, "on")
    site.only(site.a)
    told = teller(site.a)[1]
    wait_until(lambda: told()[-1:] == ["INSTANCE web MASTER 150"] and len(told()) > 3, 12, "the last state", 0.1)
    assert written_state(site.a, "web") == "MASTER"
