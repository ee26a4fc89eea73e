"""Files, processes, static addresses and link delays with a daemon on a host: what is watched moves the address."""

import signal
import subprocess
from pathlib import Path

from holdfast.lab.daemons import holdfast_command, holdfast_status, start_holdfast
from holdfast.lab.hosts import Host, Lab, wait_until
from tests.daemon.two_hosts import VIP, Site, worker_of

HEAD = """\
interface_up_down_delays {
    eth0 0.15 0.3
}
track_file load {
    file %s/load
    weight -1
    init_file
}
vrrp_track_process never {
    process hf-never-there
    quorum_max 0
}
track_group all {
    group {
        web
    }
}
static_ipaddress {
    198.51.100.%d/24 dev eth0 track_group all
    2001:db8:5::%d/64 dev eth0
}
"""
USES = """track_file {
    load
}
track_process {
    never
}
"""


class Tracked(Site):
    """Two hosts whose instances follow a file, a process and a static address."""

    def text(self, host: Host, priority: int) -> str:
        self.head = HEAD % (host.directory, host.number, host.number)
        return super().text(host, priority)


def tracker(host: Host, kind: str) -> dict[str, object]:
    return next(one for one in holdfast_status(host)["trackers"] if one["kind"] == kind)


def test_a_file_moves_the_address_and_is_told_of(lab: Lab) -> None:
    site = Tracked(lab, USES)
    a, b = site.a, site.b
    assert tracker(a, "file")["value"] == 0
    assert tracker(a, "process")["detail"] == "0 running, none allowed"
    (a.directory / "load").write_text("60")
    site.only(b)
    assert tracker(a, "file")["detail"] == "60"
    why = a.run(*holdfast_command("why", "web", "--run-dir", "/run/holdfast"))
    assert "file load is 60: −60 (weight -1)" in why
    events = a.run(*holdfast_command("events", "--run-dir", "/run/holdfast"))
    assert "file 60: was 0" in events
    site.first.signal(signal.SIGUSR1)
    (a.directory / "load").unlink()  # which counts as 0
    site.only(a)
    site.reload(a, site.text(a, 150).replace("weight -1", "weight -2"))
    (a.directory / "load").write_text("40")
    site.only(b)


def test_a_worker_that_is_started_again_knows_what_counts(lab: Lab) -> None:
    site = Tracked(lab, USES)
    (site.a.directory / "load").write_text("60")
    site.only(site.b)
    worker = worker_of(site.first)
    subprocess.run(["kill", "-9", str(worker)], check=True)
    wait_until(lambda: worker_of(site.first) != worker, 5, "another worker")
    wait_until(lambda: holdfast_status(site.a)["instances"][0:1] != [], 5, "it answers")
    wait_until(lambda: holdfast_status(site.a)["instances"][0]["effective_priority"] == 90, 5, "priority 90")
    assert f"198.51.100.{site.a.number}" in site.a.run("ip", "-br", "addr")


def test_static_addresses_are_put_back_and_gone_at_the_end(lab: Lab) -> None:
    site = Tracked(lab, USES, alone=True)
    a = site.a
    four, six = f"198.51.100.{a.number}", f"2001:db8:5::{a.number:x}"
    assert a.holds(four)
    for address, length in ((four, 24), (six, 64)):
        a.run("ip", "addr", "del", f"{address}/{length}", "dev", "eth0")
        wait_until(lambda: a.holds(address), 3, f"{address} is put back")  # noqa: B023
    site.reload(a, site.text(a, 150).replace("198.51.100.", "198.51.101."))
    wait_until(lambda: not a.holds(four), 3, "the old one is gone")
    assert a.holds(f"198.51.101.{a.number}")
    assert a.holds(VIP)
    site.first.signal(signal.SIGTERM)
    site.first.wait(5)
    assert not {f"198.51.101.{a.number}", six, VIP} & {held.address for held in a.addresses()}


def test_an_address_that_can_not_be_kept_is_a_fault_of_its_group(lab: Lab, tmp_path: Path) -> None:
    a = lab.host("a")
    text = (HEAD % (a.directory, 7, 7)).replace("198.51.100.7/24 dev eth0", "198.51.100.7/24 dev late")
    instance = "vrrp_instance web {\n interface eth0\n virtual_router_id 9\n advert_int 0.1\n version 3\n"
    start_holdfast(a, text + instance + " virtual_ipaddress {\n  192.0.2.100/24\n }\n}\n")
    fault = ["static 198.51.100.7/24 dev late is down"]

    def faults() -> list[str]:
        try:
            return list(holdfast_status(a)["instances"][0]["faults"])
        except (subprocess.CalledProcessError, IndexError):
            return []

    wait_until(lambda: faults() == fault, 8, "FAULT")
    a.run("ip", "link", "add", "late", "type", "veth", "peer", "name", "far")
    wait_until(lambda: a.holds(VIP), 5, "MASTER")
    a.run("ip", "link", "del", "late")
    wait_until(lambda: faults() == fault, 5, "FAULT again")


def test_a_link_that_flickers_moves_nothing(lab: Lab) -> None:
    site = Tracked(lab, USES)
    a = site.a
    for _ in range(3):
        a.run("sh", "-c", "ip link set eth0 down; ip link set eth0 up")
    assert "FAULT" not in site.first.text()
    a.run("ip", "link", "set", "eth0", "down")
    wait_until(lambda: "Entering FAULT STATE" in site.first.text(), 3, "a is in FAULT")
    a.run("ip", "link", "set", "eth0", "up")
    site.only(a)
