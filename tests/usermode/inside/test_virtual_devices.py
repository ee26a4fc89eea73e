"""Runs inside the user-mode kernel: two daemons elect on a VLAN, in a VRF, on ipvlans; then the better goes."""

import signal

from holdfast.lab.daemons import start_holdfast
from holdfast.lab.hosts import Host, Lab, wait_until

NETWORKS = {7: "198.51.100", 8: "203.0.113", 9: "192.0.2"}
WANTED = {  # instance: VLAN, VRID, words, where its address is, its VRF
    "vlan": (7, 51, "use_vmac", "vrrp.51", ""),
    "base": (7, 52, "use_vmac vb\n vmac_xmit_base", "vb", ""),
    "vrf": (8, 53, "", "eth0.8", "red"),
    "both": (8, 54, "use_vmac", "vrrp.54", "red"),
    "ipvlan": (9, 55, "use_ipvlan ipv0 192.0.2.{own}/24", "ipv0", ""),
}


def _vip(name: str) -> str:
    vlan, vrid, *_ = WANTED[name]
    return f"{NETWORKS[vlan]}.{vrid + 100}"


def _configuration(host: Host, priority: int) -> str:
    return "\n".join(
        f"vrrp_instance {name} {{\n interface eth0.{vlan}\n version 3\n virtual_router_id {vrid}\n"
        f" priority {priority}\n advert_int 0.3\n {words.format(own=host.number + 20)}\n"
        f" virtual_ipaddress {{\n {_vip(name)}/24\n }}\n}}"
        for name, (vlan, vrid, words, _, _) in WANTED.items()
    )


def _prepare(host: Host) -> None:
    host.run("ip", "link", "add", "red", "type", "vrf", "table", "10")
    host.links.up("red")
    for vlan, network in NETWORKS.items():
        name = f"eth0.{vlan}"
        host.run("ip", "link", "add", "link", "eth0", "name", name, "type", "vlan", "id", str(vlan))
        if vlan == 8:
            host.run("ip", "link", "set", name, "master", "red")
        host.links.up(name)
        if vlan != 9:
            host.links.add_address(name, f"{network}.{host.number}", 24)


def test_election_and_stop() -> None:
    with Lab() as lab:
        one, other = lab.host("one"), lab.host("other")
        daemons = []
        for host, priority in ((one, 150), (other, 100)):
            _prepare(host)
            daemons.append(start_holdfast(host, _configuration(host, priority)))
        for name in WANTED:
            vip = _vip(name)
            wait_until(lambda vip=vip: one.holds(vip) and not other.holds(vip), 20, f"{name}: the better alone has it")  # type: ignore[misc]
        held = [line.split() for line in one.run("ip", "-br", "address").splitlines()]
        links = one.run("ip", "-o", "link")
        for name, (_, _, _, device, vrf) in WANTED.items():
            where = [words[0].partition("@")[0] for words in held if f"{_vip(name)}/24" in words]
            assert where == [device], name
            line = next(line for line in links.splitlines() if f": {device}@" in line)
            assert ("master red" in line) == bool(vrf), line
        daemons[0].signal(signal.SIGTERM)
        for name in WANTED:
            vip = _vip(name)
            wait_until(lambda vip=vip: other.holds(vip) and not one.holds(vip), 20, f"{name}: the other takes over")  # type: ignore[misc]
        assert daemons[0].wait(10) == 0
        left = one.run("ip", "-br", "link")
        assert not [device for _, _, _, device, _ in WANTED.values() if not device.startswith("eth0") and device in left]
