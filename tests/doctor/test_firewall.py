"""Adverts walked through firewalls that the real nft has loaded and printed."""

import json
from collections.abc import Iterator

import pytest

from holdfast.base.address import VRRP_GROUP_4, VRRP_GROUP_6, parse
from holdfast.doctor.facts import Facts, Severity
from holdfast.doctor.firewall import findings
from holdfast.lab.hosts import Host, Lab
from holdfast.vrrp.config import AuthType, Family, InstanceConfig, UnicastPeer

WEB = InstanceConfig(name="web", vrid=51, interface="eth0", family=Family.IPV4, version=2, group=VRRP_GROUP_4)
AH = InstanceConfig(name="ah", vrid=51, interface="eth0", family=Family.IPV4, version=2, group=VRRP_GROUP_4,
                    auth_type=AuthType.AH)  # fmt: skip
SIX = InstanceConfig(name="six", vrid=51, interface="eth0", family=Family.IPV6, version=3, group=VRRP_GROUP_6)

USUAL = "ct state vmap { established : accept, related : accept, invalid : drop }; iifname lo accept; tcp dport 22 accept;"


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with Lab() as lab:
        yield lab.host("a")


def chain(rules: str, policy: str = "accept", hook: str = "input", family: str = "inet") -> str:
    return f"table {family} t {{\nchain c {{\ntype filter hook {hook} priority 0; policy {policy};\n{rules}\n}}\n}}"


@pytest.mark.parametrize(
    ("instance", "table", "severity", "words"),
    [
        (WEB, "", "ok", "lets adverts in and out"),
        (WEB, chain(""), "ok", ""),
        (WEB, chain("ip protocol 112 drop"), "obstacle", "drops adverts coming in on eth0 (protocol 112"),
        (WEB, chain("meta l4proto 112 reject", hook="output"), "obstacle", "going out"),
        (WEB, chain("ip protocol 112 drop", hook="prerouting"), "obstacle", "coming in"),
        (WEB, chain("iifname eth1 drop"), "ok", ""),
        (WEB, chain("iifname eth0 ip daddr 224.0.0.0/4 drop"), "obstacle", "224.0.0.18"),
        (WEB, chain("ip daddr { 192.0.2.1, 192.0.2.9 } drop"), "ok", ""),
        (WEB, chain("meta l4proto { 1-111, 113-255 } drop"), "ok", ""),
        (WEB, chain("meta l4proto != { tcp, udp, icmp } drop"), "obstacle", ""),
        (WEB, chain(USUAL, "drop"), "obstacle", "drops adverts coming in"),
        (WEB, chain("ct state established,related accept", "drop"), "obstacle", "drops"),
        (WEB, chain(USUAL + "meta l4proto 112 accept;", "drop"), "ok", ""),
        (WEB, chain("ip saddr 192.0.2.0/24 accept", "drop"), "warning", "may drop"),
        (WEB, chain("ip saddr 198.51.100.7 drop"), "warning", "may drop"),
        (WEB, chain("ip protocol 112 drop", family="ip"), "obstacle", ""),
        (WEB, chain("meta l4proto 112 drop", family="ip6"), "ok", ""),
        (SIX, chain("meta l4proto 112 drop", family="ip6"), "obstacle", "ff02::12"),
        (SIX, chain("ip protocol 112 drop"), "ok", ""),
        (AH, chain("ip protocol 112 drop"), "ok", ""),
        (AH, chain("ip protocol 51 drop"), "obstacle", "protocol 51"),
        (WEB, "table ip t { chain d { ip protocol 112 drop; }\nchain c { type filter hook input priority 0; jump d; }\n}",
         "obstacle", ""),
        (WEB, "table ip t { chain d { ip protocol 112 return; drop; }\n"
              "chain c { type filter hook input priority 0; jump d; }\n}", "ok", ""),
    ],
)  # fmt: skip
def test_an_advert_walks(host: Host, instance: InstanceConfig, table: str, severity: str, words: str) -> None:
    path = host.write("rules.nft", f"flush ruleset\n{table}\n")
    host.run("nft", "-f", path)
    ruleset = tuple(json.loads(host.run("nft", "-j", "list", "ruleset"))["nftables"])
    found = list(findings((instance,), Facts(ruleset=ruleset)))
    assert [one.severity.value for one in found] == [severity]
    assert words in found[0].what


def test_the_cure_of_a_drop_cures_it(host: Host) -> None:
    host.run("nft", "-f", host.write("rules.nft", f"flush ruleset\n{chain('ip protocol 112 drop')}\n"))

    def found() -> str:
        ruleset = tuple(json.loads(host.run("nft", "-j", "list", "ruleset"))["nftables"])
        (only,) = findings((WEB,), Facts(ruleset=ruleset))
        return only.cure

    cure = found()
    host.run(*cure.split())
    assert cure
    assert not found()


def test_the_daemons_own_table_is_left_aside(host: Host) -> None:
    host.run("nft", "-f", host.write("rules.nft", f"flush ruleset\n{chain('ip saddr 198.51.100.7 drop')}\n"))
    ruleset = tuple(json.loads(host.run("nft", "-j", "list", "ruleset"))["nftables"])
    assert [one.severity.value for one in findings((WEB,), Facts(ruleset=ruleset), own_table="t")] == ["ok"]


def test_a_unicast_advert_comes_to_our_source(host: Host) -> None:
    pair = InstanceConfig(name="pair", vrid=51, interface="eth0", family=Family.IPV4, version=2,
                          source=parse("192.0.2.1"), unicast_peers=(UnicastPeer(address=parse("192.0.2.2")),))  # fmt: skip
    for rule, severity in (("ip daddr 192.0.2.1 drop", "obstacle"), ("ip daddr 192.0.2.7 drop", "ok")):
        host.run("nft", "-f", host.write("rules.nft", f"flush ruleset\n{chain(rule)}\n"))
        ruleset = tuple(json.loads(host.run("nft", "-j", "list", "ruleset"))["nftables"])
        assert [one.severity.value for one in findings((pair,), Facts(ruleset=ruleset))] == [severity]


def test_rules_that_cannot_be_read_are_said() -> None:
    (found,) = findings((WEB,), Facts(ruleset_refused="no `nft` program"))
    assert (found.severity, found.evidence) == (Severity.WARNING, "no `nft` program")
