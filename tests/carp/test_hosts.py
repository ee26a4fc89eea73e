"""CARP on hosts of the lab: a ucarp played from a file, a forger, VRRP of the same number beside it, a killed worker."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.base.address import parse
from holdfast.carp.guard import CarpGuard, message_of
from holdfast.carp.packet import checksum_is_valid, decode_carp, hmac_is_valid
from holdfast.lab.capture import Capture
from holdfast.lab.daemons import holdfast_status, start_holdfast
from holdfast.lab.hosts import Host, Lab, wait_until
from holdfast.vrrp.config import InstanceConfig
from holdfast.vrrp.packet import Advert, ChecksumForm, encode_ipv4, encode_vrrp
from tests.carp.scenes import GROUP, THEIRS, VIP, WALL, instance

HOLDFAST = str(Path(sys.executable).with_name("holdfast"))
CARP = (
    "carp_instance gate {{\n interface eth0\n vhid 7\n password swordfish\n advskew {skew}\n dead_ratio 2\n preempt\n"
    " virtual_ipaddress {{\n 192.0.2.77/24\n }}\n}}\n"
)
VRRP = (
    "vrrp_instance web {{\n interface eth0\n virtual_router_id 7\n priority {priority}\n advert_int 0.2\n version 3\n"
    " virtual_ipaddress {{\n 192.0.2.78/24\n }}\n}}\n"
)
SEND = """
import socket, sys
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
wire.bind(("eth0", 0))
for packet in sys.argv[1:]:
    wire.send(bytes.fromhex("01005e0000120200000000090800") + bytes.fromhex(packet))
