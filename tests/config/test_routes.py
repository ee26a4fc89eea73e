"""Route lines and rule lines: what is refused and how it is said, what dumps say, and that nothing raises."""

import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from holdfast.config.disk import Disk
from holdfast.config.keywords_lines import ROUTE, ROUTE_TYPES, RULE
from holdfast.config.route_lines import read_route
from holdfast.config.route_parts import Names, Unfit
from holdfast.config.rule_lines import read_rule
from holdfast.kernel.route_events import decode, entry_of
from holdfast.vrrp.routes import RouteEntry
from tests.config.reading import check
from tests.daemon.route_lines import ROUTES, RULES, Row


class NamesOfRouting(Disk):
    """Two tables beside those everybody knows."""

    def read(self, path: str) -> bytes:
        if path == "/etc/iproute2/rt_tables":
            return b"# number name\n255\tlocal\n0x64 isp1\n200 isp2 # the slow one\nnonsense\n"
        raise FileNotFoundError(path)

    def match(self, pattern: str, directory: str) -> list[str]:
        return []


def route(line: str) -> RouteEntry:
    return read_route(tuple(line.split()), Names(NamesOfRouting()))


def rule(line: str) -> RouteEntry:
    return read_rule(tuple(line.split()), Names(NamesOfRouting()), 16384)


@pytest.mark.parametrize("row", [row for row in ROUTES if row.dump])
def test_routes_are_dumped_as_by_keepalived(row: Row) -> None:
    assert route(row.line).text == row.dump


@pytest.mark.parametrize("row", [row for row in RULES if row.dump])
def test_rules_are_dumped_as_by_keepalived(row: Row) -> None:
    assert rule(row.line).text == row.dump


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("via 192.0.2.9", "the route has no destination"),
        ("10.1.0.0/24", "the route leads nowhere"),
        ("10.1.0.0/33 dev eth0", "'33' is not a prefix length"),
        ("10.1.0.0/24 via 192.0.2.300", "'192.0.2.300' after via is not an address"),
        ("10.1.0.0/24 via", "via needs a value"),
        ("2001:db8::/32 via 192.0.2.9", "an IPv6 route can't have an IPv4 gateway"),
        ("10.1.0.0/24 src 2001:db8::1 dev eth0", "IPv4 and IPv6 are mixed"),
        ("inet6 10.1.0.0/24 dev eth0", "the line says inet6 and has an address of the other family"),
        ("10.1.0.0/24 from 10.2.0.0/24 dev eth0", "from is for IPv6 routes"),
        ("blackhole 10.1.0.0/24 dev eth0", "a blackhole route leads nowhere"),
        ("nat 10.1.0.0/24 dev eth0", "Linux has no nat routes"),
        ("10.1.0.0/24 dev eth0 table isp3", "there is no 'isp3' in /etc/iproute2/rt_tables"),
        ("10.1.0.0/24 dev eth0 table 4294967296", "4294967296 is out of range"),
        ("10.1.0.0/24 dev eth0 tos 256", "256 is out of range"),
        ("10.1.0.0/24 dev eth0 mtu lock many", "'many' after mtu is not a number"),
        ("10.1.0.0/24 dev eth0 hoplimit 256", "hoplimit can't be 256"),
        ("10.1.0.0/24 dev eth0 rtt 5min", "'5min' after rtt is not a time"),
        ("10.1.0.0/24 dev eth0 quickack 2", "quickack can't be 2"),
        ("10.1.0.0/24 dev eth0 features all", "features can't be 'all'"),
        ("10.1.0.0/24 dev eth0 pref best", "pref can't be 'best'"),
        ("10.1.0.0/24 dev a-name-of-16-octe", "'a-name-of-16-octe' is not the name of an interface"),
        ("10.1.0.0/24 dev eth0 encap gre id 1", "encap 'gre' is not known"),
        ("10.1.0.0/24 dev eth0 encap mpls 1/2000000", "'1/2000000' are no MPLS labels"),
        ("10.1.0.0/24 dev eth0 encap ila 1:2:3", "'1:2:3' is not a locator"),
        ("10.1.0.0/24 dev eth0 encap ip dst 2001:db8::1", "2001:db8::1 is not of the family of encap ip"),
        ("10.1.0.0/24 dev eth0 encap ip id 18446744073709551616", "id can't be 18446744073709551616"),
        ("10.1.0.0/24 dev eth0 vrf red table 10", "the route has table and vrf"),
        ("10.1.0.0/24 via 192.0.2.9 nexthop via 192.0.2.8", "the route has via or dev, and nexthop"),
        ("10.1.0.0/24 nexthop weight 3", "a nexthop leads nowhere"),
        ("10.1.0.0/24 nexthop via 192.0.2.8 weight 257", "weight can't be 257"),
        ("10.1.0.0/24 nexthop via 192.0.2.8 table 5", "'table' is no option of a nexthop"),
    ],
)
def test_routes_that_can_not_be(line: str, said: str) -> None:
    with pytest.raises(Unfit) as unfit:
        route(line)
    assert unfit.value.what.startswith(said)
    assert unfit.value.cure


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("from 10.1.0.0/24", "the rule has no action"),
        ("from 10.1.0.0/24 table 1 blackhole", "the rule has a second action: blackhole"),
        ("from 10.1.0.0/24 goto 100 priority 100", "goto 100 leads back"),
        ("from 10.1.0.0/24 to 2001:db8::/32 table 1", "IPv4 and IPv6 are mixed"),
        ("inet6 from 10.1.0.0/24 table 1", "the line says inet or inet6"),
        ("from 10.1.0.0/24 type table", "type can't be 'table'"),
        ("fwmark five table 1", "'five' after fwmark is not a number"),
        ("uidrange 200-100 table 1", "uidrange can't be '200-100'"),
        ("sport 1-65536 table 1", "sport can't be '1-65536'"),
        ("ipproto nothing table 1", "'nothing' is no transport protocol"),
        ("suppress_ifgroup none table 1", "there is no 'none' in /etc/iproute2/group"),
    ],
)
def test_rules_that_can_not_be(line: str, said: str) -> None:
    with pytest.raises(Unfit) as unfit:
        rule(line)
    assert unfit.value.what.startswith(said)
    assert unfit.value.cure


