"""The wheel in a clean environment, and the source archive."""

import json
import sys
import tarfile
import venv
import zipfile
from functools import partial
from pathlib import Path

import pytest

from holdfast.lab.hosts import Lab, Spawned, wait_until

from .building import CONFIGURATION, ROOT, once, run, shared, version


@pytest.fixture(scope="module")
def programs(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the commands in an environment with the wheel and what it depends on, no extra."""
    wheel = next(dist.glob("*.whl"))
    folder = shared(tmp_path_factory)

    def make(marker: Path) -> None:
        venv.create(folder / "venv", symlinks=True)
        run(sys.executable, "-m", "pip", "--python", folder / "venv/bin/python", "install", "-q", wheel)
        marker.touch()

    once(folder, "venv.done", make)
    return folder / "venv/bin"


def test_the_wheel_has_what_runs_and_nothing_else(dist: Path) -> None:
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    source = ROOT / "src"
    files = {
        str(path.relative_to(source))
        for path in (source / "holdfast").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    kept = f"holdfast-{version()}.dist-info/"
    assert {name for name in names if not name.startswith(kept)} == files
    assert "holdfast/export/web/static/index.html" in names
    assert f"{kept}licenses/LICENSE" in names


def test_the_source_archive_has_what_packages_are_made_from(dist: Path) -> None:
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"pyproject.toml", "LICENSE", "README.md", "docs/how-to/two-hosts.md", "tests/conftest.py",
              "packaging/systemd/holdfast.service", "packaging/completions/holdfast.bash", "src/holdfast/py.typed"}  # fmt: skip
    assert wanted - names == set()
    assert not [name for name in names if name.startswith((".venv", "dist/", ".mypy")) or name.endswith(".pyc")]


def test_a_clean_environment_runs_it(programs: Path, lab: Lab) -> None:
    host = lab.host("a")
    path = host.write("keepalived.conf", CONFIGURATION)
    assert host.run(str(programs / "holdfast"), "--version") == f"holdfast {version()}\n"
    assert "can be used: no problems" in host.run(str(programs / "holdfast"), "check", path)
    daemon = host.spawn(str(programs / "holdfast"), "run", "-f", path)
    wait_until(lambda: host.holds("192.0.2.100"), 10, "it is master")
    told = json.loads(host.run(str(programs / "holdfast"), "who", "--json", check=False))
    assert [(vip["vip"], vip["owner"]["address"]) for vip in told["vips"]] == [("192.0.2.100", host.ip4)], told
    daemon.process.terminate()
    assert daemon.wait(10) == 0
    assert not host.holds("192.0.2.100")


NEEDS = """\
global_defs {
    enable_dbus
    lvs_backend nftables
    web_listen 127.0.0.1:9650
}
virtual_server 192.0.2.100 80 {
    delay_loop 1
    lvs_method NAT
    protocol TCP
    real_server 192.0.2.7 80 {
        HTTP_GET {
            url {
                path /
                status_code 200
            }
        }
    }
}
"""


def _has(daemon: Spawned, said: str) -> bool:
    return said in daemon.text()


def test_what_needs_an_extra_says_which(programs: Path, lab: Lab) -> None:
    host = lab.host("a")
    daemon = host.spawn(str(programs / "holdfast"), "run", "-f", host.write("k.conf", NEEDS + CONFIGURATION))
    for said in (
        "HTTP_GET [192.0.2.7]:80: needs the library httptools: pip install 'holdfast[lvs]'",
        "uvicorn is not installed: install holdfast[web]",
        "dbus_fast is not installed: trying again; install holdfast[dbus]",
    ):
        wait_until(partial(_has, daemon, said), 10, said)
    wait_until(lambda: host.holds("192.0.2.100"), 10, "the rest works")
