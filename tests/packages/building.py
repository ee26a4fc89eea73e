"""What the tests of the packages build: each once, however many processes run tests."""

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = """\
vrrp_instance web {
    interface eth0
    virtual_router_id 51
    priority 150
    advert_int 0.1
    version 3
    virtual_ipaddress {
        192.0.2.100/24
    }
}
"""


def once(folder: Path, name: str, make: Callable[[Path], None]) -> Path:
    """`folder/name`, made by `make` unless it is there; who comes meanwhile waits. What fails leaves nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / name
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            beside = folder / f"{name}.new"
            if beside.is_dir():
                shutil.rmtree(beside)
            beside.unlink(missing_ok=True)
            make(beside)
            beside.rename(made)
    return made


def run(*command: str | Path, **more: str) -> str:
    """A command to its end, which must be a good one; what it printed. `more` goes into its environment."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=os.environ | more)
    assert done.returncode == 0, f"{command}: status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def shared(factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this run of the tests share."""
    base = factory.getbasetemp()
    return (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "packages"


def build_dist(to: Path) -> None:
    """Wheel and source archive, as `make dist`."""
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", to, ROOT)


def build_deb(source: Path, to: Path) -> None:
    """The Debian package, as `make deb`, from the source archive."""
    to.mkdir()
    run("sh", ROOT / "tools/build-deb", source, to, HOLDFAST_PYTHON=sys.executable, HOLDFAST_DPKG_DEB="-Zgzip -z1")


def version() -> str:
    """The version of the source."""
    found = re.search(r'__version__ = "(.+)"', (ROOT / "src/holdfast/__init__.py").read_text())
    assert found is not None
    return found[1]
