"""`bfd_instance`: defaults, what is left aside and why, and who may use which session."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from holdfast.base.address import parse
from holdfast.base.time import MILLISECOND
from holdfast.bfd.config import ANY_TTL, SessionConfig
from holdfast.config.check import Reading, read_file
from tests.config.golden import PlainDisk

INSTANCE = "vrrp_instance V {\n interface eth0\n virtual_router_id 5\n priority 100\n virtual_ipaddress {\n 192.0.2.9/24\n }\n"


def read(text: str) -> Reading:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "keepalived.conf"
        path.write_text(text)
        return read_file(str(path), disk=PlainDisk())


def sessions(text: str) -> tuple[SessionConfig, ...]:
    return read(text).built.plan.bfd


def whats(text: str) -> list[str]:
    reading = read(text)
    return [reading.preprocessor.files.problem(one).what for one in reading.findings.all]


def test_every_default() -> None:
    (session,) = sessions("bfd_instance b {\n neighbor_ip 192.0.2.2\n}\n")
    assert session == SessionConfig(
        name="b", neighbor=parse("192.0.2.2"), source=None, multihop=False, min_rx_ns=10 * MILLISECOND,
        min_tx_ns=10 * MILLISECOND, idle_tx_ns=1000 * MILLISECOND, multiplier=5, passive=False, ttl=255, least_ttl=255,
        weight=0, reverse=False, for_vrrp=True, for_checkers=True,
    )  # fmt: skip


def test_every_keyword() -> None:
    (session,) = sessions(
        "bfd_instance b {\n neighbour_ip 2001:db8::2\n source_ip 2001:db8::1\n min_rx 300\n min_tx 3.3\n idle_tx 2000\n"
        " multiplier 3\n passive\n hoplimit 200\n max_hops 5\n multihop\n weight -20 reverse\n vrrp\n}\n"
    )
    assert session == SessionConfig(
        name="b", neighbor=parse("2001:db8::2"), source=parse("2001:db8::1"), multihop=True,
        min_rx_ns=300 * MILLISECOND, min_tx_ns=3_300_000, idle_tx_ns=2000 * MILLISECOND, multiplier=3, passive=True,
        ttl=200, least_ttl=195, weight=-20, reverse=True, for_vrrp=True, for_checkers=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("neighbor", "lines", "ttl", "least"),
    [
        ("192.0.2.2", "", 255, 255),
        ("192.0.2.2", "max_hops 1", 255, 254),
        ("192.0.2.2", "max_hops -1", 255, ANY_TTL),
        ("192.0.2.2", "max_hops 255", 255, ANY_TTL),
        ("192.0.2.2", "ttl 64\n max_hops 65", 64, 0),
        ("2001:db8::2", "", 255, 64),  # keepalived sends 64 and takes 64; FRR takes 255 alone
        ("2001:db8::2", "hoplimit 255", 255, 255),
        ("2001:db8::2", "max_hops 4", 255, 60),
    ],
)
def test_hops(neighbor: str, lines: str, ttl: int, least: int) -> None:
    (session,) = sessions(f"bfd_instance b {{\n neighbor_ip {neighbor}\n {lines}\n}}\n")
    assert (session.ttl, session.least_ttl) == (ttl, least)


@pytest.mark.parametrize(
    ("text", "names", "what"),
    [
        ("bfd_instance a {\n multiplier 3\n}\n", [], "bfd_instance a has no neighbor_ip"),
        ("bfd_instance a {\n neighbor_ip 192.0.2.2\n source_ip 2001:db8::1\n}\n", [],
         "source_ip 2001:db8::1 and neighbor_ip 192.0.2.2 are of two families"),
        ("bfd_instance a {\n neighbor_ip 192.0.2.2\n source_ip 192.0.2.2\n}\n", ["a"],
         "neighbor_ip 192.0.2.2 is our own address"),
        ("bfd_instance a {\n neighbor_ip 192.0.2.2\n}\nbfd_instance b {\n neighbor_ip 192.0.2.2\n}\n", ["a"],
         "bfd_instance b has the same neighbor_ip and source_ip as a"),
        ("bfd_instance a {\n neighbor_ip 192.0.2.2\n max_hops 9\n ttl 5\n}\n", ["a"], "max_hops 9 is more than the ttl, 5"),
        ("bfd_instance a {\n neighbor_ip fe80::2\n}\n", ["a"],
         "neighbor_ip fe80::2 is link-local, and no interface can be named: it can't be reached"),
        ("bfd_instance a {\n neighbor_ip 192.0.2.2\n multiplier 11\n}\n", ["a"],
         "multiplier 11: a dead neighbour is noticed late"),
    ],
)  # fmt: skip
def test_what_is_told(text: str, names: list[str], what: str) -> None:
    assert [one.name for one in sessions(text)] == names
    assert what in whats(text)


@pytest.mark.parametrize(
    ("session", "uses", "what"),
    [
        ("neighbor_ip 192.0.2.2\n weight 7", [("bfd", "b", 7, False)], ""),
        ("neighbor_ip 192.0.2.2\n vrrp\n checker", [("bfd", "b", 0, False)], ""),
        ("neighbor_ip 192.0.2.2\n checker", [], "bfd_instance b is for the checkers only"),
        ("multiplier 3", [], "bfd_instance b has no neighbor_ip"),
    ],
)
def test_track_bfd(session: str, uses: list[tuple[str, str, int, bool]], what: str) -> None:
    text = f"bfd_instance b {{\n {session}\n}}\n{INSTANCE} track_bfd {{\n b\n }}\n}}\n"
    (instance,) = read(text).built.plan.instances
    assert [(use.kind, use.name, use.weight, use.reverse) for use in instance.trackers] == uses
    assert whats(text) == ([what] if what else [])


def test_a_sync_group_tracks_for_its_members() -> None:
    group = "vrrp_sync_group G {\n group {\n V\n }\n track_bfd {\n b\n }\n}\n"
    text = f"bfd_instance b {{\n neighbor_ip 192.0.2.2\n}}\n{INSTANCE}}}\n{group}"
    (instance,) = read(text).built.plan.instances
    assert [(use.kind, use.name, use.weight) for use in instance.trackers] == [("bfd", "b", 0)]


@pytest.mark.parametrize(
    ("session", "what"),
    [
        ("bfd_instance b {\n neighbor_ip 192.0.2.2\n}\n", ""),
        ("bfd_instance b {\n neighbor_ip 192.0.2.2\n vrrp\n}\n", "bfd_instance b is for VRRP only"),
        ("", "there is no bfd_instance b"),
    ],
)
def test_bfd_check(session: str, what: str) -> None:
    server = "virtual_server 192.0.2.80 80 {\n lb_algo rr\n lb_kind NAT\n protocol TCP\n real_server 192.0.2.81 80 {\n BFD_CHECK {\n name b\n }\n }\n}\n"
    assert len(read(session + server).built.balancer.checks) == (not what)
    assert whats(session + server) == ([what] if what else [])
