"""SIGHUP: what is the same goes on undisturbed, what differs changes, what cannot run is refused."""

import itertools
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from holdfast.base.address import text
from holdfast.kernel.netlink import MonitorSocket
from holdfast.kernel.ports import AddressGone, AddressSeen
from holdfast.lab.daemons import holdfast_status, start_holdfast
from holdfast.lab.hosts import Host, Lab, wait_until
from tests.daemon.two_hosts import BOOT_S, CONFIGURATION, VIP, Site, state, teller, worker_of, written_state

pytestmark = pytest.mark.alone

SCHEDULING_S = 0.02
"""What a busy machine may add to an interval."""

OTHER = CONFIGURATION.replace("web", "other").replace("51", "52").replace(VIP, "192.0.2.101")


@contextmanager
def address_changes(host: Host) -> Iterator[list[str]]:
    """What is added to and removed from the host's interfaces inside the block; filled at its end."""
    with host.inside():
        monitor = MonitorSocket()
    changes: list[str] = []
    try:
        yield changes
        for seen in monitor.read():
            if isinstance(seen, AddressSeen):
                changes.append(f"+{text(seen.address)}")
            elif isinstance(seen, AddressGone):
                changes.append(f"-{text(seen.address)}")
    finally:
        monitor.close()


def refusals(site: Site, count: int) -> bool:
    return site.first.text().count("is refused, the old one goes on") == count


def statistics(host: Host) -> dict[str, int]:
    return dict(holdfast_status(host)["instances"][0]["statistics"])


def test_twenty_reloads_in_a_row_miss_no_advert_and_touch_no_address(lab: Lab) -> None:
    site = Site(lab)
    worker = worker_of(site.first)
    before = statistics(site.a)["adverts_sent"]
    since = time.time_ns()
    with address_changes(site.a) as changes:
        for number in range(20):
            site.reload(site.a, f"# {number}\n" + site.text(site.a, 150))
        site.goes_on(site.a, 3)
    sent = [a for a in site.adverts(site.a, since) if a.priority == 150]
    assert site.longest_gap_s(site.a, since) < 0.1 + 0.01 + SCHEDULING_S
    assert site.adverts(site.b) == []
    assert changes == []
    assert worker_of(site.first) == worker
    assert statistics(site.a)["adverts_sent"] >= before + len(sent)
    assert statistics(site.a)["became_master"] == 1
    assert site.first.text().count("Reloaded: 1 unchanged, 0 changed, 0 started, 0 stopped") == 20


def test_signals_faster_than_they_can_be_read_are_all_obeyed(lab: Lab) -> None:
    site = Site(lab, alone=True)
    since = time.time_ns()
    for number in range(30):
        site.a.write("keepalived.conf", site.text(site.a, 120 + number))
        site.first.signal(signal.SIGHUP)
    wait_until(lambda: [a.priority for a in site.adverts(site.a, since)].count(149) > 2, 5, "the last one counts")
    assert site.longest_gap_s(site.a, since) < 0.1 + 0.01 + SCHEDULING_S


def test_a_file_that_is_just_being_written_is_waited_for(lab: Lab) -> None:
    site = Site(lab)
    (site.a.directory / "keepalived.conf").write_text("")
    site.first.signal(signal.SIGHUP)
    wait_until(lambda: "Reloading" in site.first.text(), 3, "the empty file is read")
    site.a.write("keepalived.conf", site.text(site.a, 160))
    wait_until(lambda: site.adverts(site.a)[-1].priority == 160, 3, "what was written is loaded")
    assert "refused" not in site.first.text()
    assert site.adverts(site.b) == []


def test_a_master_whose_priority_changes_says_so_and_goes_on(lab: Lab) -> None:
    site = Site(lab)
    since = time.time_ns()
    site.goes_on(site.a, 1)
    for priority in (160, 120, 200):
        site.reload(site.a, site.text(site.a, priority))
        site.goes_on(site.a, 2)
    assert [p for p, _ in itertools.groupby(a.priority for a in site.adverts(site.a, since))] == [150, 160, 120, 200]
    assert site.longest_gap_s(site.a, since) < 0.11 + SCHEDULING_S
    assert site.adverts(site.b) == []


def test_a_backup_that_changes_again_and_again_stays_a_backup(lab: Lab) -> None:
    site = Site(lab)
    for number in range(20):
        site.reload(site.b, site.text(site.b, 100).replace("advert_int 0.1", f"advert_int 0.1\n    debug {number % 4}"))
        site.reload(site.b, site.text(site.b, 100).replace("}\n}", f"    192.0.2.{150 + number}/24\n    }}\n}}", 1))
    site.goes_on(site.a, 5)
    assert site.adverts(site.b) == []
    assert "was not running" not in site.second.text()
    assert "MASTER" not in site.second.text()


def test_a_changed_list_of_addresses_touches_only_what_differs(lab: Lab) -> None:
    site = Site(lab)
    two = site.text(site.a, 150).replace(f"{VIP}/24", f"{VIP}/24\n        192.0.2.101/24")
    other = site.text(site.a, 150).replace(f"{VIP}/24", f"{VIP}/24\n        192.0.2.102/24")
    since = time.time_ns()
    with address_changes(site.a) as changes:
        site.reload(site.a, two)
        wait_until(lambda: site.a.holds("192.0.2.101"), 2, "the new address is there")
        site.goes_on(site.a, 1)
        site.reload(site.a, other)
        wait_until(lambda: site.a.holds("192.0.2.102") and not site.a.holds("192.0.2.101"), 2, "exchanged")
        site.goes_on(site.a, 1)
        site.reload(site.a, site.text(site.a, 150))
        wait_until(lambda: not site.a.holds("192.0.2.102"), 2, "gone")
    site.goes_on(site.a, 3)
    assert site.longest_gap_s(site.a, since) < 0.1 + 0.01 + SCHEDULING_S
    assert [change for change in changes if VIP in change] == []
    assert sorted(changes) == ["+192.0.2.101", "+192.0.2.102", "-192.0.2.101", "-192.0.2.102"]
    assert {a.vips for a in site.adverts(site.a, since)} == {(VIP,), (VIP, "192.0.2.101"), (VIP, "192.0.2.102")}
    site.only(site.a)


