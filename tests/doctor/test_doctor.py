"""`holdfast doctor` on hosts of a lab, and the verdicts that need a host we don't have, by tables."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from holdfast.base.address import VRRP_GROUP_4, parse
from holdfast.doctor import host as host_checks
from holdfast.doctor import interfaces, kernel_settings, privileges, wire
from holdfast.doctor.facts import Facts, Finding, Manager, Overheard
from holdfast.kernel.ports import AddressSeen, LinkSeen
from holdfast.lab.hosts import Host, Lab, wait_until
from holdfast.vrrp.config import Family, InstanceConfig, VirtualAddress
from holdfast.vrrp.packet import Advert

FILE = """vrrp_instance web {
    interface eth0
    virtual_router_id 51
    priority 100
    virtual_ipaddress {
        192.0.2.200/32
    }
}
"""
VIP = VirtualAddress(address=parse("192.0.2.200"), prefix_length=32)
WEB = InstanceConfig(
    name="web", vrid=51, interface="eth0", family=Family.IPV4, version=2, group=VRRP_GROUP_4, addresses=(VIP,)
)
LINK = LinkSeen(index=2, name="eth0", up=True, running=True, mac=bytes(6), mtu=1500, kind="", flags=0x1043)
OWN = AddressSeen(index=2, address=parse("192.0.2.1"), prefix_length=24, scope=0, flags=0, protocol=0, label="")


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as made:
        yield made


def examined(host: Host, *options: str) -> tuple[list[dict[str, Any]], int]:
    """What the doctor finds on a host, and its exit status."""
    path = host.write("web.conf", FILE)
    process = host.spawn(sys.executable, "-m", "holdfast.cli.main", "doctor", "--json", "-f", path, *options)
    status = process.wait(20)
    return json.loads(process.text())["findings"], status


def obstacles(found: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(one["check"], one["what"]) for one in found if one["severity"] == "obstacle"]


def test_a_sound_host_has_none_and_a_dropping_firewall_is_named(lab: Lab) -> None:
    host = lab.host("a")
    assert examined(host, "--listen", "0")[1] == 0
    rules = "table ip f {\nchain i {\ntype filter hook input priority 0;\nip protocol vrrp drop\n}\n}\n"
    host.run("nft", "-f", host.write("drop.nft", rules))
    found, status = examined(host, "--listen", "0")
    assert status == 1
    assert obstacles(found) == [("firewall", "drops adverts coming in on eth0 (protocol 112 to 224.0.0.18)")]
    assert found[0]["cure"] == "nft insert rule ip f i meta l4proto 112 accept"


def test_an_interface_that_is_down_and_arp_that_is_mute(lab: Lab) -> None:
    host = lab.host("a")
    host.sysctl("net/ipv4/conf/eth0/arp_ignore", "8")
    host.run("ip", "link", "set", "eth0", "down")
    found, status = examined(host, "--listen", "0")
    assert status == 1
    assert [check for check, _ in obstacles(found)] == ["interface", "sysctl"]


def test_a_stranger_and_a_keepalived_are_noticed(lab: Lab) -> None:
    here, there = lab.host("a"), lab.host("b")
    other = there.write("other.conf", FILE.replace("192.0.2.200", "192.0.2.222"))
    there.spawn("keepalived", "-n", "-l", "-f", other, "-p", "/run/k.pid", "-r", "/run/v.pid")
    wait_until(lambda: there.holds("192.0.2.222"), 10, "the stranger is master")
    found, _ = examined(here, "--listen", "1.5")
    assert obstacles(found) == [
        ("wire", "(web) 192.0.2.2 uses our VRID 51 on eth0 and advertises 192.0.2.222, web 192.0.2.200")
    ]
    found, _ = examined(there, "--listen", "0")
    assert ("other daemon", "keepalived runs on this host too: two daemons would fight over the same addresses") in (
        obstacles(found)
    )


def told(found: Iterator[Finding]) -> list[tuple[str, str]]:
    return [(one.severity.value, one.what) for one in found if one.severity.value != "ok"]


def test_what_an_interface_may_lack() -> None:
    def seen(link: LinkSeen | None, *addresses: AddressSeen) -> list[str]:
        facts = Facts(links=(link,) if link else (), addresses=addresses)
        return [f"{severity}: {what}" for severity, what in told(interfaces.findings((WEB,), facts))]

    vip = AddressSeen(index=2, address=VIP.address, prefix_length=32, scope=0, flags=0, protocol=0, label="")
    quiet = LinkSeen(index=2, name="eth0", up=True, running=False, mac=bytes(6), mtu=1500, kind="", flags=0x3)
    assert seen(LINK, OWN) == []
    assert seen(None) == ["obstacle: (web) no interface eth0"]
    assert seen(LINK) == ["obstacle: (web) eth0 has no IPv4 address of its own to send adverts from"]
    assert seen(quiet, OWN) == [
        "obstacle: (web) eth0 has no carrier: the instance stays in FAULT",
        "obstacle: (web) eth0 carries no multicast, and adverts go to a group",
    ]
    assert seen(LINK, OWN, vip) == [
        "warning: (web) the VIP 192.0.2.200 is on this host, and no VRRP daemon put it there"
    ]


@pytest.mark.parametrize(
    ("setting", "value", "severity"),
    [
        ("net/ipv4/conf/all/arp_ignore", "8", "obstacle"),
        ("net/ipv4/conf/eth0/arp_ignore", "2", "obstacle"),
        ("net/ipv4/conf/eth0/arp_ignore", "1", None),
        ("net/ipv4/conf/eth0/arp_filter", "1", "warning"),
        ("net/ipv4/conf/all/rp_filter", "1", "advice"),
        ("net/ipv4/conf/all/rp_filter", "2", None),
        ("net/ipv4/igmp_max_memberships", "0", "obstacle"),
        ("net/ipv4/ip_nonlocal_bind", "0", "advice"),
    ],
)
def test_kernel_settings(setting: str, value: str, severity: str | None) -> None:
    found = told(kernel_settings.findings((WEB,), Facts(sysctls={setting: value})))
    assert [one for one, _ in found] == ([severity] if severity else [])


def test_promote_secondaries_matters_for_wide_vips_only() -> None:
    wide = InstanceConfig(name="web", vrid=51, interface="eth0", family=Family.IPV4, version=2, group=VRRP_GROUP_4,
                          addresses=(VirtualAddress(address=VIP.address, prefix_length=24),))  # fmt: skip
    facts = Facts(sysctls={"net/ipv4/conf/eth0/promote_secondaries": "0"})
    assert [one for one, _ in told(kernel_settings.findings((wide,), facts))] == ["warning"]
    assert told(kernel_settings.findings((WEB,), facts)) == []


@pytest.mark.parametrize(
    ("name", "settings", "warned"),
    [
        ("systemd-networkd", ("[Network]", "DHCP=yes"), True),
        ("systemd-networkd", ("[Network]", "KeepConfiguration=yes"), False),
        ("systemd-networkd", ("KeepConfiguration=yes", "KeepConfiguration=no"), True),
        ("NetworkManager", (), True),
    ],
)
def test_network_managers(name: str, settings: tuple[str, ...], warned: bool) -> None:
    facts = Facts(managers=(Manager(name=name, interface="eth0", seen_in="a file", settings=settings),))
    assert [one for one, _ in told(host_checks.findings(facts))] == (["warning"] if warned else [])


def test_capabilities_clock_and_container() -> None:
    assert told(privileges.findings(Facts(capabilities=frozenset({"NET_ADMIN", "NET_RAW"}), advert_filter=""))) == []
    assert told(privileges.findings(Facts(capabilities=frozenset({"NET_ADMIN"})))) == [
        ("obstacle", "CAP_NET_RAW is missing: no advert can be sent or heard")
    ]
    both = frozenset({"NET_ADMIN", "NET_RAW"})
    assert [one for one, _ in told(privileges.findings(Facts(capabilities=both, container="/.dockerenv")))] == ["advice"]
    assert [one for one, _ in told(host_checks.findings(Facts(clock_synchronised=False)))] == ["advice"]


def test_other_daemons_that_cannot_be_seen_are_no_ok() -> None:
    assert told(host_checks.findings(Facts(rivals=None))) == [("warning", "could not look for other VRRP daemons")]


@pytest.mark.parametrize(
    ("vrid", "version", "source", "address", "strange"),
    [
        (51, 2, "192.0.2.9", "192.0.2.200", False),
        (51, 3, "192.0.2.9", "192.0.2.200", True),
        (51, 2, "192.0.2.9", "192.0.2.201", True),
        (52, 2, "192.0.2.9", "192.0.2.201", False),
        (51, 2, "192.0.2.1", "192.0.2.201", False),  # our own
    ],
)
def test_strangers(vrid: int, version: int, source: str, address: str, strange: bool) -> None:
    advert = Advert(version=version, vrid=vrid, priority=100, addresses=(parse(address),), adver_interval_ns=10**9)
    heard = Overheard(interface="eth0", source=parse(source), advert=advert)
    found = told(wire.findings((WEB,), Facts(addresses=(OWN,), listened_s=1, overheard=(heard,))))
    assert [one for one, _ in found] == (["obstacle"] if strange else [])
