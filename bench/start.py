"""Starting and reading: exec to the first advert, and the check of large files."""

import shutil
import time

from bench.measure import median
from bench.sites import CABLES, VRIDS, configuration, site, virtual_servers
from bench.table import Measured
from holdfast.lab.daemons import holdfast_command, keepalived, source_environment
from holdfast.lab.hosts import wait_until


def first_advert(products: list[str], rounds: int) -> Measured:
    """From exec to the first advert of an address owner, who has nothing to wait for."""
    measured: Measured = {}
    for product in products:
        taken = []
        for _ in range(rounds):
            with site() as where:
                capture = where.listen(where.peer, frozenset((112,)))
                begun = time.time_ns()
                where.start(product, configuration(1, 255, 1))
                wait_until(lambda capture=capture: next(capture.adverts(), None) is not None, 20, "an advert")  # type: ignore[misc]
                taken.append((next(capture.adverts()).time_ns - begun) / 1e6)
        measured[product] = [("exec to first advert (owner), median", "ms", median(taken))]
    return measured


def check(products: list[str], rounds: int) -> Measured:
    """How long it takes to check large files."""
    measured: Measured = {}
    with site() as where:
        for more in range(CABLES, 10_000 // VRIDS):  # interfaces for all of them, or their files are refused
            where.router.links.make_bridge(f"x{more}")
        files = {
            "66,000 lines of virtual servers": where.router.write("servers.conf", virtual_servers(66_000)),
            "100,000 lines of instances": where.router.write("instances.conf", configuration(10_000, 100, 1)),
            "100,000 lines, 91,000 of them addresses": where.router.write("vips.conf", configuration(1000, 100, 1, 91)),
        }
        for product in products:
            for what, path in files.items():
                taken = []
                for _ in range(rounds):
                    command = (
                        holdfast_command("check", path) if product == "holdfast" else (keepalived(), "-t", "-f", path)
                    )
                    begun = time.monotonic()
                    process = where.router.spawn(*command, environment=source_environment(), log="check.log")
                    process.wait(300)
                    assert process.wait(0) == 0, process.text()[-2000:]
                    taken.append((time.monotonic() - begun) * 1000)
                measured.setdefault(product, []).append((f"check of {what}", "ms", median(taken)))
    return measured


def installed() -> bool:
    """Whether there is a keepalived to compare with."""
    return shutil.which("keepalived", path="/usr/sbin:/usr/local/sbin:/usr/bin") is not None
