"""The main job, shown: hosts made on this machine keep one address alive while their master dies (`make demo`).

A lab script on three configuration files. Every line printed has happened; the first thing that does not happen ends
the demo with 1.
"""

import argparse
import contextlib
import shutil
import sys
import tempfile
from pathlib import Path

from holdfast.base.time import span_text
from holdfast.lab.namespaces import NamespacesRefusedError, become_root_inside, check_allowed
from holdfast.lab.script import LabError, opened, run_script
from holdfast.lab.session import Session
from holdfast.lab.telling import Lines

VIP = "192.0.2.100"
CONFIGURATION = """\
vrrp_instance web {
    interface eth0
    version 3
    virtual_router_id 51
    priority %d
    advert_int 0.1
    virtual_ipaddress {
        %s/24
    }
}
"""
PRIORITIES = {"a": 150, "b": 100, "c": 120}
SCRIPT = """\
title Two hosts, one address: 192.0.2.100
start a
start b
wait a alone
wait b BACKUP
title The master dies (power off: its processes killed, its cable dead)
probe
crash a
wait b alone
report master killed
expect gap under 1s
say what VRRP allows: 3 adverts of 100 ms missed, and a little for the lower priority: 361 ms
title A third host joins, with a higher priority than the one now in charge
probe
start c
wait c alone
report hand-over to a better host
expect gap under 1s
title The dead host is repaired
probe
start a
wait a alone
report repaired host takes over
expect gap under 1s
title The master is stopped politely (SIGTERM)
probe
stop a
wait c alone
report clean stop
expect gap under 1s
title Everything stops
end
"""


def _closing(session: Session, screen: Lines) -> None:
    screen.title("How long nobody answered, measured by a client asking 1,000 times a second")
    for what, _, report in session.reports:
        print(f"  {what:<28} {span_text(report.outage_ns):>10}   {report.outage_lost:4} probes lost in the gap")
    screen.title("Next")
    print("  holdfast check /etc/keepalived/keepalived.conf   what it makes of your own configuration")
    print("  holdfast lab a.conf b.conf                       the same with your files, and faults on command")
    print("  holdfast run -f FILE                             the daemon; needs root or CAP_NET_ADMIN and CAP_NET_RAW")
    print("  README.md                                        how to put it on two real hosts")


def main() -> int:
    """0 when everything was really seen, 1 when something was not, or the machine does not allow it."""
    words = argparse.ArgumentParser(prog="demo", description=__doc__)
    words.add_argument("--daemon", choices=("holdfast", "keepalived"), default="holdfast", help="who plays the routers")
    chosen = words.parse_args()
    with contextlib.suppress(AttributeError, OSError):
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        check_allowed()
        become_root_inside()
    except NamespacesRefusedError as refusal:
        print(f"demo: {refusal}", file=sys.stderr)
        return 1
    try:
        with tempfile.TemporaryDirectory(prefix="holdfast-demo-") as directory:
            return _shown(Path(directory), chosen.daemon)
    except LabError as wrong:
        print(f"demo: {wrong}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted; everything it made is gone", file=sys.stderr)
        return 130


def _shown(directory: Path, daemon: str) -> int:
    screen = Lines()
    files = []
    for name, priority in PRIORITIES.items():
        path = directory / f"{name}.conf"
        path.write_text(CONFIGURATION % (priority, VIP))
        files.append((name, str(path)))
    with opened(files, dict.fromkeys(PRIORITIES, daemon), screen) as session:
        if not run_script(session, SCRIPT, "demo", screen):
            lab = session.site.lab
            kept = lab.directory.with_name(lab.directory.name + "-failed")
            shutil.copytree(lab.directory, kept)
            print(f"demo: did not work out; the hosts' logs are in {kept}", file=sys.stderr)
            return 1
        _closing(session, screen)
    return 0


if __name__ == "__main__":
    sys.exit(main())
