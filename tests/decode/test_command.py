"""`holdfast decode`: what it prints, what it says of files it can't read, its exit status."""

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from holdfast.cli.decode import command
from tests.decode.vectors import files, records, vectors


def decode(tmp_path: Path, octets: bytes, *options: str, secrets: str | None = None) -> Result:
    (tmp_path / "a.pcap").write_bytes(octets)
    if secrets is not None:
        (tmp_path / "keys.json").write_text(secrets)
        options += ("--secrets", str(tmp_path / "keys.json"))
    return CliRunner().invoke(command, [str(tmp_path / "a.pcap"), *options])


@pytest.mark.parametrize("name", ["ka227_v2_mcast_auth_ah", "ka243_hmac_wrong_key", "ucarp_single_adverts", "frr_v3_ipv6"])
def test_json_is_a_line_a_packet(name: str, tmp_path: Path) -> None:
    ended = decode(tmp_path, files()[name], "--json", secrets=json.dumps(vectors()[name]["secrets"]))
    assert ended.exit_code == 0
    lines = {line["frame"]: line for line in map(json.loads, ended.stdout.splitlines())}
    assert len(lines) == len(records(name))
    assert [lines[packet["frame"]] for packet in vectors()[name]["packets"]] == vectors()[name]["packets"]


SAID = [
    ("ka227_v2_mcast_auth_pass", 1, "    1    0.000000  192.0.2.11 > 224.0.0.18  VRRPv2 vrid 51 priority 150, every 1 s, PASS: 192.0.2.100"),
    ("ka227_v2_unicast_ah_ttl64", 3, "192.0.2.11 > 192.0.2.12  VRRPv2 vrid 55 priority 150, every 1 s, AH seq 1, TTL 64: 192.0.2.100"),
    ("ka227_v2_25_vips", 1, "192.0.2.203 (+21)"),
    ("frr_v3_ipv6", 1, "NA fe80::33 is at 00:00:5e:00:02:21 (unsolicited, a router)"),
    ("ka243_hmac_v2_ipv4_mcast", 1, ", HMAC key 7: 192.0.2.100 192.0.2.101"),
    ("ucarp_failover_preempt", 2, "192.0.2.12 > 224.0.0.18  CARP vhid 7 advbase 1 advskew 100, every 1.391 s"),
    ("frr_ka227_bfd_ipv6_interop_hl64", 3, "  ! TTL 64 instead of 255: who keeps to RFC 5881 drops it"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "frame", "said"), SAID)
def test_the_line_for_people(name: str, frame: int, said: str, tmp_path: Path) -> None:
    lines = decode(tmp_path, files()[name]).stdout.splitlines()
    assert said in lines[frame - 1]


def test_a_checksum_left_to_the_network_card_is_not_wrong(tmp_path: Path) -> None:
    """What a capture on the sender shows: the sum of the pseudo header alone, 192.0.2.11 to .12, protocol 17, length 32."""
    partial = (0xC000 + 0x020B + 0xC000 + 0x020C + 17 + 32) % 0xFFFF
    octets = changed("frr_bfd_ipv4", (29, 11), (33, 12), (24, 0), (25, 0), (40, partial >> 8), (41, partial & 255))
    shown = decode(tmp_path, octets, "--json").stdout
    assert json.loads(shown)["fields"]["udp"]["checksum_ok"] is False
    assert json.loads(shown)["problems"] == ["the IPv4 header checksum is wrong"]


def one(octets: bytes) -> bytes:
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    return head + struct.pack("<IIII", 0, 0, len(octets), len(octets)) + octets


def changed(name: str, *changes: tuple[int, int]) -> bytes:
    octets = bytearray(next(r.octets for r in records(name) if r.octets[23] in (112, 51, 17)))
    for position, value in changes:
        octets[position] = value
    return one(bytes(octets))


