"""What the most used roles, modules and cookbooks write is accepted as keepalived accepts it.

The files of `rendered/` have the keywords, the order and the layout of each tool (indents, comments behind values, blank
lines, includes); names and values are ours. Each is read in a network namespace with eth0 and eth1, at its usual place,
by keepalived too: the exit status of a configuration test is what these tools go by.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BIN = Path(sys.executable).parent
RENDERED = Path(__file__).with_name("rendered")
SCRIPTS = ("proxy.sh", "upstream.sh", "notify.sh", "fifo.sh")
EXTRA = """vrrp_instance extra { interface eth1
 virtual_router_id 99
 virtual_ipaddress { 198.51.100.99/24 }
}
"""

OK, UNSAFE = 0, 6
"""Exit statuses of `keepalived -t`: nothing to say; scripts without `enable_script_security`."""

ROWS = {
    # file: exit status of `-t`, instances, sync groups, trackers, virtual servers
    "ansible-role.conf": (OK, 3, 1, 4, 2),
    "puppet-instance.conf": (OK, 3, 1, 2, 0),
    "puppet-lvs.conf": (UNSAFE, 0, 0, 0, 2),
    "keepalived.conf": (OK, 2, 1, 1, 1),  # of Chef: everything by includes
    "salt.conf": (OK, 2, 1, 1, 1),
    "kolla.conf": (UNSAFE, 1, 0, 1, 0),
    "neutron.conf": (UNSAFE, 1, 0, 1, 0),
    "container.conf": (UNSAFE, 1, 0, 0, 0),
    "kubernetes.conf": (UNSAFE, 1, 0, 1, 0),
}

INSIDE = """
set -e
mount --bind {etc} /etc/keepalived
ip link add eth0 type veth peer name eth1; ip link set eth0 up; ip link set eth1 up
set +e
for file in {files}; do
    keepalived -l -t -f /etc/keepalived/$file >$file.theirs 2>&1; echo $? >>$file.status
    {bin}/holdfast-keepalived -l -t -f /etc/keepalived/$file >$file.ours 2>&1; echo $? >>$file.status
    {bin}/holdfast check --json /etc/keepalived/$file >$file.json
done
:
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the answers to every file: `.status` (theirs, ours), `.json`, `.theirs`, `.ours`."""
    directory = tmp_path_factory.mktemp("automation")
    etc = directory / "etc"
    shutil.copytree(RENDERED / "chef", etc)
    for path in RENDERED.glob("*.conf"):
        shutil.copy(path, etc)
    (etc / "extra.cfg").write_text(EXTRA)
    for name in SCRIPTS:
        (etc / name).write_text("#!/bin/sh\nexit 0\n")
        (etc / name).chmod(0o755)
    for path in etc.rglob("*"):
        shutil.chown(path, "root", "root")
    script = INSIDE.format(etc=etc, files=" ".join(ROWS), bin=BIN)
    Path("/etc/keepalived").mkdir(exist_ok=True)
    subprocess.run(["unshare", "-mn", "sh", "-c", script], cwd=directory, check=True)
    return directory


@pytest.mark.parametrize("name", ROWS)
def test_a_configuration_test_ends_as_keepaliveds(answers: Path, name: str) -> None:
    theirs, ours = map(int, (answers / f"{name}.status").read_text().split())
    assert ours == ROWS[name][0], (answers / f"{name}.ours").read_text()
    assert theirs == ours, (answers / f"{name}.theirs").read_text()


@pytest.mark.parametrize("name", ROWS)
def test_every_word_is_known_and_everything_would_run(answers: Path, name: str) -> None:
    document: dict[str, Any] = json.loads((answers / f"{name}.json").read_text())
    assert document["verdict"] == "ok", document["problems"]
    wrong = [row for row in document["problems"] if "no keyword" in row["what"] or "later" in row["meanwhile"]]
    assert wrong == []
    found = document["would_run"]
    counted = tuple(len(found[kind]) for kind in ("instances", "sync_groups", "trackers", "virtual_servers"))
    assert counted == ROWS[name][1:]


def test_what_the_files_say_in_the_end(answers: Path) -> None:
    """A few values out of each layout: comments behind values, blanks in lists, closing braces behind a value."""

    def instance(name: str, which: str) -> dict[str, Any]:
        found = json.loads((answers / f"{name}.json").read_text())["would_run"]["instances"]
        return next(one for one in found if one["name"] == which)

    assert instance("ansible-role.conf", "outside")["vips"] == ["192.0.2.100/24"]
    assert instance("ansible-role.conf", "inside")["vips"] == ["198.51.100.100/24"]
    assert instance("keepalived.conf", "inside")["vips"] == ["192.0.2.51/24", "192.0.2.52/24"]
    assert instance("keepalived.conf", "inside")["version"] == 2
    assert instance("keepalived.conf", "outside")["family"] == "ipv6"
    assert instance("puppet-instance.conf", "VI_50_six")["vips"] == ["fe80::50/128", "2001:db8::50/128"]
    assert instance("puppet-instance.conf", "extra")["vips"] == ["198.51.100.99/24"]
    assert instance("salt.conf", "VI_1")["priority"] == 100
    assert instance("container.conf", "VI_1")["vips"] == ["192.0.2.231/32", "192.0.2.232/32"]
