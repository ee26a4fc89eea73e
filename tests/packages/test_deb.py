"""The Debian package in a fresh Debian: installed, run, upgraded, removed."""

import json
from pathlib import Path

import pytest

from holdfast.lab.hosts import wait_until

from .building import CONFIGURATION, run, version
from .debian import Debian

CONF = "/etc/keepalived/keepalived.conf"


def install(debian: Debian, package: Path) -> None:
    """As `apt install ./holdfast_….deb`, without waiting for a disk."""
    debian.run("dpkg", "--force-unsafe-io", "-i", debian.put(package))


@pytest.fixture
def deb(package: Path) -> Path:
    return next(package.glob("holdfast_*.deb"))


def test_install_run_purge(debian: Debian, deb: Path) -> None:
    debian.write(CONF, CONFIGURATION)
    debian.write("/etc/holdfast/east.conf", CONFIGURATION)
    before = debian.files()
    assert len(before) > 5000

    install(debian, deb)
    assert debian.run("holdfast", "--version") == f"holdfast {version()}\n"
    assert debian.run("keepalived", "--version").startswith("Keepalived v")
    assert "can be used: no problems" in debian.run("holdfast", "check", CONF)
    installed = debian.files()
    units = {line.rsplit("/", 1)[1] for line in installed - before if "/lib/systemd/system/" in line}
    assert units == {"holdfast.service", "holdfast@.service"}
    assert not [line for line in installed - before if ".wants" in line], "installed is not enabled"

    daemon = debian.spawn("holdfast", "run", "-f", CONF)
    wait_until(lambda: debian.host.holds("192.0.2.100"), 10, "it is master")
    told = json.loads(debian.run("holdfast", "who", "--json"))
    assert [(vip["vip"], vip["owner"]["address"]) for vip in told["vips"]] == [("192.0.2.100", debian.host.ip4)]
    assert "MASTER" in debian.run("holdfast", "status")
    daemon.process.terminate()
    assert daemon.wait(10) == 0
    assert debian.files() == installed, "what runs writes nothing beside itself"

    install(debian, deb)  # an upgrade to itself
    assert debian.files() == installed

    debian.run("dpkg", "--purge", "holdfast")
    assert debian.files() == before
    assert debian.run("dpkg-query", "-W", "-f", "${Package}\\n").count("holdfast") == 0
    assert debian.run("cat", CONF) == CONFIGURATION


SYSTEMCTL = """\
#!/bin/sh
echo "$*" >> /tmp/asked
"""


def test_what_it_asks_of_systemd(debian: Debian, deb: Path) -> None:
    debian.write("/usr/bin/systemctl", SYSTEMCTL)
    debian.run("sh", "-c", "chmod 755 /usr/bin/systemctl && mkdir -p /run/systemd/system")

    def asked() -> set[str]:
        lines = debian.run("sh", "-c", "touch /tmp/asked; cat /tmp/asked; rm /tmp/asked").splitlines()
        return {line.removeprefix("--system ").removeprefix("--quiet ") for line in lines} - {"daemon-reload"}

    install(debian, deb)
    assert asked() == set(), "neither enabled nor started"
    install(debian, deb)
    assert asked() == {"try-restart holdfast.service holdfast@*.service"}
    debian.run("dpkg", "-r", "holdfast")
    assert asked() == {"stop holdfast.service holdfast@*.service"}


def test_what_it_shows_names_its_own_programs(debian: Debian, deb: Path) -> None:
    install(debian, deb)
    found = debian.run("grep", "-rlE", "/usr/local/bin|/opt/holdfast", "/lib/systemd/system",
                       "/usr/share/doc/holdfast/examples", status=1)  # fmt: skip
    assert found == ""
    for unit in ("holdfast.service", "holdfast@.service"):
        text = debian.run("cat", f"/lib/systemd/system/{unit}")
        assert "Documentation=man:holdfast(1) man:holdfast.conf(5)" in text
        assert "ExecStart=/usr/bin/holdfast run" in text
    assert "/usr/share/man/man5/holdfast.conf.5.gz" in debian.run("dpkg", "-L", "holdfast")
    assert "/usr/bin/holdfast-keepalived --dont-fork" in debian.run(
        "cat", "/usr/share/doc/holdfast/examples/keepalived.service.d/holdfast.conf"
    )


EXTRAS = "import httptools, h2, dns, dbus_fast, starlette, uvicorn, prometheus_client, sys; print(sys.prefix)"


def test_every_extra_is_inside_and_the_environment_cannot_change_it(debian: Debian, deb: Path) -> None:
    install(debian, deb)
    assert debian.run("/usr/lib/holdfast/bin/python3", "-I", "-c", EXTRAS) == "/usr/lib/holdfast\n"
    debian.write("/tmp/evil/holdfast/__init__.py", "raise SystemExit('evil')\n")
    said = debian.run("sh", "-c", "cd /tmp/evil && PYTHONPATH=/tmp/evil holdfast --version")
    assert said == f"holdfast {version()}\n"


OTHER = """\
Package: keepalived
Version: 1:2.2.7-1
Architecture: all
Maintainer: nobody <nobody@example.org>
Description: stands for Debian's keepalived
"""


def test_beside_debians_keepalived(debian: Debian, deb: Path, tmp_path: Path) -> None:
    tree = tmp_path / "keepalived"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(OTHER)
    (tree / "usr/sbin").mkdir(parents=True)
    (tree / "usr/sbin/keepalived").write_text("#!/bin/sh\necho the other\n")
    (tree / "usr/sbin/keepalived").chmod(0o755)
    run("dpkg-deb", "--root-owner-group", "-b", tree, tmp_path / "keepalived.deb")
    other = debian.put(tmp_path / "keepalived.deb")

    debian.run("dpkg", "-i", other)
    install(debian, deb)
    assert debian.run("keepalived") == "the other\n", "a program that is there stays what it is"
    debian.run("dpkg", "--purge", "holdfast")
    assert debian.run("keepalived") == "the other\n"

    debian.run("dpkg", "--purge", "keepalived")
    install(debian, deb)
    assert debian.run("keepalived", "--version").startswith("Keepalived v")
    debian.run("dpkg", "-i", other)
    assert debian.run("keepalived") == "the other\n", "a program that comes later wins"
    debian.run("dpkg", "--purge", "keepalived")
    debian.run("update-alternatives", "--auto", "keepalived")
    assert debian.run("keepalived", "--version").startswith("Keepalived v")
