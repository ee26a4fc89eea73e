"""Units, drop-ins and what tells other programs to leave ours alone, read by the programs they are for."""

import configparser
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.lab.hosts import Host, Lab, wait_until

from .building import ROOT, run

SYSTEMD = ROOT / "packaging/systemd"


def put(name: str, to: Path, *drop_ins: str) -> Path:
    """The unit `name` in the folder `to`, its program one that is here, with these drop-ins; its path."""
    unit = to / name
    unit.write_text((SYSTEMD / name).read_text().replace("/usr/local/bin/holdfast", sys.executable))
    for drop_in in drop_ins:
        folder = to / f"{name}.d"
        folder.mkdir(exist_ok=True)
        text = (SYSTEMD / "holdfast.service.d" / drop_in).read_text()
        (folder / drop_in).write_text(text.replace("/opt/holdfast/bin/holdfast", sys.executable))
    return unit


DROP_INS = ((), ("no-scripts.conf",), ("mounting-scripts.conf",), ("venv.conf",))


@pytest.mark.parametrize("drop_ins", DROP_INS)
@pytest.mark.parametrize("name", ["holdfast.service", "holdfast@.service"])
def test_units_are_valid(name: str, drop_ins: tuple[str, ...], tmp_path: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", put(name, tmp_path, *drop_ins)], capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


EXPOSED = {(): 83, ("no-scripts.conf",): 52}
"""What systemd calls the exposure, in tenths: who runs others' scripts as root is exposed to them."""


@pytest.mark.parametrize("drop_ins", EXPOSED)
@pytest.mark.parametrize("name", ["holdfast.service", "holdfast@.service"])
def test_how_exposed(name: str, drop_ins: tuple[str, ...], tmp_path: Path) -> None:
    unit = put(name, tmp_path, *drop_ins)
    run("systemd-analyze", "security", "--offline=yes", "--no-pager", f"--threshold={EXPOSED[drop_ins]}", unit)


def directives(name: str) -> list[str]:
    """The lines of a unit that say something."""
    return [line for line in (SYSTEMD / name).read_text().splitlines() if line and line[0] not in "#["]


def test_the_two_units_differ_by_name_only() -> None:
    one, several = directives("holdfast.service"), directives("holdfast@.service")
    assert [line for line in several if line not in one] == [
        "Description=holdfast %I: high availability with VRRP",
        "ExecStart=/usr/local/bin/holdfast run -f /etc/holdfast/%i.conf --run-dir /run/holdfast-%i",
        "RuntimeDirectory=holdfast-%i",
    ]
    assert [line.partition("=")[0] for line in one if line not in several] == [
        "Description", "Conflicts", "ExecStart", "RuntimeDirectory",
    ]  # fmt: skip


LOGROTATE = ROOT / "packaging/logrotate/holdfast"


def test_logrotate_rotates_what_is_being_written(tmp_path: Path, lab: Lab) -> None:
    recipe = tmp_path / "recipe"
    recipe.write_text(LOGROTATE.read_text().replace("/var/log/", f"{tmp_path}/"))
    recipe.chmod(0o644)
    debug = subprocess.run(
        ["logrotate", "-d", "-s", tmp_path / "state", recipe], capture_output=True, text=True, check=True
    )
    assert "error" not in debug.stderr

    host, log = lab.host("a"), tmp_path / "holdfast.log"
    path = host.write("keepalived.conf", "vrrp_instance web {\n interface eth0\n virtual_router_id 51\n}\n")
    daemon = host.spawn(sys.executable, "-m", "holdfast.cli.main", "run", "-f", path, "--log-file", str(log))
    wait_until(lambda: log.exists() and "BACKUP" in log.read_text(), 10, "the log is written")
    run("logrotate", "-f", "-s", tmp_path / "state", recipe)
    assert "BACKUP" in (tmp_path / "holdfast.log.1").read_text()
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: "eload" in log.read_text(), 10, "it goes on in the same file")
    text = log.read_bytes()
    assert b"\0" not in text
    assert b"BACKUP STATE: started" not in text


