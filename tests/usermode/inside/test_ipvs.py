"""Runs inside the user-mode kernel."""

import errno
import os
import subprocess
import time
from pathlib import Path

import pytest

from holdfast.base.address import Address, parse
from holdfast.base.ipvs import (
    HOST_MASK,
    INET,
    INET6,
    Action,
    Destination,
    Forwarding,
    Method,
    Operation,
    Pool,
    Service,
    ServiceFlags,
    ServiceKey,
    SyncDaemon,
    SyncRole,
    Table,
    Timeouts,
    TunnelFlags,
    TunnelType,
)
from holdfast.edge.services import Memory, Services
from holdfast.kernel.errors import KernelRefused
from holdfast.kernel.ipvs import IpvsSocket, refusal
from holdfast.lvs.table import difference, read_keys
from tests.usermode.inside.ipvs import fresh, ipvsadm, key, server

WEB, DNS, SIP = key("tcp", "10.0.0.1", 80), key("udp", "fd00::1", 53), key("sctp", "10.0.0.2", 5060)
MARK, MARK6 = ServiceKey(INET, fwmark=7), ServiceKey(INET6, fwmark=4294967295)
GUE = Forwarding(method=Method.TUN, tunnel_type=TunnelType.GUE, tunnel_port=6080, tunnel_flags=TunnelFlags.CSUM)
GRE = Forwarding(method=Method.TUN, tunnel_type=TunnelType.GRE)

EVERYTHING: Table = {
    WEB: Pool(
        Service(scheduler="wlc", flags=ServiceFlags.PERSISTENT, timeout_s=50, netmask=0xFFFFFF00),
        {
            server("10.0.0.3", 8080): Destination(weight=3, upper_threshold=100, lower_threshold=50),
            server("10.0.0.4", 80): Destination(weight=0, forwarding=Forwarding(method=Method.DR)),
            server("10.0.0.5", 80): Destination(weight=2147483647, forwarding=GUE),
            server("fd00::5", 80): Destination(forwarding=GRE),
        },
    ),
    DNS: Pool(
        Service(scheduler="sh", flags=ServiceFlags.ONE_PACKET | ServiceFlags.SCHED1 | ServiceFlags.SCHED2,
                netmask=HOST_MASK[INET6]),
        {server("fd00::6", 53): Destination()},
    ),
    SIP: Pool(Service(scheduler="rr"), {}),
    MARK: Pool(Service(scheduler="mh", flags=ServiceFlags.SCHED2), {server("10.0.0.8", 0): Destination()}),
    MARK6: Pool(Service(scheduler="wrr", flags=ServiceFlags.PERSISTENT, timeout_s=360, netmask=64),
                {server("fd00::9", 82): Destination(weight=5)}),
}  # fmt: skip

SAVED = [  # ipvsadm shows a mark as a signed number
    "-A -t 10.0.0.1:80 -s wlc -p 50 -M 255.255.255.0",
    "-a -t 10.0.0.1:80 -r [fd00::5]:80 -i -w 1 --tun-type gre --tun-nocsum",
    "-a -t 10.0.0.1:80 -r 10.0.0.3:8080 -m -w 3",
    "-a -t 10.0.0.1:80 -r 10.0.0.4:80 -g -w 0",
    "-a -t 10.0.0.1:80 -r 10.0.0.5:80 -i -w 2147483647 --tun-type gue --tun-port 6080 --tun-csum",
    "-A --sctp-service 10.0.0.2:5060 -s rr",
    "-A -u [fd00::1]:53 -s sh -o -b sh-fallback,sh-port",
    "-a -u [fd00::1]:53 -r [fd00::6]:53 -m -w 1",
    "-A -f 7 -s mh -b mh-port",
    "-a -f 7 -r 10.0.0.8:0 -m -w 1",
    "-A -f -1 -6 -s wrr -p 360 -M 64",
    "-a -f -1 -6 -r [fd00::9]:82 -m -w 5",
]


def test_everything_is_put_in_and_read_back_and_ipvsadm_agrees() -> None:
    with fresh() as ipvs:
        steps = difference(EVERYTHING, {})
        assert ipvs.apply(steps) == [0] * 12
        assert sorted(ipvsadm("-Sn")) == sorted(SAVED)
        assert ipvs.table() == EVERYTHING
        assert difference(EVERYTHING, ipvs.table()) == []
        assert any("100" in line and "50" in line for line in ipvsadm("-Ln", "--thresholds"))


def test_changes_are_made_in_place() -> None:
    with fresh() as ipvs:
        ipvs.apply(difference(EVERYTHING, {}))
        changed = dict(EVERYTHING)
        changed[WEB] = Pool(
            Service(scheduler="lc"),
            {
                server("10.0.0.3", 8080): Destination(weight=9, forwarding=GUE, upper_threshold=7),
                server("10.0.0.99", 0): Destination(),
            },
        )
        ipvs.calls()
        steps = difference(changed, EVERYTHING, [SIP])
        assert [step.action.name for step in steps] == [
            "SET_SERVICE", "SET_DESTINATION", "NEW_DESTINATION",
            "DELETE_DESTINATION", "DELETE_DESTINATION", "DELETE_DESTINATION",
        ]  # fmt: skip
        assert ipvs.apply(steps) == [0] * 6
        assert ipvs.calls() == 2
        assert ipvs.table() == changed


