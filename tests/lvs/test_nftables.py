"""The nftables table that pools come to: names, turns, choices; and the real thing in a namespace, both families."""

import contextlib
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.base.address import parse
from holdfast.base.ipvs import (
    INET,
    INET6,
    Action,
    Destination,
    DestinationKey,
    Operation,
    Pool,
    Service,
    ServiceFlags,
    ServiceKey,
    Table,
)
from holdfast.config.check import check_file
from holdfast.edge.nft_services import NftTable
from holdfast.edge.services import Memory, Services
from holdfast.lvs import nftables
from tests.kernel.namespaces import Namespace, ip

KEY = ServiceKey(INET, 6, parse("192.0.2.1"), 80)
SIX = ServiceKey(INET6, 17, parse("2001:db8::1"), 53)
MARK = ServiceKey(INET, fwmark=7)
A, B = DestinationKey(parse("10.0.0.7"), 8080), DestinationKey(parse("10.0.0.8"), 8080)


def test_names() -> None:
    assert nftables.service_chain(KEY) == "tcp_192.0.2.1_80"
    assert nftables.server_chain(KEY, A) == "tcp_192.0.2.1_80/10.0.0.7_8080"
    assert nftables.service_chain(SIX) == "udp_20010db8000000000000000000000001_53"
    assert nftables.service_chain(MARK) == "mark_7"
    sticky = Service(scheduler="rr", flags=ServiceFlags.PERSISTENT, timeout_s=50)
    assert nftables.sticky_set(KEY, A, sticky) == "tcp_192.0.2.1_80/10.0.0.7_8080/50_4294967295"


@pytest.mark.parametrize(
    ("weights", "turns"),
    [
        ({"a": 1, "b": 1}, [(0, 0, "a"), (1, 1, "b")]),
        ({"a": 20, "b": 10}, [(0, 0, "a"), (1, 1, "b"), (2, 2, "a")]),
        ({"a": 5, "b": 1, "c": 1}, [(0, 1, "a"), (2, 2, "b"), (3, 3, "a"), (4, 4, "c"), (5, 6, "a")]),
        ({"a": 1000, "b": 1}, [(0, 999, "a"), (1000, 1000, "b")]),
        ({"a": 2**31 - 1, "b": 2**31 - 1}, [(0, 0, "a"), (1, 1, "b")]),
    ],
)
def test_turns_by_weight(weights: dict[str, int], turns: list[tuple[int, int, str]]) -> None:
    assert nftables.interleaved(weights) == turns


@pytest.mark.parametrize(
    ("scheduler", "flags", "choice"),
    [
        ("rr", 0, "numgen inc mod 2 vmap { 0 : goto A, 1 : goto B }"),
        ("wlc", 0, "numgen inc mod 4 vmap { 0-1 : goto A, 2 : goto B, 3 : goto A }"),
        ("sh", 0, "jhash ip saddr mod 4 seed 0x686f6c64 vmap { 0-1 : goto A, 2 : goto B, 3 : goto A }"),
        ("mh", ServiceFlags.SCHED2, "jhash ip saddr . th sport mod 4 seed 0x686f6c64 vmap { 0-1 : goto A, 2 : goto B, 3 : goto A }"),
        ("twos", 0, "numgen random mod 4 vmap { 0-1 : goto A, 2 : goto B, 3 : goto A }"),
        ("fo", 0, "goto A"),
    ],
)
def test_choices(scheduler: str, flags: int, choice: str) -> None:
    pool = Pool(Service(scheduler=scheduler, flags=flags), {A: Destination(weight=3), B: Destination(weight=1)})
    chains = [nftables.server_chain(KEY, one) for one in (A, B)]
    said = nftables.service_lines(KEY, pool, chains, ())[-1]
    for name, chain in zip("AB", chains, strict=True):
        said = said.replace(chain, name)
    assert said == f"add rule ip holdfast_lvs tcp_192.0.2.1_80 {choice}"


