"""Tracked files beside keepalived: after each change both announce the same priority."""

import time

from holdfast.lab.daemons import start_holdfast, start_keepalived
from holdfast.lab.hosts import Host, Lab, wait_until

CONFIGURATION = """\
vrrp_track_file load {{
    file {folder}/load
    weight 2
    init_file 3 overwrite
}}
vrrp_track_file plain {{
    file {folder}/plain
}}
vrrp_instance web {{
    interface eth0
    version 3
    advert_int 0.1
    virtual_router_id {vrid}
    priority 100
    virtual_ipaddress {{
        192.0.2.{vrid}/24
    }}
    track_file {{
        load
        plain weight 1 reverse
    }}
}}
"""

STEPS = (  # what is written into which file (None: it is removed), and the priority of both makes after it
    ("load", "7", 114),
    ("load", "garbage", 100),
    ("load", "-0x10", 68),
    ("plain", "5", 63),
    ("plain", "010 text", 60),
    ("load", None, 92),
    ("load", "200", 254),
    ("plain", "200", 153),  # 400 counts as 253, and 200 is taken from it
    ("plain", None, 254),
    ("load", "0", 100),
)


def test_both_makes_follow_a_file_alike(lab: Lab) -> None:
    ours, theirs = lab.host("ours"), lab.host("theirs")
    wire = lab.capture(frozenset((112,)))

    def announced(host: Host, after_ns: int) -> int:
        heard = [a.priority for a in wire.adverts() if a.source == host.ip4 and a.time_ns > after_ns]
        return heard[-1] if heard else -1

    start_holdfast(ours, CONFIGURATION.format(folder=ours.directory, vrid=60))
    start_keepalived(theirs, CONFIGURATION.format(folder=theirs.directory, vrid=61))
    wait_until(lambda: announced(ours, 0) == announced(theirs, 0) == 106, 10, "both announce 100 + 2 × 3")
    for name, text, priority in STEPS:
        now = time.time_ns()
        for host in (ours, theirs):
            path = host.directory / name
            if text is None:
                path.unlink()
            else:
                path.write_text(text)
        wait_until(
            lambda: announced(ours, now) == announced(theirs, now) == priority,  # noqa: B023
            3,
            f"both announce {priority} with {text!r} in {name}",
        )
    for host in (ours, theirs):
        (host.directory / "load").write_text("-127")
    for host, vip in ((ours, "192.0.2.60"), (theirs, "192.0.2.61")):
        wait_until(lambda: not host.holds(vip), 3, f"{host.name} is in FAULT at -254")  # noqa: B023
