"""The recipe of the container: read as its makers' tools read it, its steps run in the Debian it builds on."""

import glob
import json
import os
import re
import signal
from pathlib import Path

import pytest

from holdfast.lab.hosts import wait_until

from .building import CONFIGURATION, ROOT
from .debian import Debian

RECIPE = ROOT / "packaging/oci/Containerfile"
CONF = "/etc/keepalived/keepalived.conf"
NEEDED = {line.split()[0] for line in (ROOT / "packaging/oci/capabilities").read_text().splitlines() if line[0] != "#"}


def instructions() -> list[tuple[str, str]]:
    """Instruction and what follows it, continued lines joined."""
    lines = [line for line in RECIPE.read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [(word, " ".join(rest.split())) for word, _, rest in (line.partition(" ") for line in joined)]


def words(name: str) -> list[str]:
    """The command in JSON form behind CMD, ENTRYPOINT or HEALTHCHECK."""
    rest = dict(instructions())[name]
    found = json.loads(rest[rest.index("[") :])
    assert isinstance(found, list)
    return [str(word) for word in found]


def test_the_recipe() -> None:
    made = instructions()
    assert [word for word, _ in made] == ["FROM", "COPY", "RUN", "HEALTHCHECK", "STOPSIGNAL", "ENTRYPOINT", "CMD"]
    assert re.fullmatch(r"debian:[a-z]+-slim", made[0][1]), "a release, and no `latest`"
    assert "--no-install-recommends" in made[2][1]
    assert made[2][1].endswith("/var/lib/apt/lists/*"), "no lists in the layer"
    assert words("ENTRYPOINT") + words("CMD") == ["/usr/bin/holdfast", "run", "-f", CONF]
    assert words("HEALTHCHECK") == ["/usr/bin/holdfast", "status", "--json"]


@pytest.fixture
def container(debian: Debian, package: Path) -> Debian:
    """A Debian after the steps of the recipe, with a configuration."""
    for word, rest in instructions():
        if word == "COPY":
            pattern, _, to = rest.partition(" ")
            (found,) = glob.glob(str(package / Path(pattern).name))
            assert to == "/tmp/"
            debian.put(Path(found))
        elif word == "RUN":
            debian.run("sh", "-c", rest.replace("apt-get update", "true"))  # no network here; Python is there already
    debian.write(CONF, CONFIGURATION)
    return debian


def given(capabilities: set[str], command: list[str]) -> tuple[str, ...]:
    """The words that run `command` with these capabilities alone, as the first process of its own world."""
    first = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
    left = ",".join(f"cap_{name.lower()}" for name in sorted(capabilities))
    drop = f"exec capsh --drop=$(capsh --print | python3 -c '{_OTHERS}' {left}) -- -c 'exec \"$@\"' - \"$@\""
    return (*first, "bash", "-c", drop, "-", *command)


_OTHERS = (
    'import re, sys; has = re.search("Bounding set =(.*)", sys.stdin.read())[1].split(","); '
    'print(",".join(name for name in has if name not in sys.argv[1].split(",")))'
)


def test_it_works_with_the_capabilities_that_are_named(container: Debian) -> None:
    daemon = container.spawn(*given(NEEDED, words("ENTRYPOINT") + words("CMD")))
    wait_until(lambda: container.host.holds("192.0.2.100"), 15, "it is master")
    status = json.loads(container.run(*words("HEALTHCHECK")))
    assert status["instances"][0]["state"] == "MASTER"
    named = {Path(f"/proc/{pid}/comm").read_text().strip(): pid for pid in container.host.processes()}
    assert "CapBnd:\t0000000000003000\n" in Path(f"/proc/{named['holdfast_vrrp']}/status").read_text()
    os.kill(named["holdfast"], signal.Signals[dict(instructions())["STOPSIGNAL"]])
    assert daemon.wait(10) == 0
    assert not container.host.holds("192.0.2.100")
    container.run(*words("HEALTHCHECK"), status=1)


@pytest.mark.parametrize("missing", sorted(NEEDED))
def test_without_one_it_says_which(container: Debian, missing: str) -> None:
    daemon = container.spawn(*given(NEEDED - {missing}, words("ENTRYPOINT") + words("CMD")))
    assert daemon.wait(15) == 4
    assert f"holdfast needs CAP_{missing} here" in daemon.text()
    assert daemon.text().count("CAP_") == 2, "that one and no other, with its cure"
