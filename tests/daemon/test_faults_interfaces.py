"""Interfaces and addresses that others change: put back, in FAULT, and back again, each in its time."""

import sys
import time
from pathlib import Path

from holdfast.lab.ask import who_answers
from holdfast.lab.daemons import holdfast_status, start_holdfast
from holdfast.lab.hosts import Lab, wait_until
from tests.daemon.two_hosts import BOOT_S, CONFIGURATION, VIP, Site, state, teller, written_state

SCHEDULING_S = 0.05


def test_an_address_removed_fifty_times_a_second_is_put_back_and_no_advert_is_late(lab: Lab) -> None:
    site = Site(lab)
    since = time.time_ns()
    for _ in range(50):
        wait_until(lambda: site.a.holds(VIP), 1, f"{VIP} is put back")
        site.a.links.remove_address("eth0", VIP, 24)
        time.sleep(0.02)  # a rate, not a wait
    wait_until(lambda: site.a.holds(VIP), 1, f"{VIP} is put back")
    site.goes_on(site.a, 3)
    assert site.longest_gap_s(site.a, since) < 0.1 + SCHEDULING_S
    assert site.adverts(site.b) == []
    assert f"{VIP} was removed from eth0 by somebody else" in site.first.text()
    assert site.first.text().count("by somebody else") < 10
    assert holdfast_status(site.a)["instances"][0]["statistics"]["addresses_put_back"] == 50
    site.only(site.a)


def test_the_interface_loses_and_regains_its_own_address(lab: Lab) -> None:
    site = Site(lab, more=lambda host: f'notify "{teller(host)[0]}"')
    site.a.links.remove_address("eth0", site.a.ip4, 24)
    wait_until(lambda: written_state(site.a, "web") == "FAULT", 3, "a is in FAULT")
    wait_until(lambda: who_answers(site.client, VIP, 0.02) == {site.b.mac}, 3, "b answers")
    assert not site.a.holds(VIP)
    assert "no IPv4 address on eth0" in site.first.text()
    site.a.links.add_address("eth0", site.a.ip4, 24)
    site.only(site.a)
    expected = ["BACKUP", "MASTER", "FAULT", "BACKUP", "MASTER"]
    wait_until(lambda: [line.split()[2] for line in teller(site.a)[1]()] == expected, 3, "every state was told")


def test_an_interface_that_flaps_settles(lab: Lab) -> None:
    site = Site(lab)
    for _ in range(10):
        site.a.links.down("eth0")
        site.a.links.up("eth0")
    site.only(site.a)
    wait_until(lambda: state(site.a) == "MASTER" and state(site.b) == "BACKUP", 5, "settled", step=0.05)


def test_an_interface_made_anew_again_and_again(lab: Lab) -> None:
    site = Site(lab)
    for _ in range(3):
        site.a.links.delete("eth0")
        site.until(lambda: site.b.holds(VIP), 3, "b takes over")
        site.a.add_interface(site.a.port)
        site.only(site.a)
    for _ in range(5):  # faster than anybody could follow
        site.a.links.delete("eth0")
        site.a.add_interface(site.a.port)
    site.only(site.a)
    assert site.first.alive()
    assert "Traceback" not in site.first.text()


def test_a_virtual_address_goes_with_another_s_and_is_put_back(lab: Lab) -> None:
    """Two instances with addresses of one network that is not the interface's: the second's is secondary to the first's."""
    host = lab.host("a")
    one = CONFIGURATION.replace(VIP, "198.51.100.1") % (150, "")
    two = CONFIGURATION.replace(VIP, "198.51.100.2").replace("web", "two").replace("51\n", "52\n") % (150, "")
    start_holdfast(host, one + two)
    wait_until(lambda: host.holds("198.51.100.1") and host.holds("198.51.100.2"), BOOT_S, "both lead")
    host.links.remove_address("eth0", "198.51.100.1", 24)
    wait_until(lambda: host.holds("198.51.100.1") and host.holds("198.51.100.2"), 2, "both are back")


def test_an_interface_that_is_not_there_yet_is_waited_for(lab: Lab) -> None:
    host = lab.host("a")
    host.links.delete("eth0")
    daemon = start_holdfast(host, CONFIGURATION % (150, ""))
    wait_until(lambda: state(host) == "FAULT", BOOT_S, "in FAULT", step=0.05)
    assert "interface eth0 does not exist" in daemon.text()
    host.add_interface(host.port)
    wait_until(lambda: host.holds(VIP), BOOT_S, "leads")


def test_standing_in_for_keepalived_an_absent_interface_ends_the_daemon(lab: Lab) -> None:
    host = lab.host("a")
    host.links.delete("eth0")
    command = str(Path(sys.executable).with_name("holdfast-keepalived"))
    path = host.write("keepalived.conf", CONFIGURATION % (150, ""))
    words = ("-n", "-l", "-G", "-p", "/run/k.pid", "-r", "/run/v.pid", "-f", path)
    daemon = host.spawn(command, *words)
    assert daemon.wait(5) == 2
    assert "eth0" in daemon.text()
    host.write("keepalived.conf", "global_defs {\n    dynamic_interfaces\n}\n" + CONFIGURATION % (150, ""))
    waits = host.spawn(command, *words)
    wait_until(lambda: "FAULT" in waits.text(), BOOT_S, "with dynamic_interfaces it waits")
    host.add_interface(host.port)
    wait_until(lambda: host.holds(VIP), BOOT_S, "leads")
