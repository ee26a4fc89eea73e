"""Who else works on this host: other VRRP daemons, network managers that take addresses away, the clock."""

from collections.abc import Iterator

from holdfast.doctor.facts import Facts, Finding, Severity

KEEPS = {"yes", "true", "1", "on", "static"}
"""Values of KeepConfiguration= with which systemd-networkd leaves addresses that others added (systemd.network(5))."""


def findings(facts: Facts) -> Iterator[Finding]:
    """Rivals, managers, clock."""
    for pid, program in facts.rivals or ():
        yield Finding(
            check="other daemon",
            severity=Severity.OBSTACLE,
            what=f"{program} runs on this host too: two daemons would fight over the same addresses",
            evidence=f"process {pid}, in this network namespace",
            cure="stop and disable it before holdfast starts, or keep it and stop holdfast",
        )
    if facts.rivals is None:
        yield Finding(check="other daemon", severity=Severity.WARNING, what="could not look for other VRRP daemons",
                      evidence="only root sees what root runs", cure="run the doctor as root")  # fmt: skip
    elif not facts.rivals:
        yield Finding(check="other daemon", severity=Severity.OK, what="no other VRRP daemon runs here")
    yield from _managers(facts)
    if facts.clock_synchronised is False:
        yield Finding(
            check="clock",
            severity=Severity.ADVICE,
            what="the clock is not synchronised: logs of two hosts cannot be compared (VRRP itself doesn't mind)",
            evidence="adjtimex: STA_UNSYNC",
            cure="run chrony or systemd-timesyncd",
        )
    elif facts.clock_synchronised:
        yield Finding(check="clock", severity=Severity.OK, what="synchronised")


def _managers(facts: Facts) -> Iterator[Finding]:
    for manager in facts.managers:
        if manager.name == "systemd-networkd" and _keeps(manager.settings):
            yield Finding(check="network manager", severity=Severity.OK,
                          what=f"systemd-networkd keeps foreign addresses on {manager.interface}")  # fmt: skip
        elif manager.name == "systemd-networkd":
            yield Finding(
                check="network manager",
                severity=Severity.WARNING,
                what=f"systemd-networkd removes a VIP from {manager.interface} when it restarts or is reconfigured",
                evidence=f"{manager.seen_in}, without KeepConfiguration=",
                cure=f"KeepConfiguration=yes in [Network] of the .network file of {manager.interface}",
            )
        else:
            yield Finding(
                check="network manager",
                severity=Severity.WARNING,
                what=f"NetworkManager removes a VIP from {manager.interface} when it activates a connection anew",
                evidence=manager.seen_in,
                cure=f"nmcli device set {manager.interface} managed no, and `unmanaged-devices` in its configuration",
            )


def _keeps(settings: tuple[str, ...]) -> bool:
    value = ""
    for line in settings:
        key, _, said = line.partition("=")
        if key.strip() == "KeepConfiguration":
            value = said.strip().lower()  # the last one counts
    return value in KEEPS
