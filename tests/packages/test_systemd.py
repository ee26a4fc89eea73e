"""The Debian package where systemd is the first process: its units, from enabling to purge."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.lab.hosts import Lab, wait_until

from .booting import Booted
from .building import CONFIGURATION

CONF = "/etc/keepalived/keepalived.conf"
EAST = CONFIGURATION.replace("router_id 51", "router_id 52").replace("192.0.2.100", "192.0.2.101")


@pytest.fixture
def booted(lab: Lab) -> Iterator[Booted]:
    made = Booted(lab.host("a"))
    yield made
    made.close()


def test_the_units_live(booted: Booted, package: Path) -> None:
    host = booted.host
    deb = next(package.glob("*.deb"))
    host.run("cp", str(deb), f"{booted.root}/opt/")
    booted.write(CONF, CONFIGURATION)
    booted.write("/etc/holdfast/east.conf", EAST)

    def main(unit: str) -> int:
        return int(booted.run("systemctl", "show", "-P", "MainPID", unit))

    def both() -> bool:
        return host.holds("192.0.2.100") and host.holds("192.0.2.101")

    booted.run("dpkg", "--force-unsafe-io", "-i", f"/opt/{deb.name}")
    assert booted.run("systemctl", "is-enabled", "holdfast", status=1) == "disabled\n"
    assert booted.run("systemctl", "is-active", "holdfast", status=3) == "inactive\n"

    booted.run("systemctl", "enable", "--now", "holdfast", "holdfast@east")
    wait_until(both, 10, "both daemons are master")
    assert "192.0.2.101" in booted.run("holdfast", "status", "--run-dir", "/run/holdfast-east")
    booted.run("systemctl", "reload", "holdfast")
    assert "master of 1" in booted.run("holdfast", "status")

    killed = main("holdfast")
    booted.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "holdfast")
    wait_until(lambda: main("holdfast") not in (0, killed), 10, "systemd starts it again")
    wait_until(both, 10, "it is master again")

    examples = "/usr/share/doc/holdfast/examples/holdfast.service.d/no-scripts.conf"
    there = "/etc/systemd/system/holdfast.service.d"
    booted.run("sh", "-c", f"mkdir {there} && cp {examples} {there}")
    booted.run("systemctl", "daemon-reload")
    booted.run("systemctl", "restart", "holdfast")
    wait_until(both, 10, "it is master in a closed-off view of the system")
    assert "NoNewPrivs:\t1" in booted.run("grep", "NoNewPrivs", f"/proc/{main('holdfast')}/status")

    before = main("holdfast"), main("holdfast@east")
    booted.run("dpkg", "--force-unsafe-io", "-i", f"/opt/{deb.name}")
    after = main("holdfast"), main("holdfast@east")
    assert 0 not in after
    assert not set(after) & set(before), "an upgrade restarts what runs"
    wait_until(both, 10, "the new ones are master")

    booted.run("dpkg", "--purge", "holdfast")
    assert not host.holds("192.0.2.100")
    assert not host.holds("192.0.2.101")
    assert (
        booted.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "--state=active,failed", "holdfast*")
        == ""
    )
