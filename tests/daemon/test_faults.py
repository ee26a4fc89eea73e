"""The daemon under fire, on real hosts: whatever happens, one host owns the address in the end, and soon."""

import itertools
import os
import random
import signal
import socket
import time
from collections.abc import Iterator

import pytest

from holdfast.base.checksum import internet_checksum
from holdfast.lab.ask import who_answers
from holdfast.lab.daemons import holdfast_command, holdfast_status, source_environment, start_holdfast
from holdfast.lab.hosts import Host, Lab, NotInTimeError, Spawned, descendants, wait_until
from holdfast.lab.probe import Probe
from tests.daemon.two_hosts import BOOT_S, CONFIGURATION, VIP, Site, state, worker_of

pytestmark = pytest.mark.alone


def test_sigterm_leaves_cleanly_within_a_second(lab: Lab) -> None:
    site = Site(lab)
    asked = time.time_ns()
    site.first.signal(signal.SIGTERM)
    begun = time.monotonic()
    assert site.first.wait(5) == 0
    assert time.monotonic() - begun < 1.0
    assert not site.a.holds(VIP)
    assert site.a.processes() == []
    resigned = [a for a in site.adverts(site.a, asked) if a.priority == 0]
    assert resigned
    site.only(site.b)
    assert (site.adverts(site.b, asked)[0].time_ns - resigned[0].time_ns) / 1e9 < 0.061 + 0.2


def test_supervisor_killed_the_worker_leaves_cleanly(lab: Lab) -> None:
    site = Site(lab)
    asked = time.time_ns()
    site.first.signal(signal.SIGKILL)
    wait_until(lambda: site.a.processes() == [], 3, "the worker leaves")
    assert not site.a.holds(VIP)
    assert [a for a in site.adverts(site.a, asked) if a.priority == 0]
    site.only(site.b)


def test_killed_worker_is_replaced_and_one_host_owns(lab: Lab) -> None:
    site = Site(lab)
    worker = worker_of(site.first)
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: site.first.alive() and worker not in descendants(site.first.pid), 3, "the worker is gone")
    site.only(site.a, 15)  # the better one has it again in the end
    assert worker_of(site.first) != worker
    wait_until(lambda: state(site.a) == "MASTER", 5, "a says MASTER", step=0.05)
    assert state(site.b) == "BACKUP"


def test_addresses_of_a_dead_run_are_swept(lab: Lab) -> None:
    site = Site(lab)
    for pid in (site.first.pid, *descendants(site.first.pid)):
        os.kill(pid, signal.SIGSTOP)  # so that none of them can clean up after another
    site.a.kill_everything()
    assert site.a.holds(VIP)
    again = start_holdfast(site.a, CONFIGURATION % (50, ""))
    wait_until(lambda: not site.a.holds(VIP), BOOT_S, "swept")
    site.only(site.b)
    assert again.alive()


def freeze_and_cut(site: Site, host: Host, daemon: Spawned) -> None:
    """Stop `daemon` and make sure that nothing waits for it in a socket when it goes on."""
    host.stop(daemon)
    site.lab.cut(host)


def test_frozen_backup_does_not_trust_its_timers(lab: Lab) -> None:
    site = Site(lab)
    freeze_and_cut(site, site.b, site.second)
    site.goes_on(site.a, 10)  # three times as long as b would wait
    lab.heal()
    site.b.resume(site.second)
    site.goes_on(site.a, 10)
    assert site.adverts(site.b) == []
    site.only(site.a)
    assert "was not running" in site.second.text()


def test_frozen_master_listens_before_it_leads_again(lab: Lab) -> None:
    site = Site(lab, more="nopreempt")
    freeze_and_cut(site, site.a, site.first)
    wait_until(lambda: site.b.holds(VIP), 3, "b takes over")
    site.goes_on(site.b, 5)
    lab.heal()
    resumed = time.time_ns()
    site.a.resume(site.first)
    site.only(site.b)  # with nopreempt the better one stays away from a master it hears
    site.goes_on(site.b, 5)
    assert site.adverts(site.a, resumed) == []
    assert state(site.a) == "BACKUP"