def test_a_changed_interval_is_kept_from_then_on(lab: Lab) -> None:
    site = Site(lab)
    for host in (site.a, site.b):
        site.reload(host, site.text(host, 150 if host is site.a else 100).replace("0.1", "0.2"))
    site.goes_on(site.a, 2)
    since = time.time_ns()
    site.goes_on(site.a, 6)
    times = [a.time_ns for a in site.adverts(site.a, since)]
    gaps = [(later - earlier) / 1e9 for earlier, later in itertools.pairwise(times)]
    assert min(gaps) > 0.2 - SCHEDULING_S
    assert max(gaps) < 0.2 + SCHEDULING_S
    assert site.adverts(site.b) == []


def test_instances_come_and_go_beside_one_that_stays(lab: Lab) -> None:
    site = Site(lab, more=lambda host: f'notify "{teller(host)[0]}"')
    told = teller(site.a)[1]
    other = OTHER % (150, site.more(site.a) if callable(site.more) else "")
    since = time.time_ns()
    site.reload(site.a, site.text(site.a, 150) + other)
    wait_until(lambda: site.a.holds("192.0.2.101"), BOOT_S, "the new instance leads")
    wait_until(lambda: written_state(site.a, "other") == "MASTER", 2, "and says so")
    site.reload(site.a, site.text(site.a, 150))
    wait_until(lambda: not site.a.holds("192.0.2.101"), 2, "its address is gone")
    wait_until(lambda: told()[-1:] == ["INSTANCE other FAULT 150"], 2, "its scripts hear FAULT")
    site.reload(site.a, site.text(site.a, 150) + other.replace("notify ", "notify_deleted\n    notify "))
    wait_until(lambda: site.a.holds("192.0.2.101"), BOOT_S, "the new instance leads")
    site.reload(site.a, site.text(site.a, 150))
    wait_until(lambda: told()[-1:] == ["INSTANCE other DELETED 150"], 2, "its scripts hear DELETED")
    wait_until(lambda: written_state(site.a, "other") == "", 2, "it is in the state file no more")
    resigned = [a for a in site.adverts(site.a, since) if a.vrid == 52 and a.priority == 0]
    assert len(resigned) == 2
    kept = [a.time_ns for a in site.adverts(site.a, since) if a.vrid == 51]
    assert max(later - earlier for earlier, later in itertools.pairwise(kept)) / 1e9 < 0.11 + SCHEDULING_S
    assert [line for line in told() if " web " in line] == ["INSTANCE web BACKUP 150", "INSTANCE web MASTER 150"]
    site.only(site.a)


def test_a_renamed_instance_stays_what_it_is(lab: Lab) -> None:
    site = Site(lab)
    since = time.time_ns()
    with address_changes(site.a) as changes:
        site.reload(site.a, site.text(site.a, 150).replace("vrrp_instance web", "vrrp_instance shop"))
        wait_until(lambda: written_state(site.a, "shop") == "MASTER", 2, "the new name is written")
        wait_until(lambda: written_state(site.a, "web") == "", 2, "the old one is not")
    site.goes_on(site.a, 3)
    assert changes == []
    assert site.longest_gap_s(site.a, since) < 0.11 + SCHEDULING_S
    assert holdfast_status(site.a)["instances"][0]["name"] == "shop"
    assert site.adverts(site.b) == []


def test_a_missing_file_and_one_that_cannot_run_are_refused(lab: Lab) -> None:
    site = Site(lab)
    since = time.time_ns()
    path = site.a.directory / "keepalived.conf"
    cut_short = site.text(site.a, 150)[:40]
    junk = b"\0\xff{" + bytes(range(256))
    for number, octets in enumerate((None, cut_short.encode(), junk), 1):
        path.unlink()
        if octets is not None:
            path.write_bytes(octets)
        site.first.signal(signal.SIGHUP)
        wait_until(partial(refusals, site, number), 3, f"refusal {number}")
        path.touch()
    site.goes_on(site.a, 3)
    assert site.longest_gap_s(site.a, since) < 0.11 + SCHEDULING_S
    assert state(site.a) == "MASTER"
    site.reload(site.a, site.text(site.a, 150))
    site.only(site.a)


def test_a_group_that_a_reload_dissolves_and_forms_again(lab: Lab) -> None:
    host = lab.host("a")
    group = "vrrp_sync_group G {\n    group {\n        web\n        other\n    }\n}\n"
    both = CONFIGURATION % (150, "") + OTHER % (150, "")
    daemon = start_holdfast(host, group + both)
    wait_until(lambda: host.holds(VIP) and host.holds("192.0.2.101"), BOOT_S, "the group leads")
    host.links.down("eth0")
    wait_until(lambda: not host.holds(VIP), 3, "in FAULT")
    host.write("keepalived.conf", both)
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: "Reloaded: 2 unchanged" in daemon.text(), 3, "reloaded")
    host.links.up("eth0")
    wait_until(lambda: host.holds(VIP) and host.holds("192.0.2.101"), 3, "each leads for itself")
    wait_until(lambda: written_state(host, "G") == "", 2, "no word of the group")