"""


def of(host: Host, name: str) -> dict[str, object]:
    """An instance of the daemon there; {} while none answers."""
    try:
        instances = holdfast_status(host)["instances"]
    except subprocess.CalledProcessError:
        return {}
    return next((one for one in instances if one["name"] == name), {})


def forged(config: InstanceConfig, count: int = 1) -> list[str]:
    """Packets of 192.0.2.9, from the IP header on."""
    guard, packets = CarpGuard(config), []
    for number in range(count):
        packet = bytearray(guard.enclose(message_of(config, 254), THEIRS, GROUP, 255))
        guard.renew([memoryview(packet)], WALL + number)
        packets.append(packet.hex())
    return packets


def test_a_file_for_ucarp_is_played_by_it(tmp_path: Path) -> None:
    files = []
    for name, skew in (("one", 0), ("two", 40)):
        path = tmp_path / f"{name}.conf"
        path.write_text(CARP.format(skew=skew))
        files.append(str(path))
    script = "start one two; wait one alone; stop one; wait two alone"
    done = subprocess.run(
        [HOLDFAST, "lab", *files, "--on", "two=ucarp", "-c", script], capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_forged_adverts_and_vrrp_on_the_number_change_nothing() -> None:
    with Lab() as lab:
        ours, forger = lab.host("one"), lab.host("two")
        start_holdfast(ours, CARP.format(skew=100))
        wait_until(lambda: of(ours, "gate").get("state") == "MASTER", 8, "master", step=0.1)
        wrong = forged(instance(advskew=0, password=b"herring22"), 20)
        cut = [packet[:-2] for packet in forged(instance(advskew=0))]
        advert = Advert(version=2, vrid=7, priority=254, addresses=(VIP,), adver_interval_ns=1_000_000_000)
        octets = encode_vrrp(advert, source=THEIRS, destination=GROUP, checksum_form=ChecksumForm.MESSAGE_ONLY)
        vrrp = encode_ipv4(octets, THEIRS, GROUP).hex()
        forger.run(sys.executable, "-c", SEND, *wrong, *cut, vrrp)

        def counted(name: str, count: int) -> bool:
            statistics = of(ours, "gate").get("statistics", {})
            return isinstance(statistics, dict) and statistics.get(name, 0) == count

        wait_until(lambda: counted("auth_failures", 20), 3, "twenty wrong passwords", step=0.1)
        wait_until(lambda: counted("vrrp_on_vhid", 1), 3, "one of VRRP", step=0.1)
        assert of(ours, "gate")["state"] == "MASTER"
        right = forged(instance(advskew=0))
        forger.run(sys.executable, "-c", SEND, *right)  # the same way, with the password: so the others did arrive
        wait_until(lambda: of(ours, "gate").get("state") == "BACKUP", 3, "backup", step=0.1)


def test_vrrp_and_carp_of_one_number_share_an_interface() -> None:
    with Lab() as lab:
        one, two = lab.host("one"), lab.host("two")
        start_holdfast(one, CARP.format(skew=0) + VRRP.format(priority=100))
        start_holdfast(two, CARP.format(skew=50) + VRRP.format(priority=150))
        wait_until(lambda: of(one, "gate").get("state") == "MASTER", 8, "one has CARP's", step=0.1)
        wait_until(lambda: of(two, "web").get("state") == "MASTER", 8, "two has VRRP's", step=0.1)
        wait_until(lambda: of(two, "gate").get("master") is not None, 3, "two hears one", step=0.1)
        assert (of(two, "gate")["state"], of(one, "web")["state"]) == ("BACKUP", "BACKUP")
        for host, name in ((one, "web"), (two, "gate")):
            statistics = of(host, name)["statistics"]
            assert isinstance(statistics, dict)
            assert not {"carp_on_vrid", "vrrp_on_vhid"} & statistics.keys()


def test_ipv6_elects_hands_over_and_leaves_vrrp_of_the_number_alone() -> None:
    carp = CARP.replace("192.0.2.77/24", "2001:db8::77/64\n fe80::77/64")
    vrrp = VRRP.replace("192.0.2.78/24", "fe80::78/64")
    with Lab() as lab:
        one, two = lab.host("one"), lab.host("two")
        wire: Capture = lab.capture(frozenset((112,)))
        first = start_holdfast(one, carp.format(skew=0) + vrrp.format(priority=100))
        start_holdfast(two, carp.format(skew=40) + vrrp.format(priority=150))
        wait_until(lambda: of(one, "gate").get("state") == "MASTER", 8, "one has CARP's", step=0.1)
        wait_until(lambda: of(two, "web").get("state") == "MASTER", 8, "two has VRRP's", step=0.1)
        wait_until(lambda: of(two, "gate").get("master") is not None, 3, "two hears one", step=0.1)
        assert of(two, "gate")["state"] == "BACKUP"
        for host, name in ((one, "web"), (two, "gate")):
            statistics = of(host, name)["statistics"]
            assert isinstance(statistics, dict)
            assert statistics["auth_failures"] == 0
            assert not {"carp_on_vrid", "vrrp_on_vhid", "checksum_err"} & statistics.keys()
        octets = [advert.octets for advert in wire.adverts() if advert.octets[0] == 0x21]
        assert {advert.destination for advert in wire.adverts()} == {"ff02::12"}
        assert all(len(one) == 36 and checksum_is_valid(one) for one in octets)
        secret = parse("2001:db8::77")  # BSD signs without link-local addresses
        assert all(hmac_is_valid(decode_carp(one), b"swordfish", [secret]) for one in octets)
        first.signal(signal.SIGTERM)
        wait_until(lambda: two.holds("2001:db8::77") and two.holds("fe80::77"), 2, "a farewell is heard")


@pytest.mark.parametrize("whom", ["worker", "daemon"])
def test_a_killed_process_says_farewell(whom: str) -> None:
    with Lab() as lab:
        ours = lab.host("one")
        daemon = start_holdfast(ours, CARP.format(skew=0))
        wait_until(lambda: ours.holds("192.0.2.77"), 8, "master")
        wire: Capture = lab.capture(frozenset((112,)))
        children = Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children").read_text().split()
        ours.run("kill", "-9", children[0] if whom == "worker" else str(daemon.process.pid))
        wait_until(
            lambda: any(advert.octets[2] == advert.octets[5] == 255 for advert in wire.adverts()), 3, "a farewell"
        )
        wait_until(lambda: not ours.holds("192.0.2.77"), 3, "the address is off")


def test_what_would_happen_to_two_files(tmp_path: Path) -> None:
    files = []
    for name, skew in (("one", 0), ("two", 100)):
        path = tmp_path / f"{name}.conf"
        path.write_text(CARP.format(skew=skew))
        files.append(str(path))
    done = subprocess.run([HOLDFAST, "simulate", *files], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "one falls silent: two waits 2 × 1 s + advskew 100/256 s = 2.391 s" in done.stdout
    assert "one says farewell: two takes over at once" in done.stdout
    assert "every single fault leaves each address with one owner" in done.stdout