def test_each_refusal_has_a_cure() -> None:
    with fresh() as ipvs:
        ipvs.apply(difference(EVERYTHING, {}))
        gone = key("tcp", "10.9.9.9", 80)
        steps = [
            Operation(Action.NEW_SERVICE, WEB, Service(scheduler="rr")),
            Operation(Action.NEW_SERVICE, gone, Service(scheduler="nosuch")),
            Operation(Action.NEW_DESTINATION, gone, None, server("10.0.0.1", 80), Destination()),
            Operation(Action.DELETE_DESTINATION, WEB, None, server("10.7.7.7", 80)),
            Operation(Action.NEW_DESTINATION, SIP, None, server("10.7.7.7", 80), Destination(lower_threshold=5)),
            Operation(Action.NEW_DESTINATION, SIP, None, server("fd00::7", 80), Destination()),
            Operation(Action.NEW_DESTINATION, SIP, None, server("10.7.7.8", 80), Destination()),
        ]
        outcomes = ipvs.apply(steps)
        assert outcomes == [errno.EEXIST, errno.ENOENT, errno.ESRCH, errno.ENOENT, errno.ERANGE, errno.EINVAL, 0]
        said = [str(refusal(step, outcome)) for step, outcome in zip(steps, outcomes, strict=True) if outcome]
        assert "cannot add virtual server tcp 10.0.0.1:80: file exists; it is there already" in said[0]
        assert "modprobe ip_vs_nosuch" in said[1]
        assert "cannot add real server 10.0.0.1:80 to tcp 10.9.9.9:80" in said[2]
        assert "lthreshold may not exceed" in said[4]
        assert "lvs_method TUN" in said[5]


def test_timeouts_are_set_and_zeros_leave_them() -> None:
    with fresh() as ipvs:
        before = ipvs.timeouts()
        assert before == Timeouts(tcp_s=900, tcp_fin_s=120, udp_s=300)
        ipvs.set_timeouts(Timeouts(tcp_s=100, udp_s=33))
        assert ipvs.timeouts() == Timeouts(tcp_s=100, tcp_fin_s=120, udp_s=33)
        assert ipvsadm("-L", "--timeout") == ["Timeout (tcp tcpfin udp): 100 120 33"]
        assert ipvs.version() >= (1, 2, 1)


def test_sync_daemons_start_and_stop() -> None:
    with fresh() as ipvs:
        wanted = SyncDaemon(
            interface="lo", sync_id=7, max_bytes=1400, port=8850, ttl=3, group=Address(parse("224.0.0.83"))
        )
        for role in SyncRole:
            ipvs.start_daemon(role, wanted)
        assert ipvs.daemons() == {SyncRole.MASTER: wanted, SyncRole.BACKUP: wanted}
        assert ipvsadm("-L", "--daemon") == [
            "master sync daemon (mcast=lo, syncid=7, maxlen=1400, group=224.0.0.83, port=8850, ttl=3)",
            "backup sync daemon (mcast=lo, syncid=7, maxlen=1400, group=224.0.0.83, port=8850, ttl=3)",
        ]
        with pytest.raises(KernelRefused, match="start the master sync daemon on lo"):
            ipvs.start_daemon(SyncRole.MASTER, wanted)
        ipvs.stop_daemon(SyncRole.BACKUP)
        with pytest.raises(KernelRefused, match="start the backup sync daemon on nowhere"):
            ipvs.start_daemon(SyncRole.BACKUP, SyncDaemon(interface="nowhere"))
        ipvs.stop_daemon(SyncRole.MASTER)
        assert ipvs.daemons() == {}
        ipvs.start_daemon(SyncRole.BACKUP, SyncDaemon(interface="lo", sync_id=1))
        assert ipvs.daemons()[SyncRole.BACKUP].port == 8848
        ipvs.stop_daemon(SyncRole.BACKUP)


