"""What the kernel refuses, and places that cannot be used: named, with the cure, and everything else goes on."""

import signal

from holdfast.lab.daemons import holdfast_command, holdfast_status, source_environment, start_holdfast
from holdfast.lab.hosts import Host, Lab, Spawned, wait_until
from tests.daemon.two_hosts import BOOT_S, CONFIGURATION, VIP, Site, written_state


def run_in(host: Host, directory: str) -> Spawned:
    path = host.write("keepalived.conf", CONFIGURATION % (150, ""))
    return host.spawn(*holdfast_command("run", "-f", path, "--run-dir", directory), environment=source_environment())


def test_each_missing_capability_is_one_line_and_exit_status_4(lab: Lab) -> None:
    host = lab.host("a")
    path = host.write("keepalived.conf", CONFIGURATION % (150, ""))
    for capability in ("net_admin", "net_raw"):
        without = ("setpriv", f"--bounding-set=-{capability}", f"--inh-caps=-{capability}")
        daemon = host.spawn(*without, *holdfast_command("run", "-f", path, "--run-dir", "/run/holdfast"))
        assert daemon.wait(5) == 4
        lines = daemon.text().splitlines()
        assert len(lines) == 1
        assert f"CAP_{capability.upper()}" in lines[0]


def test_a_firewall_that_keeps_adverts_in_is_named(lab: Lab) -> None:
    site = Site(lab)
    site.a.run("nft", "table ip t { chain c { type filter hook output priority 0; ip protocol 112 drop; }; }")
    wait_until(lambda: "let VRRP (IP protocol 112) out" in site.first.text(), 3, "the cure is logged")
    assert "cannot send an advert on eth0 (224.0.0.18): operation not permitted" in site.first.text()
    wait_until(lambda: site.b.holds(VIP), 3, "b hears nobody")
    wait_until(lambda: holdfast_status(site.a)["instances"][0]["statistics"]["send_errors"] > 5, 3, "counted")
    assert site.first.text().count("IP protocol 112") < 5
    site.a.run("nft", "delete table ip t")
    site.only(site.a)


REFUSED = """\
vrrp_instance six {
    interface eth0
    virtual_router_id 61
    priority 150
    advert_int 0.1
    version 3
    virtual_ipaddress {
        fe80::100
        2001:db8:1::100/64
    }
}
"""


def test_an_address_the_kernel_refuses_fails_its_instance_alone(lab: Lab) -> None:
    host = lab.host("a")
    host.links.make_veth("dead0", "dead1", host.namespaces.net)
    host.links.up("dead0")
    host.links.up("dead1")
    host.sysctl("net/ipv6/conf/dead0/disable_ipv6", "1")
    six = REFUSED.replace("2001:db8:1::100/64", "2001:db8:1::100/64 dev dead0")
    daemon = start_holdfast(host, six + CONFIGURATION % (150, ""))
    wait_until(lambda: host.holds(VIP), BOOT_S, "the other instance leads")
    wait_until(lambda: written_state(host, "six") == "FAULT", 3, "this one is in FAULT")
    shown = next(i for i in holdfast_status(host)["instances"] if i["name"] == "six")
    assert "cannot add 2001:db8:1::100/64 dev dead0" in shown["faults"][0]
    assert not host.holds("2001:db8:1::100")
    assert not host.holds("fe80::100")
    lines = [line for line in daemon.text().splitlines() if "cannot add" in line]
    assert len(lines) < 5
    assert "disable_ipv6" in lines[0]
    host.sysctl("net/ipv6/conf/dead0/disable_ipv6", "0")
    host.links.down("dead0")
    host.links.up("dead0")
    wait_until(lambda: host.holds("2001:db8:1::100"), BOOT_S, "it leads when the kernel allows it")
    assert "Traceback" not in daemon.text()


def test_a_second_daemon_elsewhere_is_fine(lab: Lab) -> None:
    one, two = lab.host("a"), lab.host("b")
    shared = str(lab.directory)
    first, second = run_in(one, f"{shared}/one"), run_in(two, f"{shared}/two")
    wait_until(lambda: one.holds(VIP) or two.holds(VIP), BOOT_S, "one leads")
    again = run_in(two, f"{shared}/one")
    assert again.wait(5) == 1
    assert f"running already with pid {first.pid}" in again.text()
    assert len(again.text().splitlines()) == 1
    assert first.alive()
    assert second.alive()


def test_a_run_directory_that_cannot_be_used_is_one_line(lab: Lab) -> None:
    host = lab.host("a")
    for place in ("/proc/1", "/dev/null/run"):
        daemon = run_in(host, place)
        assert daemon.wait(5) == 1
        assert len(daemon.text().splitlines()) <= 2
        assert place in daemon.text()
        assert "Traceback" not in daemon.text()
    assert host.processes() == []


def test_a_full_disk_in_the_run_directory_stops_no_election(lab: Lab) -> None:
    host = lab.host("a")
    host.run("mount", "-t", "tmpfs", "-o", "size=16k,nr_inodes=20", "tmpfs", "/run")
    host.run("sh", "-c", "mkdir /run/holdfast; dd if=/dev/zero of=/run/fill bs=1k 2>/dev/null; true", check=False)
    daemon = run_in(host, "/run/holdfast")
    wait_until(lambda: host.holds(VIP), BOOT_S, "leads")
    wait_until(lambda: "cannot write /run/holdfast/state" in daemon.text(), 3, "said so")
    host.run("rm", "/run/fill")
    wait_until(lambda: written_state(host, "web") == "MASTER", 8, "written when there is room", step=0.1)


def test_nothing_is_left_of_a_daemon_that_served(lab: Lab) -> None:
    site = Site(lab, more="no_accept")
    assert "192.0.2.100" in site.a.run("nft", "list", "ruleset")
    site.first.signal(signal.SIGTERM)
    site.first.wait(5)
    assert site.a.run("nft", "list", "ruleset") == ""
    assert site.a.processes() == []
