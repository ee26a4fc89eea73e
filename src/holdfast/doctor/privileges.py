"""Capabilities, and what a container takes away."""

from collections.abc import Iterator

from holdfast.doctor.facts import Facts, Finding, Severity

NEEDED = {"NET_ADMIN": "no address can be added or removed", "NET_RAW": "no advert can be sent or heard"}


def findings(facts: Facts) -> Iterator[Finding]:
    """A finding for each capability that the daemon cannot do without and this process has not."""
    held = ", ".join(f"CAP_{name}" for name in NEEDED if name in facts.capabilities)
    for name, lost in NEEDED.items():
        if name not in facts.capabilities:
            where = "start the container with --cap-add" if facts.container else "run as root, or AmbientCapabilities="
            yield Finding(
                check="capabilities",
                severity=Severity.OBSTACLE,
                what=f"CAP_{name} is missing: {lost}",
                evidence="CapEff of /proc/self/status",
                cure=f"{where} CAP_{name}" if facts.container else f"{where}CAP_{name} in the unit",
            )
    if held.count("CAP_") == len(NEEDED):
        yield Finding(check="capabilities", severity=Severity.OK, what=f"{held} are here")
    if facts.container:
        yield Finding(
            check="container",
            severity=Severity.ADVICE,
            what="this is a container: addresses go to its own network unless it shares the host's",
            evidence=facts.container,
            cure="use the host's network (--network host) if the VIP is to be the host's",
        )
    if facts.advert_filter:
        yield Finding(
            check="advert filter",
            severity=Severity.ADVICE,
            what="routine adverts cannot be absorbed in the kernel: the same decisions, a little more CPU",
            evidence=facts.advert_filter,
            cure="grant CAP_BPF (Linux 5.8 or later)",
        )
    elif facts.advert_filter == "":
        yield Finding(check="advert filter", severity=Severity.OK, what="available")