def test_frozen_master_of_higher_priority_leads_in_the_end(lab: Lab) -> None:
    site = Site(lab)
    site.a.stop(site.first)
    wait_until(lambda: site.b.holds(VIP), 3, "b takes over")
    site.goes_on(site.b, 5)
    site.a.resume(site.first)
    wait_until(lambda: state(site.b) == "BACKUP", 5, "b says BACKUP", step=0.05)
    site.only(site.a)


def test_reload_without_a_gap(lab: Lab) -> None:
    site = Site(lab)
    probe = Probe(site.client, VIP)
    wait_until(lambda: (seen := probe.now()) is not None and seen.answered > 10, 5, "answers")
    since = time.time_ns()
    worker = worker_of(site.first)
    site.a.write("keepalived.conf", "# the same, written otherwise\n" + CONFIGURATION % (150, ""))
    for _ in range(3):
        site.first.signal(signal.SIGHUP)
        site.goes_on(site.a, 6)
    assert site.longest_gap_s(site.a, since) < 0.1 + 0.05
    report = probe.finish()
    assert report.outage_ns < 50_000_000
    assert [a for a in site.adverts(site.a, since) if a.priority != 150] == []
    assert site.adverts(site.b) == []
    assert worker in descendants(site.first.pid)


def test_reload_changes_what_changed(lab: Lab) -> None:
    site = Site(lab)
    site.a.write("keepalived.conf", CONFIGURATION % (50, ""))
    site.first.signal(signal.SIGHUP)
    site.only(site.b)
    assert holdfast_status(site.a)["instances"][0]["priority"] == 50


def test_reload_of_nonsense_is_refused(lab: Lab) -> None:
    site = Site(lab)
    since = time.time_ns()
    site.a.write("keepalived.conf", "vrrp_instance web {\n    interface eth0\n")
    (site.a.directory / "keepalived.conf").unlink()
    site.first.signal(signal.SIGHUP)
    site.goes_on(site.a, 8)
    assert site.longest_gap_s(site.a, since) < 0.1 + 0.05
    assert state(site.a) == "MASTER"
    assert site.first.alive()
    site.only(site.a)


def test_removed_address_is_put_back(lab: Lab) -> None:
    site = Site(lab)
    site.a.links.remove_address("eth0", VIP, 24)
    wait_until(lambda: site.a.holds(VIP), 1, f"{VIP} is put back")
    wait_until(lambda: VIP in site.first.text(), 3, "the log says who was robbed")
    site.only(site.a)


def test_interface_down_and_up(lab: Lab) -> None:
    site = Site(lab)
    site.a.links.down("eth0")
    wait_until(lambda: state(site.a) == "FAULT", 3, "a says FAULT", step=0.05)
    wait_until(lambda: who_answers(site.client, VIP, 0.02) == {site.b.mac}, 3, "b answers")
    assert not site.a.holds(VIP)
    site.a.links.up("eth0")
    site.only(site.a)
    wait_until(lambda: state(site.a) == "MASTER", 3, "a says MASTER", step=0.05)


def test_interface_vanishes_and_returns(lab: Lab) -> None:
    site = Site(lab)
    site.a.links.delete("eth0")
    wait_until(lambda: state(site.a) == "FAULT", 3, "a says FAULT", step=0.05)
    wait_until(lambda: site.b.holds(VIP), 3, "b takes over")
    site.a.add_interface(site.a.port)
    site.only(site.a)
    assert site.first.alive()


def test_second_daemon_is_refused(lab: Lab) -> None:
    site = Site(lab, alone=True)
    other = site.a.spawn(
        *holdfast_command("run", "-f", str(site.a.directory / "keepalived.conf"), "--run-dir", "/run/holdfast"),
        environment=source_environment(),
    )
    assert other.wait(5) != 0
    assert str(site.first.pid) in other.text()
    assert state(site.a) == "MASTER"
    assert site.a.holds(VIP)


