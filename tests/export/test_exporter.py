"""The daemon as the Prometheus exporter most people run reads it: the version, the signals, the three dumps."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.lab.daemons import source_environment
from holdfast.lab.hosts import Host, Lab, Spawned, wait_until

TEXT = """
vrrp_script check_web {
    script "/bin/true"
    interval 1
}
vrrp_instance web {
    interface eth0
    virtual_router_id 51
    version 3
    advert_int 0.1
    garp_master_delay 2
    virtual_ipaddress {
        192.0.2.100/24
    }
    virtual_ipaddress_excluded {
        192.0.2.101/24
    }
    track_script {
        check_web
    }
}
"""
COMMAND = str(Path(sys.executable).with_name("holdfast-keepalived"))


@pytest.fixture
def host() -> Iterator[Host]:
    with Lab() as lab:
        yield lab.host("host")


def asked(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([COMMAND, *words], capture_output=True, text=True, check=True)


def start(host: Host) -> Spawned:
    environment = {**source_environment(), "TMPDIR": str(host.directory)}
    daemon = host.spawn(COMMAND, "-n", "-G", "-f", host.write("keepalived.conf", TEXT), environment=environment)
    wait_until(lambda: host.holds("192.0.2.100"), 10, "the instance is master")
    return daemon


def dumped(host: Host, name: str, word: str) -> str:
    """What the daemon writes on the signal that `--signum` names, sent to the pid in the pid file."""
    number = asked(f"--signum={word}").stdout.strip()
    path = host.directory / name
    path.unlink(missing_ok=True)
    host.run("kill", f"-{number}", host.run("cat", "/var/run/keepalived.pid").strip())
    wait_until(path.exists, 2, name)
    return path.read_text()


def test_the_version_is_the_second_word_and_json_is_announced() -> None:
    first = asked("-v").stderr.splitlines()[0].split()
    assert re.fullmatch(r"v\d+\.\d+\.\d+", first[1])
    assert "--enable-json" in asked("--version").stderr


def test_the_dumps(host: Host) -> None:
    daemon = start(host)
    text = dumped(host, "keepalived.data", "DATA")
    instance = re.search(r"^ VRRP Instance = (\S+)\n((?:   .*\n)+)", text, re.MULTILINE)
    assert instance is not None
    assert instance.group(1) == "web"
    values = dict(re.findall(r"^   (\w[^=\n]*?) = (.*)$", instance.group(2), re.MULTILINE))
    assert (values["State"], values["Wantstate"], values["Virtual Router ID"]) == ("MASTER", "MASTER", "51")
    assert values["Gratuitous ARP delay"].split()[0] == "2"
    assert values.get("Interface", values.get("Listening device")) == "eth0"
    arrays = re.findall(r"^   (Virtual IP(?: Excluded)?) \((\d+)\):\n((?:     .*\n)+)", instance.group(2), re.MULTILINE)
    assert [(name, count, items.split()[0]) for name, count, items in arrays] == [
        ("Virtual IP", "1", "192.0.2.100/24"),
        ("Virtual IP Excluded", "1", "192.0.2.101/24"),
    ]
    script = re.search(r"^ VRRP Script = check_web\n((?:   .*\n)+)", text, re.MULTILINE)
    assert script is not None
    lines = dict(re.findall(r"^   (\w+) = (.*)$", script.group(1), re.MULTILINE))
    assert (lines["Status"], lines["State"]) == ("GOOD", "idle")

    stats = dumped(host, "keepalived.stats", "STATS")
    assert stats.startswith("VRRP Instance: web\n")
    assert set(re.findall(r"^  (\w[\w ]+):$", stats, re.MULTILINE)) >= {
        "Advertisements", "Packet Errors", "Authentication Errors", "Priority Zero",
    }  # fmt: skip
    assert re.search(r"^  Became master: 1$", stats, re.MULTILINE)
    assert int(re.findall(r"^    Sent: (\d+)$", stats, re.MULTILINE)[0]) > 0

    [one] = json.loads(dumped(host, "keepalived.json", "JSON"))
    data, counted = one["data"], one["stats"]
    assert (data["iname"], data["state"], data["wantstate"], data["ifp_ifname"], data["vrid"]) == ("web", 2, 2, "eth0", 51)
    assert (len(data["vips"]), len(data["evips"]), data["garp_delay"]) == (1, 1, 2)
    assert counted["become_master"] == 1
    wanted = {
        "advert_rcvd", "advert_sent", "become_master", "release_master", "packet_len_err", "advert_interval_err",
        "ip_ttl_err", "invalid_type_rcvd", "addr_list_err", "invalid_authtype", "authtype_mismatch", "auth_failure",
        "pri_zero_rcvd", "pri_zero_sent",
    }  # fmt: skip
    assert wanted <= counted.keys()
    daemon.signal(signal.SIGTERM)
    assert daemon.wait(10) == 0
