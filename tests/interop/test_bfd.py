"""BFD beside keepalived and FRR's bfdd, and between two of ours: elections, cuts, clean stops, kills, take-overs."""

import signal
import time
from pathlib import Path

import msgspec
import pytest

from holdfast.bfd.packet import BfdState, ControlPacket, decode_bfd
from holdfast.lab.capture import Capture
from holdfast.lab.daemons import (
    holdfast_command,
    holdfast_state,
    holdfast_status,
    keepalived,
    source_environment,
    start_frr_bfd,
    start_holdfast,
    start_keepalived,
)
from holdfast.lab.hosts import Host, Lab, wait_until
from tests.export.dump_shapes import shape

SESSION = """\
bfd_instance peer {{
    neighbor_ip {theirs}
    source_ip {mine}
    min_rx {ms}
    min_tx {ms}
    multiplier 3
    {more}
}}
"""
ROUTER = """\
vrrp_instance web {{
    interface eth0
    version 3
    advert_int 1
    virtual_router_id 51
    priority {priority}
    virtual_ipaddress {{
        192.0.2.100/24
    }}
    track_bfd {{
        peer{use}
    }}
}}
"""
FRR = """\
bfd
 peer {theirs} local-address {mine} interface eth0
  detect-multiplier 3
  receive-interval {ms}
  transmit-interval {ms}
 exit
exit
"""
UDP = frozenset((17,))


class Said(msgspec.Struct, frozen=True):
    """A control packet on the wire."""

    time_ns: int
    source_mac: str
    packet: ControlPacket


def said(wire: Capture, host: Host, after_ns: int = 0) -> list[Said]:
    """Every control packet of `host` so far."""
    wire.drain()
    found = []
    for frame in wire.frames:
        udp = frame.octets[34 if frame.octets[12:14] == b"\x08\x00" else 54 :]
        if frame.source_mac == host.mac and frame.time_ns > after_ns and udp[2:4] == b"\x0e\xc8":
            found.append(Said(frame.time_ns, frame.source_mac, decode_bfd(udp[8:])))
    return found


def last_state(wire: Capture, host: Host) -> BfdState | None:
    """What `host` said last."""
    heard = said(wire, host)
    return heard[-1].packet.state if heard else None


def state(host: Host) -> str:
    """How our session stands."""
    sessions = holdfast_status(host)["bfd"]
    return str(sessions[0]["state"]) if sessions else ""


def ends(host: Host, six: bool) -> str:
    return host.ip6 if six else host.ip4