def test_names_stand_for_numbers() -> None:
    assert " table 100 " in route("default dev eth0 table isp1 scope link").text
    assert rule("from 10.0.0.1 table isp2").text.endswith("lookup 200")
    assert route("default dev eth0 protocol static no_track").text == "prepend 0.0.0.0/0 dev eth0 proto 4 no_track"


def test_pyroute2_reads_what_we_wrote() -> None:
    made = route("10.2.0.0/24 via 192.0.2.9 dev eth0 encap mpls 100/200 table 1000 realms 7")
    message = rtmsg(made.add)
    message.decode()
    assert (message["dst_len"], message["table"], message["proto"]) == (24, 0, 18)
    assert message.get_attr("RTA_TABLE") == 1000
    assert message.get_attr("RTA_ENCAP_TYPE") == 1
    assert message.get_attr("RTA_ENCAP").get_attr("MPLS_IPTUNNEL_DST")[1] == {"bos": 1, "label": 200, "tc": 0, "ttl": 0}
    assert message.get_attr("RTA_FLOW") == 7
    ((offset, name),) = made.devices
    assert name == "eth0"
    assert struct.unpack_from("=HHI", made.add, offset - 4) == (8, 4, 0)  # RTA_OIF, to be filled in
    of_rule = fibmsg(rule("from 10.1.0.0/24 iif eth0 table 1000 priority 7").add)
    of_rule.decode()
    assert of_rule.get_attr("FRA_IIFNAME") == "eth0"
    assert of_rule.get_attr("FRA_PRIORITY") == 7


def test_a_deletion_is_known_for_what_it_is() -> None:
    ours, other = route("10.1.0.0/24 via 192.0.2.9 table 100"), route("10.1.0.0/24 via 192.0.2.9 table 101")
    told = decode(ours.delete[:12] + struct.pack("=I", 77) + ours.delete[16:] + rule("table 5").delete, own_port=5)
    assert [(one.by_kernel, one.entry.rule) for one in told] == [(False, False), (True, True)]
    assert entry_of(ours.add).is_told_of_by(told[0].entry)
    assert not entry_of(other.add).is_told_of_by(told[0].entry)
    assert decode(ours.delete, own_port=0) == []
    assert entry_of(ours.add).head[0] == socket.AF_INET


WORDS = st.sampled_from([
    *ROUTE.keywords, *RULE.keywords, *ROUTE_TYPES, "10.0.0.0/8", "2001:db8::/32", "192.0.2.1", "::1", "default", "eth0",
    "5", "-1", "0x10", "lock", "ip", "ip6", "mpls", "ila", "id", "100/200", "1:2:3:4", "3/4", "80-90", "2s", "", "\udcff",
    "9" * 5000, "²", "main",
]) | st.text(max_size=8)  # fmt: skip


@pytest.mark.parametrize("reader", [route, rule])
@settings(max_examples=400, deadline=None)
@given(words=st.lists(WORDS, min_size=1, max_size=12))
def test_any_words_make_an_entry_or_are_unfit(reader: Callable[[str], RouteEntry], words: list[str]) -> None:
    names = Names(NamesOfRouting())
    try:
        made = read_route(tuple(words), names) if reader is route else read_rule(tuple(words), names, 5)
    except Unfit:
        return
    assert struct.unpack_from("=I", made.add)[0] == len(made.add)


def test_a_line_that_can_not_be_is_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    text = """vrrp_instance a {
    interface eth0
    virtual_router_id 5
    virtual_ipaddress {
        192.0.2.1
    }
    virtual_routes {
        10.1.0.0/24 dev eth0 table nowhere
        10.2.0.0/24 via 192.0.2.9
        10.2.0.0/24 via 192.0.2.9
    }
    virtual_rules {
        from 10.2.0.0/24 table 7
        from 10.3.0.0/24 table 7
    }
}
static_rules {
    from 10.4.0.0/24 table 7
}
"""
    found = check(tmp_path, text)
    (one,) = found.plan.instances
    assert [entry.name for entry in one.routes] == ["route 10.2.0.0/24 via 192.0.2.9"]
    numbers = [entry.text.split()[3] for entry in (*one.rules, *found.plan.static_entries)]
    assert numbers == ["16384", "16383", "16382"]  # in the order of the file
    places = [(problem.line, problem.what) for problem in found.problems if "nowhere" in problem.what]
    assert places == [(8, "there is no 'nowhere' in /etc/iproute2/rt_tables")]


@pytest.mark.parametrize(
    "line",
    [
        "dev lo to 10.1.0.0/24 via 192.0.2.9",
        "via 192.0.2.9 10.1.0.0/24 dev lo",
        "table 100 metric 5 to blackhole 10.1.0.0/24",
        "src 192.0.2.1 metric 5 unreachable 10.1.0.0/24",
    ],
)
def test_options_may_stand_before_the_destination(line: str, tmp_path: Path) -> None:
    """keepalived takes them in any order; tools that sort them by name write the first of these."""
    checked = check(tmp_path, f"static_routes {{\n    {line}\n}}\n")
    assert [problem.what for problem in checked.problems] == []
    assert "10.1.0.0/24" in route(line).text