def test_missing_privileges_are_one_clear_line(lab: Lab) -> None:
    host = lab.host("a")
    path = host.write("keepalived.conf", CONFIGURATION % (150, ""))
    powerless = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
    daemon = host.spawn(*powerless, *holdfast_command("run", "-f", path, "--run-dir", str(host.directory)))
    assert daemon.wait(5) not in (0, 70)
    assert "CAP_NET_ADMIN" in daemon.text()
    assert "Traceback" not in daemon.text()
    assert host.processes() == []


def odd_packets(chance: random.Random, real: bytes, source: str) -> Iterator[bytes]:
    """Any octets; a real advert with octets changed, cut short, or longer. Never one that is right."""
    while True:
        if chance.random() < 0.5:
            octets = bytearray(chance.randbytes(chance.randrange(0, 60)))
            if len(octets) > 2:
                octets[0], octets[1] = chance.choice((0x31, 0x21, 0x41, 0x32, octets[0])), chance.choice((51, 51, 52))
        else:
            octets = bytearray(real)
            for _ in range(chance.randrange(1, 4)):
                octets[chance.randrange(len(octets))] ^= chance.randrange(1, 256)
            octets = octets[: chance.randrange(len(octets) + 1)] if chance.random() < 0.3 else octets
            octets += chance.randbytes(chance.choice((0, 0, 0, 40)))
        pseudo = socket.inet_aton(source) + bytes((224, 0, 0, 18, 0, 112)) + len(octets).to_bytes(2, "big")
        if internet_checksum(pseudo + octets) and internet_checksum(bytes(octets)):
            yield bytes(octets)


def test_twenty_thousand_odd_packets_change_nothing(lab: Lab) -> None:
    site = Site(lab)
    with site.client.inside():
        flood = socket.socket(socket.AF_INET, socket.SOCK_RAW, 112)
    flood.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 255)
    flood.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
    flood.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(site.client.ip4))
    before = [len(daemon.text().splitlines()) for daemon in (site.first, site.second)]
    packets = odd_packets(random.Random(1), site.adverts(site.a)[0].octets, site.client.ip4)
    since = time.time_ns()
    for _ in range(200):
        for octets in itertools.islice(packets, 100):
            flood.sendto(octets, ("224.0.0.18", 0))
        time.sleep(0.005)  # a rate, not a wait: some 15,000 a second
    flood.close()
    site.goes_on(site.a, 5)
    assert site.longest_gap_s(site.a, since) < 0.1 + 0.05
    assert site.adverts(site.b) == []
    for host, role in ((site.a, "MASTER"), (site.b, "BACKUP")):
        shown = holdfast_status(host)["instances"][0]
        assert shown["state"] == role
        counted = {name: count for name, count in shown["statistics"].items() if "err" in name or "auth" in name}
        assert sum(counted.values()) > 5000, counted
        assert sum(count > 0 for count in shown["statistics"].values()) > 5
    for daemon, lines in zip((site.first, site.second), before, strict=True):
        assert len(daemon.text().splitlines()) - lines < 80
        assert "Traceback" not in daemon.text()


def test_scripts_that_hang_and_spew_hold_nothing_up(lab: Lab) -> None:
    hosts = [lab.host("a"), lab.host("b")]
    client = lab.host("client")
    daemons = []
    for host, priority in zip(hosts, (150, 100), strict=True):
        hang = host.write("hang", "#!/bin/sh\nyes spew | head -c 300000\nsleep 1000 & sleep 1000\n", 0o755)
        script = f'vrrp_script hang {{\n    script "{hang}"\n    interval 1\n    timeout 1\n    weight 10\n}}\n'
        more = f'notify "{hang}"\n    track_script {{\n        hang\n    }}'
        daemons.append(start_holdfast(host, script + CONFIGURATION % (priority, more)))
    wait_until(lambda: who_answers(client, VIP, 0.02) == {hosts[0].mac}, BOOT_S, "a is master")
    daemons[0].signal(signal.SIGTERM)
    wait_until(lambda: who_answers(client, VIP, 0.02) == {hosts[1].mac}, 3, "b takes over")
    assert not hosts[0].holds(VIP)
    assert daemons[0].wait(5) == 0
    with pytest.raises(NotInTimeError):
        daemons[1].wait(0.1)
    assert "Traceback" not in daemons[0].text() + daemons[1].text()