NETWORKD = "/lib/systemd/systemd-networkd"
ETH0 = "[Match]\nName=eth0\n[Network]\nAddress=192.0.2.1/24\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n"
ALL = "[Match]\nName=*\n[Network]\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n"
_PREPARE = """
set -e
ip address flush dev eth0
mkdir -p /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/networkd.conf.d
mkdir -p /run/systemd/network/10-eth0.network.d
chown -R systemd-network: /run/systemd/netif
mount -o remount,bind,ro /sys
"""
_OURS = """
set -e
ip address add 192.0.2.100/24 dev eth0
ip link add vrrp.51 link eth0 type macvlan mode private
ip address add 192.0.2.101/32 dev vrrp.51
ip link set vrrp.51 up
ip route add 198.51.100.0/24 via 192.0.2.9
ip rule add from 192.0.2.100 lookup 100
"""


def link(host: Host, name: str, key: str) -> str:
    """What systemd-networkd notes about a link of the host: the value of a key, "" while there is none."""
    command = f"cat /run/systemd/netif/links/$(cat /sys/class/net/{name}/ifindex)"
    found = re.search(rf"^{key}=(.*)$", host.run("sh", "-c", command, check=False), re.MULTILINE)
    return found[1] if found else ""


@pytest.mark.parametrize(("ours", "state"), [(True, "unmanaged"), (False, "configured")])
def test_systemd_networkd_leaves_ours_alone(lab: Lab, ours: bool, state: str) -> None:
    host = lab.host("a")
    host.run("sh", "-c", _PREPARE)
    network = "/run/systemd/network"
    files = {f"{network}/10-eth0.network": ETH0, f"{network}/99-all.network": ALL}
    if ours:
        for name, to in (
            ("10-holdfast-vmac.network", network),
            ("50-holdfast.conf", "/run/systemd/networkd.conf.d"),
            ("keep-addresses.conf", f"{network}/10-eth0.network.d"),
        ):
            files[f"{to}/{name}"] = (ROOT / "packaging/networkd" / name).read_text()
    for path, text in files.items():
        host.run("sh", "-c", f"cat > {path} <<'END'\n{text}END")
    first = host.spawn(NETWORKD)
    wait_until(lambda: link(host, "eth0", "ADMIN_STATE") == "configured", 10, "eth0 is configured")
    host.run("sh", "-c", _OURS)
    wait_until(lambda: link(host, "vrrp.51", "ADMIN_STATE") == state, 10, f"vrrp.51 is {state}")
    first.signal(signal.SIGTERM)
    assert first.wait(10) == 0

    host.run("sh", "-c", "rm -f /run/systemd/netif/links/*")
    again = host.spawn(NETWORKD)
    wait_until(lambda: link(host, "eth0", "ADMIN_STATE") == "configured", 10, "eth0 is configured again")
    wait_until(lambda: link(host, "vrrp.51", "ADMIN_STATE") == state, 10, f"vrrp.51 is {state}")
    assert not re.search("Unknown|ignoring assignment", first.text() + again.text()), again.text()
    if ours:
        assert link(host, "eth0", "NETWORK_FILE").endswith("10-eth0.network")
        assert host.holds("192.0.2.100")
        assert host.holds("192.0.2.101")
        assert "198.51.100.0/24 via 192.0.2.9" in host.run("ip", "route")
        assert "from 192.0.2.100 lookup 100" in host.run("ip", "rule")


def test_networkmanagers_file_has_the_words_it_knows() -> None:
    read = configparser.ConfigParser()
    read.read_string((ROOT / "packaging/networkmanager/50-holdfast.conf").read_text())
    assert {name: dict(read[name]) for name in read.sections()} == {
        "device-holdfast": {"match-device": "interface-name:vrrp*.*", "managed": "0"}
    }