def test_foreign_services_stay_and_ours_are_found_again_after_a_crash(tmp_path: Path) -> None:
    with fresh() as ipvs:
        memory = str(tmp_path / "lvs.table")
        subprocess.run("ipvsadm -A -t 1.2.3.4:80 && ipvsadm -a -t 1.2.3.4:80 -r 1.2.3.5", shell=True, check=True)
        first = Services(ipvs, Memory(memory))
        assert first.begin(EVERYTHING) == []
        # the process is killed here; the next one has one service less, and one server of another more
        wanted = {one: pool for one, pool in EVERYTHING.items() if one != SIP}
        wanted[MARK] = Pool(wanted[MARK].service, {**wanted[MARK].destinations, server("10.0.0.9", 0): Destination()})
        second = Services(ipvs, Memory(memory))
        ipvs.calls()
        assert second.begin(wanted) == []
        foreign = key("tcp", "1.2.3.4", 80)
        assert ipvs.table().keys() - {foreign} == wanted.keys()
        assert {one: pool for one, pool in ipvs.table().items() if one != foreign} == wanted
        assert read_keys(Path(memory).read_text()) == wanted.keys()
        assert second.end() == []
        assert ipvs.table().keys() == {foreign}
        assert not os.path.exists(memory)


def test_flushes_and_what_is_left(tmp_path: Path) -> None:
    with fresh() as ipvs:
        memory = str(tmp_path / "lvs.table")
        subprocess.run("ipvsadm -A -t 1.2.3.4:80", shell=True, check=True)
        first = Services(ipvs, Memory(memory))
        assert first.begin({WEB: EVERYTHING[WEB]}, flush=True) == []
        assert ipvs.table() == {WEB: EVERYTHING[WEB]}
        assert first.end(leave=True) == []
        assert ipvs.table() == {WEB: EVERYTHING[WEB]}
        subprocess.run("ipvsadm -A -t 1.2.3.4:80", shell=True, check=True)
        second = Services(ipvs, Memory(memory))
        assert second.begin({SIP: EVERYTHING[SIP]}) == []
        assert ipvs.table().keys() == {SIP, key("tcp", "1.2.3.4", 80)}
        assert second.end() == []
        assert ipvs.table().keys() == {key("tcp", "1.2.3.4", 80)}
        assert not os.path.exists(memory)


def test_a_service_somebody_else_made_is_taken_over(tmp_path: Path) -> None:
    with fresh() as ipvs:
        subprocess.run(
            "ipvsadm -A -t 10.0.0.1:80 -s rr && ipvsadm -a -t 10.0.0.1:80 -r 1.2.3.5 -m", shell=True, check=True
        )
        told = Services(ipvs, Memory(str(tmp_path / "lvs.table"))).begin(EVERYTHING)
        assert told == [
            "tcp 10.0.0.1:80 was there already, made by somebody else: it is taken over with its connections"
        ]
        assert ipvs.table() == EVERYTHING


def test_what_somebody_removes_or_adds_behind_our_back_is_mended(tmp_path: Path) -> None:
    with fresh() as ipvs:
        services = Services(ipvs, Memory(""))
        services.begin(EVERYTHING)
        subprocess.run("ipvsadm -D -t 10.0.0.1:80 && ipvsadm -a -f 7 -r 10.0.0.10 -m -w 9", shell=True, check=True)
        web = Pool(EVERYTHING[WEB].service, {server("10.0.0.3", 8080): Destination(weight=4)})
        mark = Pool(EVERYTHING[MARK].service, {server("10.0.0.10", 0): Destination()})
        assert services.want({WEB: web, MARK: mark}) == []
        assert ipvs.table([WEB, MARK]) == {WEB: web, MARK: mark}
        bad = Pool(Service(scheduler="nosuch"), {server("10.0.0.3", 80): Destination()})
        other = key("tcp", "10.0.0.77", 80)
        told = services.want({other: bad})
        assert "cannot add virtual server tcp 10.0.0.77:80" in told[0]
        assert services.failing == {other}
        assert services.want({other: Pool(Service(scheduler="rr"), bad.destinations)}) == []
        assert services.failing == set()


def test_two_thousand_servers_within_half_a_second_and_one_changed_in_two_calls() -> None:
    with fresh() as ipvs:
        table: Table = {
            key("tcp", f"10.1.{number >> 8}.{number & 255}", 80): Pool(
                Service(scheduler="rr"),
                {server(f"10.2.{number}.{host}", 80): Destination() for host in range(1, 21)},
            )
            for number in range(100)
        }
        services = Services(ipvs, Memory(""))
        begun = time.monotonic()
        assert services.begin(table) == []
        took = time.monotonic() - begun
        assert len(ipvsadm("-Sn")) == 2100
        print(f"2,000 servers in {took:.3f} s, {ipvs.calls()} system calls")
        assert services.replace(table) == []
        assert ipvs.calls() == 0
        one = next(iter(table))
        assert services.want({one: Pool(table[one].service, {server("10.2.0.1", 80): Destination(weight=7)})}) == []
        assert ipvs.calls() == 2
        assert took < 0.5


def test_no_rights_are_told() -> None:
    with fresh():
        child = os.fork()
        if not child:
            try:
                os.setuid(65534)
                step = Operation(Action.NEW_SERVICE, WEB, Service(scheduler="rr"))
                [outcome] = IpvsSocket().apply([step])
                os._exit(7 if "CAP_NET_ADMIN" in str(refusal(step, outcome)) else 8)
            finally:
                os._exit(9)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