@pytest.mark.parametrize("six", [False, True], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("make", ["keepalived", "frr"])
def test_beside_others(lab: Lab, make: str, six: bool) -> None:
    ours, theirs = lab.host("ours"), lab.host("theirs")
    wire = lab.capture(UDP)
    mine = {"mine": ends(ours, six), "theirs": ends(theirs, six), "ms": 50, "more": ""}
    its = {"mine": ends(theirs, six), "theirs": ends(ours, six), "ms": 50}
    if make == "frr":
        start_frr_bfd(theirs, FRR.format(**its))
    else:  # once as it comes, with hop limit 64; once the one that waits
        start_keepalived(theirs, SESSION.format(**its, more="" if six else "passive"))
    daemon = start_holdfast(ours, SESSION.format(**mine))

    def both_up() -> bool:
        return last_state(wire, ours) is BfdState.UP and last_state(wire, theirs) is BfdState.UP

    wait_until(both_up, 8, "the session comes up")
    wait_until(lambda: not said(wire, ours)[-1].packet.poll, 2, "the poll ends")
    view = holdfast_status(ours)["bfd"][0]
    assert (view["up"], view["transmit_ms"], view["detection_ms"], view["trouble"]) == (True, 50, 150, "")

    lab.cut(theirs)
    cut_ns = time.time_ns()
    wait_until(lambda: last_state(wire, ours) is BfdState.DOWN, 2, "the cut is noticed")
    first = next(one for one in said(wire, ours, cut_ns) if one.packet.state is BfdState.DOWN)
    assert (first.packet.diag, first.packet.your_discriminator) == (1, 0)
    lab.heal()
    wait_until(both_up, 8, "the session comes up after the cut")

    daemon.signal(signal.SIGTERM)
    assert daemon.wait(5) == 0
    farewell = said(wire, ours)[-1].packet
    assert (farewell.state, farewell.diag) == (BfdState.ADMIN_DOWN, 7)
    wait_until(lambda: last_state(wire, theirs) is BfdState.DOWN, 2, "the peer knows that we left")
    assert said(wire, theirs)[-1].packet.diag == 3

    start_holdfast(ours, SESSION.format(**mine))
    wait_until(both_up, 8, "the session comes up again")
    theirs.power_off()
    wait_until(lambda: last_state(wire, ours) is BfdState.DOWN, 2, "its death is noticed")


def test_a_reload_negotiates_other_intervals_without_a_gap(lab: Lab) -> None:
    one, two = lab.host("one"), lab.host("two")
    wire = lab.capture(UDP)
    files = {
        host: SESSION.format(mine=host.ip4, theirs=other.ip4, ms=40, more="") for host, other in ((one, two), (two, one))
    }
    daemons = {host: start_holdfast(host, text) for host, text in files.items()}
    wait_until(lambda: last_state(wire, one) is last_state(wire, two) is BfdState.UP, 5, "the session comes up")
    wait_until(lambda: not said(wire, one)[-1].packet.poll, 2, "the poll ends")
    now = time.time_ns()
    one.write("keepalived.conf", files[one].replace("min_tx 40", "min_tx 80").replace("min_rx 40", "min_rx 20"))
    daemons[one].signal(signal.SIGHUP)
    wait_until(lambda: holdfast_status(one)["bfd"][0]["transmit_ms"] == 80, 3, "it sends less often")
    told = [each.packet for each in said(wire, one, now)]
    assert any(packet.poll and packet.desired_min_tx_us == 80_000 for packet in told)
    assert any(each.packet.final for each in said(wire, two, now))
    assert {packet.state for packet in told} == {BfdState.UP}
    assert holdfast_status(two)["bfd"][0]["detection_ms"] == 240
    one.write("keepalived.conf", "global_defs {\n}\n" + files[one].replace(two.ip4, "192.0.2.250"))
    daemons[one].signal(signal.SIGHUP)
    wait_until(lambda: state(two) == "Down", 3, "a session that is taken out says so")
    assert holdfast_status(two)["bfd"][0]["remote_state"] in ("AdminDown", None)


def test_a_session_to_the_gateway_moves_the_address(lab: Lab) -> None:
    one, two, gateway = lab.host("one"), lab.host("two"), lab.host("gateway")
    peers = ""
    for host in (one, two):
        peers += SESSION.format(mine=gateway.ip4, theirs=host.ip4, ms=50, more="").replace("peer {", f"{host.name} {{")
    start_keepalived(gateway, peers)
    for host, priority in ((one, 200), (two, 100)):
        text = SESSION.format(mine=host.ip4, theirs=gateway.ip4, ms=50, more="")
        start_holdfast(host, text + ROUTER.format(priority=priority, use=""))
    wait_until(lambda: one.holds("192.0.2.100"), 12, "the first is master, with the gateway in reach")
    wait_until(lambda: holdfast_state(two) == "BACKUP", 5, "the second is backup")
    lab.split(one, gateway)
    wait_until(lambda: two.holds("192.0.2.100") and not one.holds("192.0.2.100"), 3, "the address moves")
    seen = holdfast_status(one)["instances"][0]
    assert (seen["state"], seen["faults"]) == ("FAULT", ["bfd peer is down"])
    why = one.run(*holdfast_command("why", "web", "--run-dir", "/run/holdfast"), check=False)
    assert "bfd peer is down" in why
    assert "nothing heard for 150 ms" in why


@pytest.mark.alone
def test_a_backup_takes_over_when_its_session_with_the_master_ends(lab: Lab) -> None:
    """3 × 10 ms: within 40 ms of the last packet; without BFD it would be 3.6 s."""
    one, two = lab.host("one"), lab.host("two")
    wire = lab.capture(frozenset((17, 112)))
    for host, other, priority in ((one, two, 200), (two, one, 150)):
        text = SESSION.format(mine=host.ip4, theirs=other.ip4, ms=10, more="")
        text += ROUTER.format(priority=priority, use=" weight 60 reverse")
        start_holdfast(host, "global_defs {\n vrrp_rt_priority 50\n}\n" + text)  # 10 ms, whatever else runs here
    wait_until(lambda: holdfast_state(one) == "MASTER" and holdfast_state(two) == "BACKUP", 8, "the first is master")
    wait_until(lambda: heard_master(two) == 140, 3, "the second hears a master of 200 less 60")
    took_ms = []
    for _ in range(3):
        master, backup = (one, two) if holdfast_state(one) == "MASTER" else (two, one)
        wire.frames.clear()
        wait_until(lambda: len(said(wire, master)) > 3, 2, "the master speaks")  # noqa: B023
        lab.cut(master)
        cut_ns = time.time_ns()  # what the dead port is given afterwards is heard by nobody
        wait_until(lambda: backup.holds("192.0.2.100"), 2, "the backup takes over")  # noqa: B023
        last_ns = max(each.time_ns for each in said(wire, master) if each.time_ns < cut_ns)
        first = next(a for a in wire.adverts() if a.source == backup.ip4 and a.time_ns > last_ns)
        took_ms.append((first.time_ns - last_ns) / 1e6)
        lab.heal()
        wait_until(lambda: state(one) == state(two) == "Up", 5, "the session is up again")
        wait_until(lambda: {holdfast_state(one), holdfast_state(two)} == {"MASTER", "BACKUP"}, 5, "one master")
        backup_now = two if holdfast_state(one) == "MASTER" else one
        wait_until(lambda: 0 < heard_master(backup_now) <= 140, 3, "it hears less 60")  # noqa: B023
    print("took over after", took_ms)
    assert sorted(took_ms)[1] < 40


def heard_master(host: Host) -> int:
    """The priority of the master that `host` hears."""
    master = holdfast_status(host)["instances"][0]["master"]
    return int(master["priority"]) if master else 0


def test_the_dump_of_sessions_is_laid_out_as_keepalived_s(lab: Lab, tmp_path: Path) -> None:
    """Both write `keepalived_bfd.data` of one session that is up, from its two ends."""
    one, two = lab.host("one"), lab.host("two")
    dumps = {}
    ours = [*holdfast_command("run"), "--run-dir", "/run/holdfast", "-f"]
    for host, other, command in ((one, two, [keepalived(), "-n", "-l", "-D", "-f"]), (two, one, ours)):
        directory = tmp_path / host.name
        directory.mkdir()
        session = SESSION.format(theirs=other.ip4, mine=host.ip4, ms=50, more="vrrp") + ROUTER.format(priority=100, use="")
        path = host.write("dumped.conf", session)
        daemon = host.spawn(*command, path, environment=source_environment() | {"TMPDIR": str(directory)})
        dumps[host.name] = (daemon, directory / "keepalived_bfd.data")

    def heard() -> bool:
        texts = [path.read_text() if path.exists() else "" for _, path in dumps.values()]
        if all("detection time = 150000 us" in text and "last seen" in text for text in texts):
            return True
        for daemon, _ in dumps.values():
            if "Starting" in daemon.text():
                daemon.signal(signal.SIGUSR1)
        return False

    wait_until(heard, 10, "both tell of the other, with the intervals agreed upon", step=0.3)
    theirs, mine = (dumps[name][1].read_text() for name in ("one", "two"))
    mine = mine.replace(two.ip4, "MINE").replace(one.ip4, "THEIRS")
    theirs = theirs.replace(one.ip4, "MINE").replace(two.ip4, "THEIRS")
    assert shape(mine, "BFD Topology") == shape(theirs, "BFD Topology")
    values = ("remote min tx intv", "remote min rx intv", "remote detect multiplier", "local detection time", "local tx",
              "local state", "remote tx intv", "remote detection time")  # fmt: skip
    said = [{line for line in dump.splitlines() if line.strip().startswith(values)} for dump in (mine, theirs)]
    assert said[0] == said[1]
