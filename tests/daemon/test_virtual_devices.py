"""VMACs through their life: made, kept, followed, swept, removed; on the real kernel, by the real daemon."""

import os
import signal
import time
from itertools import pairwise

from holdfast.lab.daemons import holdfast_command, holdfast_state, holdfast_status, start_holdfast
from holdfast.lab.hosts import Host, Lab, wait_until

VIRTUAL_MAC = "00:00:5e:00:01:33"


def _file(vmac: str = "use_vmac", more: str = "", glob: str = "", addresses: str = "192.0.2.100/24") -> str:
    return (
        f"global_defs {{\n dynamic_interfaces\n {glob}\n}}\n"
        f"vrrp_instance web {{\n interface eth0\n version 3\n virtual_router_id 51\n priority 150\n advert_int 0.1\n"
        f" {vmac}\n {more}\n virtual_ipaddress {{\n {addresses}\n }}\n}}\n"
    )


def _mac(host: Host, name: str) -> str:
    return host.run("cat", f"/sys/class/net/{name}/address", check=False).strip()


def _holders(host: Host, address: str) -> list[str]:
    lines = host.run("ip", "-br", "address").splitlines()
    return [line.split("@")[0].split()[0] for line in lines if f" {address}/" in line]


def _is(host: Host, state: str, seconds: float = 5) -> None:
    wait_until(lambda: holdfast_state(host) == state, seconds, f"{host.name} is {state}", step=0.05)


def test_it_is_made_kept_and_removed_with_its_settings(lab: Lab) -> None:
    host = lab.host("a")
    host.sysctl("net/ipv4/conf/all/rp_filter", "1")
    settings = ("all/rp_filter", "eth0/rp_filter", "eth0/arp_ignore", "eth0/arp_filter")

    def values(*names: str) -> list[str]:
        return [host.run("cat", f"/proc/sys/net/ipv4/conf/{name}").strip() for name in names]

    before = values(*settings)
    daemon = start_holdfast(host, _file())
    _is(host, "MASTER")
    assert _mac(host, "vrrp.51") == VIRTUAL_MAC
    assert _holders(host, "192.0.2.100") == ["vrrp.51"]
    assert values(*settings) == ["0", "1", "1", "1"]
    mine = [f"vrrp.51/{name}" for name in ("arp_ignore", "accept_local", "rp_filter", "promote_secondaries")]
    assert values(*mine) == ["1", "1", "0", "1"]
    status = holdfast_status(host)["instances"][0]
    assert (status["interface"], status["base"], status["source"]) == ("vrrp.51", "eth0", host.ip4)

    host.run("ip", "link", "delete", "vrrp.51")  # somebody deletes it
    wait_until(lambda: _holders(host, "192.0.2.100") == ["vrrp.51"], 5, "it is made again, and the address on it")
    host.run("ip", "link", "set", "vrrp.51", "address", "02:00:00:00:00:99")
    wait_until(lambda: _mac(host, "vrrp.51") == VIRTUAL_MAC, 5, "the MAC is corrected")
    _is(host, "MASTER")

    host.links.down("eth0")
    _is(host, "FAULT")
    assert holdfast_status(host)["instances"][0]["faults"] == ["interface eth0 is down"]
    host.links.up("eth0")
    _is(host, "MASTER")

    daemon.signal(signal.SIGTERM)
    assert daemon.wait(5) == 0
    assert _mac(host, "vrrp.51") == ""
    assert values(*settings) == before
    assert "vmac" not in host.run("nft", "list", "tables")


def test_the_interface_below_goes_and_comes_back(lab: Lab) -> None:
    host = lab.host("a")
    host.run("ip", "link", "add", "dum0", "type", "veth", "peer", "name", "dum1")
    for command in ("link set dum1 up", "link set dum0 up", "address add 198.51.100.1/24 dev dum0"):
        host.run("ip", *command.split())
    start_holdfast(host, _file("use_vmac vm0", addresses="198.51.100.9/24").replace("eth0", "dum0"))
    _is(host, "MASTER")
    host.run("ip", "link", "delete", "dum0")
    _is(host, "FAULT")
    assert _mac(host, "vm0") == ""
    host.run("ip", "link", "add", "dum0", "type", "veth", "peer", "name", "dum1")
    for command in ("link set dum1 up", "link set dum0 up", "address add 198.51.100.1/24 dev dum0"):
        host.run("ip", *command.split())
    _is(host, "MASTER")
    assert _holders(host, "198.51.100.9") == ["vm0"]