def test_one_server_of_five_hundred_that_changes_is_a_handful_of_lines() -> None:
    where = [DestinationKey(parse(f"10.0.{n // 250}.{n % 250 + 1}"), 80) for n in range(500)]
    pool = Pool(Service(scheduler="rr"), {one: Destination() for one in where[1:]})
    chains = [nftables.server_chain(KEY, one) for one in where]
    lines = nftables.service_lines(KEY, pool, chains, ())
    assert len(lines) == 5  # the service's chain: make, empty, choose; the server's: empty, delete
    assert sum(map(len, lines)) < 30_000


# ---- the real thing -------------------------------------------------------------------------------------------------


@pytest.fixture
def space() -> Iterator[Namespace]:
    made = Namespace()
    with made.entered():
        for address in ("192.0.2.1/32", "10.0.0.7/32", "10.0.0.8/32"):
            ip("addr", "add", address, "dev", "lo")
        for address in ("2001:db8::1/128", "2001:db8::7/128", "2001:db8::8/128"):
            ip("addr", "add", address, "dev", "lo", "nodad")
    yield made
    made.close()


def serve(address: str, kind: socket.SocketKind) -> socket.socket:
    """A server that says its own address to whoever comes."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    server = socket.socket(family, kind)
    server.bind((address, 8080))
    server.settimeout(0.05)

    def answer() -> None:
        while server.fileno() >= 0:  # once the test is over it is closed
            with contextlib.suppress(OSError):
                if kind == socket.SOCK_DGRAM:
                    _, peer = server.recvfrom(64)
                    server.sendto(address.encode(), peer)
                else:
                    made, _ = server.accept()
                    made.sendall(address.encode())
                    made.close()

    if kind == socket.SOCK_STREAM:
        server.listen(16)
    threading.Thread(target=answer, daemon=True).start()
    return server


def ask(address: str, kind: socket.SocketKind, times: int) -> Counter[str]:
    said: Counter[str] = Counter()
    for _ in range(times):
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind) as one:
            one.settimeout(3)
            one.connect((address, 80))
            if kind == socket.SOCK_DGRAM:
                one.send(b"?")
            said[one.recv(64).decode()] += 1
    return said


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
@pytest.mark.parametrize(("vip", "servers"), [("192.0.2.1", ("10.0.0.7", "10.0.0.8")), ("2001:db8::1", ("2001:db8::7", "2001:db8::8"))])
def test_connections_of_both_families_and_protocols(
    space: Namespace, vip: str, servers: tuple[str, str], kind: socket.SocketKind
) -> None:
    protocol = 6 if kind == socket.SOCK_STREAM else 17
    key = ServiceKey(INET6 if ":" in vip else INET, protocol, parse(vip), 80)
    where = [DestinationKey(parse(one), 8080) for one in servers]
    with space.entered():
        running = [serve(one, kind) for one in servers]
        services = Services(NftTable(), Memory(""))
        pool = {one: Destination(weight=weight) for one, weight in zip(where, (3, 1), strict=True)}
        assert services.begin({key: Pool(Service(scheduler="wrr"), pool)}) == []
        assert ask(vip, kind, 8) == Counter({servers[0]: 6, servers[1]: 2})
        gone = {key: Pool(Service(scheduler="wrr"), {where[1]: Destination()})}
        assert services.want(gone) == []
        assert ask(vip, kind, 4) == Counter({servers[1]: 4})
        again = NftTable()  # a run after a crash finds the chains and makes them its own
        taken = Services(again, Memory(""))
        said = taken.begin({key: Pool(Service(scheduler="wrr"), pool)})
        assert [("was there already" in one) for one in said] == [True]
        assert ask(vip, kind, 4) == Counter({servers[0]: 3, servers[1]: 1})
        counts = again.server_counts(key)
        assert counts[where[0]].connections >= 3
        assert taken.end() == []
        assert nftables.TABLE not in subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout
        for server in running:
            server.close()


def test_marks_any_port_and_networks_of_clients(space: Namespace) -> None:
    sticky = Service(scheduler="rr", flags=ServiceFlags.PERSISTENT, timeout_s=30, netmask=0xFFFFFF00)
    wide = ServiceKey(INET, 6, parse("192.0.2.1"), 0)
    pool = {DestinationKey(parse("10.0.0.7")): Destination(), DestinationKey(parse("10.0.0.8")): Destination()}
    table: Table = {MARK: Pool(sticky, pool), wide: Pool(sticky, pool)}
    with space.entered():
        services = Services(NftTable(), Memory(""))
        assert services.begin(table) == []
        shown = subprocess.run(["nft", "list", "table", "ip", nftables.TABLE], capture_output=True, text=True).stdout
        assert "ip saddr & 255.255.255.0" in shown
        assert "goto mark_7" in shown
        server = socket.create_server(("10.0.0.7", 4321)), socket.create_server(("10.0.0.8", 4321))
        with socket.create_connection(("192.0.2.1", 4321), 3):
            pass
        assert services.want({}, [MARK]) == []
        shown = subprocess.run(["nft", "list", "table", "ip", nftables.TABLE], capture_output=True, text=True).stdout
        assert "mark_7" not in shown
        assert services.end() == []
        for one in server:
            one.close()


def test_what_nft_refuses_is_said_and_the_others_are_served(space: Namespace) -> None:
    with space.entered():
        table = NftTable()
        bad = ServiceKey(INET, 6, parse("192.0.2.9"), 80)
        sticky = Service(scheduler="rr", flags=ServiceFlags.PERSISTENT, timeout_s=2**40)
        steps = [
            Operation(Action.NEW_SERVICE, bad, sticky),
            Operation(Action.NEW_DESTINATION, bad, None, A, Destination()),
            Operation(Action.NEW_SERVICE, KEY, Service(scheduler="rr")),
            Operation(Action.NEW_DESTINATION, KEY, None, A, Destination()),
        ]
        outcomes = table.apply(steps)
        assert [bool(one) for one in outcomes] == [True, True, False, False]
        assert "nft said: " in str(table.refusal(steps[0], outcomes[0]))
        assert list(table.services()) == [KEY]
        table.flush()


# ---- what check says ------------------------------------------------------------------------------------------------

TEXT = """
global_defs {{
    lvs_backend nftables
    {more}
}}
virtual_server 192.0.2.1 80 {{
    lvs_sched {scheduler}
    lvs_method {method}
    protocol TCP
    real_server {server} 80 {{
    {inner}
    }}
}}
"""


@pytest.mark.parametrize(
    ("changes", "said", "served"),
    [
        ({}, [], True),
        ({"scheduler": "wlc"}, ["nftables cannot count connections: wlc of 192.0.2.1:80 needs IPVS"], True),
        ({"scheduler": "mh"}, ["nftables has no consistent hash: mh of 192.0.2.1:80 needs IPVS"], True),
        ({"method": "DR"}, ["10.0.0.7 of virtual_server 192.0.2.1:80 is reached by DR, and nftables does only NAT"], False),
        ({"inner": "uthreshold 100"}, ["thresholds of 192.0.2.1:80 need IPVS"], True),
        ({"more": "lvs_timeouts tcp 100"}, ["lvs_timeouts is of IPVS, and lvs_backend is nftables"], True),
    ],
)
def test_what_nftables_cannot_do_is_told(tmp_path: Path, changes: dict[str, str], said: list[str], served: bool) -> None:
    words = {"scheduler": "rr", "method": "NAT", "server": "10.0.0.7", "inner": "", "more": ""} | changes
    path = tmp_path / "lb.conf"
    path.write_text(TEXT.format(**words))
    found = check_file(str(path))
    told = [one.what for one in found.problems if "holdfast's own" not in one.what]
    assert told == said
    assert bool(found.would_run["virtual_servers"]) is served