WRONG = [
    ("ka227_v2_mcast_noauth", (22, 254), "TTL 254 instead of 255: receivers drop it"),
    ("ka227_v2_mcast_noauth", (36, 9), "its checksum is wrong"),
    ("ka227_v2_mcast_noauth", (18, 9), "the IPv4 header checksum is wrong"),
    ("ka227_v2_mcast_noauth", (17, 34), "too short: 14 octets, 1 addresses need 20"),
    ("ka227_v2_mcast_noauth", (20, 0x20), "a fragment: receivers drop it"),
    ("ka227_v2_mcast_noauth", (17, 90), "cut off: 40 of 90 octets are there"),
    ("ka227_v2_mcast_noauth", (34, 0x41), "VRRP version 4 is neither 2 nor 3"),
    ("ka227_v2_mcast_noauth", (38, 2), "it says AH and has no authentication header"),
    ("ka227_v2_mcast_noauth", (38, 9), "authentication type 9 is unknown"),
    ("ka227_v3_ipv4_mcast", (39, 0), "its interval is 0"),
    ("ka227_v2_mcast_auth_ah", (39, 1), "its SPI is not its source address"),
    ("ka243_hmac_v3_ipv4_mcast", (46, 2), "its authentication trailer is malformed"),
    ("ucarp_single_adverts", (36, 9), "its checksum is wrong"),
    ("ucarp_single_adverts", (22, 254), "TTL 254 instead of 255: receivers drop it"),
    ("frr_bfd_ipv4", (40, 1), "its UDP checksum is wrong"),
    ("frr_bfd_ipv4", (44, 0), "detect multiplier 0"),
    ("frr_bfd_ipv4", (22, 254), "TTL 254 instead of 255"),
]


@pytest.mark.parametrize(("name", "change", "said"), WRONG)
def test_what_is_wrong_is_marked(name: str, change: tuple[int, int], said: str, tmp_path: Path) -> None:
    shown = decode(tmp_path, changed(name, change)).stdout
    assert f"{said}" in shown.partition("  ! ")[2]
    [document] = [json.loads(line) for line in decode(tmp_path, changed(name, change), "--json").stdout.splitlines()]
    assert any(said in wrong for wrong in document["problems"])


SECRETS = [
    ("ka227_v2_mcast_auth_pass", '{"vrrp_auth_pass": "other"}', "its password is another one"),
    ("ka227_v2_mcast_auth_ah", '{"vrrp_auth_ah_key": "other"}', "its ICV is wrong"),
    ("ka243_hmac_v3_ipv4_mcast", '{"auth_hmac_keys": [{"id": 1, "key_hex": "00"}]}', "its HMAC is wrong for key 1"),
    ("ka243_hmac_v3_ipv4_mcast", '{"auth_hmac_keys": [{"id": 9, "key_hex": "00"}]}', "key 1 of its HMAC is not among the secrets"),
    ("ucarp_single_adverts", '{"carp_password": "x", "carp_virtual_address": "192.0.2.77"}', "its HMAC is wrong"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "secrets", "said"), SECRETS)
def test_other_secrets_are_said(name: str, secrets: str, said: str, tmp_path: Path) -> None:
    assert f"  ! {said}" in decode(tmp_path, files()[name], secrets=secrets).stdout


def test_other_protocols_are_counted_and_shown_with_all(tmp_path: Path) -> None:
    octets = changed("ka227_v2_mcast_noauth", (23, 89), (24, 0x17), (25, 0x1F))
    ended = decode(tmp_path, octets)
    assert (ended.stdout, ended.stderr) == ("", "1 frames of other protocols left out (--all shows them)\n")
    assert "192.0.2.11 > 224.0.0.18  IP protocol 89" in decode(tmp_path, octets, "--all").stdout


def test_what_was_whole_is_shown_and_the_damage_said(tmp_path: Path) -> None:
    ended = decode(tmp_path, files()["ka227_v2_mcast_noauth"][:-1])
    assert ended.exit_code == 1
    assert len(ended.stdout.splitlines()) == len(records("ka227_v2_mcast_noauth")) - 1
    assert "it is cut off inside frame" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "said", "status"),
    [
        (("nowhere.pcap",), "holdfast: nowhere.pcap: No such file or directory", 1),
        (("/",), "holdfast: /: Is a directory", 1),
        ((), "Missing argument 'FILE'", 2),
        (("a", "--secrets", "nowhere.json"), "nowhere.json: No such file", 1),
    ],
)
def test_errors(arguments: tuple[str, ...], said: str, status: int) -> None:
    ended = CliRunner().invoke(command, list(arguments))
    assert (ended.exit_code, said in ended.stderr) == (status, True)


def test_manners_in_a_pipe(tmp_path: Path) -> None:
    """From standard input, to a reader that has seen enough: quiet."""
    octets = files()["ka227_v2_mcast_noauth"]
    frames = octets[24:] * 3000
    holdfast = Path(sys.executable).parent / "holdfast"
    (tmp_path / "long.pcap").write_bytes(octets[:24] + frames)
    ended = subprocess.run(
        f"cat {tmp_path}/long.pcap | {holdfast} decode - | head -1", shell=True, capture_output=True, text=True, timeout=30
    )
    assert ended.stdout.startswith("    1    0.000000  192.0.2.11 > 224.0.0.18  VRRPv2 vrid 51")
    assert "\x1b" not in ended.stdout
    assert ended.stderr == ""