def test_a_reload_makes_what_differs(lab: Lab) -> None:
    host = lab.host("a")
    daemon = start_holdfast(host, _file("use_vmac vm0"))
    _is(host, "MASTER")

    def reload(text: str) -> None:
        host.write("keepalived.conf", text)
        daemon.signal(signal.SIGHUP)

    index = host.links.index("vm0")
    reload(_file("use_vmac vm0 02:11:22:33:44"))  # the VRID is the sixth octet
    wait_until(lambda: _mac(host, "vm0") == "02:11:22:33:44:33", 5, "the MAC is another")
    assert host.links.index("vm0") == index
    _is(host, "MASTER")
    reload(_file("use_vmac vm1", addresses="192.0.2.100/24\n192.0.2.101/24 dev eth0 use_vmac"))
    wait_until(lambda: _mac(host, "vm1") == VIRTUAL_MAC and not _mac(host, "vm0"), 5, "another one is made")
    wait_until(lambda: _holders(host, "192.0.2.101") == ["vm1"], 5, "the address is on it")
    reload(_file("", addresses="192.0.2.100/24\n192.0.2.101/24 use_vmac", glob="vmac_addr_prefix va"))
    wait_until(lambda: _holders(host, "192.0.2.101") == ["va.51"], 5, "an address has a VMAC of its own")
    wait_until(lambda: _holders(host, "192.0.2.100") == ["eth0"], 5, "and the other none")
    assert _mac(host, "va.51") == VIRTUAL_MAC
    assert _mac(host, "vm1") == ""


def test_what_a_dead_run_left_is_taken_over_or_swept(lab: Lab) -> None:
    host = lab.host("a")
    daemon = start_holdfast(host, _file("use_vmac vm0"))
    _is(host, "MASTER")
    index = host.links.index("vm0")
    host.stop(daemon)  # so that no part of it sees another die, and cleans up
    host.kill_everything()
    daemon.wait(5)
    daemon = start_holdfast(host, _file("use_vmac vm0"))
    _is(host, "MASTER")
    assert host.links.index("vm0") == index
    host.stop(daemon)  # so that no part of it sees another die, and cleans up
    host.kill_everything()
    daemon.wait(5)
    start_holdfast(host, _file("use_vmac vm1"))
    _is(host, "MASTER")
    assert _mac(host, "vm0") == ""
    assert _mac(host, "vm1") == VIRTUAL_MAC


def test_a_worker_that_dies_leaves_no_trouble(lab: Lab) -> None:
    host = lab.host("a")
    daemon = start_holdfast(host, _file("use_vmac vm0"))
    _is(host, "MASTER")
    workers = [pid for pid in host.processes() if _parent(pid) == daemon.pid]
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: "Respawn" in daemon.text() or "again" in daemon.text() or len(_lines(daemon.text())) > 1, 5, "")
    _is(host, "MASTER", 10)
    assert _holders(host, "192.0.2.100") == ["vm0"]


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if "Starting VRRP child" in line]


def _parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return int(file.read().rsplit(")", 1)[1].split()[1])
    except OSError:
        return 0


def test_a_stranger_of_that_name_is_left_alone(lab: Lab) -> None:
    host = lab.host("a")
    host.run("ip", "link", "add", "vm0", "type", "veth", "peer", "name", "vm9")
    mac = _mac(host, "vm0")
    start_holdfast(host, _file("use_vmac vm0"))
    _is(host, "FAULT")
    assert "name another: vm0 is there, and is no macvlan" in holdfast_status(host)["instances"][0]["faults"][0]
    assert _mac(host, "vm0") == mac


def test_no_report_leaves_with_the_virtual_mac_and_a_backup_is_silent(lab: Lab) -> None:
    one, other = lab.host("one"), lab.host("other")
    wire = lab.capture(frozenset((0x0806, 2, 58, 112)))
    six = "\nvirtual_ipaddress_excluded {\n 2001:db8:1::64/64\n}"
    start_holdfast(one, _file(more=six))
    _is(one, "MASTER")
    start_holdfast(other, _file(more=six).replace("priority 150", "priority 100"))
    _is(other, "BACKUP")
    found = one.run(*holdfast_command("who", "--json", "192.0.2.100", "--run-dir", "/run/holdfast"))
    assert f'"address":"{one.ip4}"' in found
    found = other.run(*holdfast_command("who", "--json", "192.0.2.100", "--run-dir", "/run/holdfast"))
    assert f'"address":"{one.ip4}"' in found
    time.sleep(1.2)  # reports are repeated within a second or so
    wire.collect(0.1)
    virtual = [frame for frame in wire.frames if frame.source_mac == VIRTUAL_MAC]
    kinds = {(frame.octets[12:14].hex(), frame.octets[23] if frame.octets[12] == 8 else 0) for frame in virtual}
    assert ("0800", 112) in kinds
    assert ("0800", 2) not in kinds, "an IGMP report left with the virtual MAC"
    assert {frame.port for frame in virtual} == {one.port}


def test_announcements_where_no_adverts_leave(lab: Lab) -> None:
    host = lab.host("a")
    wire = lab.capture(frozenset((0x0806, 112)))
    start_holdfast(host, _file(more="vmac_xmit_base\n garp_extra_if 1\n garp_master_delay 0\n garp_master_repeat 1"))
    _is(host, "MASTER")
    times: list[int] = []

    def announced() -> bool:
        wire.drain()
        times[:] = [one.time_ns for one in wire.announcements() if one.source_mac == VIRTUAL_MAC]
        return len(times) >= 3

    wait_until(announced, 6, "three announcements", step=0.05)
    assert all(0.9e9 < later - sooner < 1.6e9 for sooner, later in pairwise(times))
    wire.drain()
    assert {advert.source_mac for advert in wire.adverts()} == {host.mac}
