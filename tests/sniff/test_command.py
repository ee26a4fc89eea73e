"""`holdfast sniff --read`: lines, table, JSON, exit status."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from holdfast.cli.sniff import command
from tests.decode.vectors import files


def read(tmp_path: Path, name: str, *options: str) -> Result:
    (tmp_path / "a.pcap").write_bytes(files()[name])
    return CliRunner().invoke(command, ["--read", str(tmp_path / "a.pcap"), *options])


def test_lines_and_table(tmp_path: Path) -> None:
    ended = read(tmp_path, "ka243_hmac_vs_ka227_plain")
    lines = ended.stdout.splitlines()
    assert ended.exit_code == 0
    assert lines[:4] == [
        "    0.000  VRRP 96 192.0.2.11 is heard: version 3, priority 150, every 1 s, HMAC key 1, from 02:00:00:00:00:01: 192.0.2.100",
        "    0.138  VRRP 96 192.0.2.12 is heard: version 3, priority 100, every 1 s, from 02:00:00:00:00:02: 192.0.2.100",
        "           !   it became master though 192.0.2.11 is and ranks above it: it does not hear it, or drops its adverts",
        "           !   it uses no authentication, 192.0.2.11 HMAC: each drops the other's adverts",
    ]
    table = lines[lines.index("") + 1 :]
    assert [line.split()[:4] for line in table] == [
        ["STATE", "SPEAKER", "RANK", "EVERY"],
        ["resigned", "VRRP", "96", "192.0.2.11"],
        ["!", "it", "uses", "HMAC,"],
        ["resigned", "VRRP", "96", "192.0.2.12"],
        ["!", "it", "uses", "no"],
    ]


def test_json(tmp_path: Path) -> None:
    *events, end = map(json.loads, read(tmp_path, "ka227_v3_ipv6_mcast", "--json").stdout.splitlines())
    first = events[0]
    assert (first["event"], first["time_s"]) == ("appeared", 0.0)
    assert first["time"].startswith("2026-11-22T")
    assert first["time"].endswith("+00:00")
    assert {name: first[name] for name in ("protocol", "family", "vrid", "version", "source", "priority", "interval_s")} == {
        "protocol": "vrrp", "family": "ipv6", "vrid": 65, "version": 3, "source": "fe80::a", "priority": 150, "interval_s": 1.0,
    }  # fmt: skip
    assert {event["event"] for event in events} <= {"appeared", "changed", "silent"}
    assert end["event"] == "end"
    assert [speaker["source"] for speaker in end["speakers"]] == ["fe80::a", "fe80::b"]
    assert all(speaker["adverts"] > 1 for speaker in end["speakers"])


def test_secrets_judge_the_authentication(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text('{"vrrp_auth_ah_key": "wrong"}')
    shown = read(tmp_path, "ka227_v2_mcast_auth_ah", "--secrets", str(tmp_path / "keys.json")).stdout
    assert "!   its ICV is wrong: another password" in shown


def test_nobody(tmp_path: Path) -> None:
    (tmp_path / "a.pcap").write_bytes(files()["frr_v2_ipv4"][:24])
    ended = CliRunner().invoke(command, ["--read", str(tmp_path / "a.pcap")])
    assert ended.exit_code == 0
    assert ended.stdout.startswith("nobody was heard in ")


def test_a_damaged_file_is_judged_as_far_as_it_goes(tmp_path: Path) -> None:
    (tmp_path / "a.pcap").write_bytes(files()["frr_v2_ipv4"][:-1])
    ended = CliRunner().invoke(command, ["--read", str(tmp_path / "a.pcap")])
    assert (ended.exit_code, "is heard" in ended.stdout) == (1, True)
    assert "it is cut off inside frame" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "said", "status"),
    [
        ([], "say -i IFACE, or --read FILE.pcap", 2),
        (["-i", "eth0", "--read", "a.pcap"], "say -i IFACE, or --read FILE.pcap", 2),
        (["-i", "eth0", "--for", "soon"], "'soon' is no time", 2),
        (["--read", "nowhere.pcap"], "holdfast: nowhere.pcap: No such file or directory", 1),
        (["-i", "no-such-if", "--for", "1s"], "cannot listen on no-such-if: no such device; there are ", 1),
    ],
)
def test_errors(arguments: list[str], said: str, status: int) -> None:
    ended = CliRunner().invoke(command, arguments)
    assert (ended.exit_code, said in ended.stderr) == (status, True)
