"""What a trial says of a cluster, in words: why an address moved or did not, and what an outage is made of."""

from collections.abc import Iterable

import msgspec

from holdfast.base.address import Address, parse, text
from holdfast.base.time import MILLISECOND, SECOND, Nanoseconds, span_text
from holdfast.carp.config import down_interval_ns
from holdfast.sim.cluster import Cluster, Router, primary
from holdfast.sim.faults import Fault
from holdfast.sim.trial import MemberSeen, Outcome, Phase, Trial
from holdfast.vrrp.config import OWNER, InstanceConfig, TrackedUse
from holdfast.vrrp.machine import master_down_interval, skew_time

SLOW: Nanoseconds = 1200 * MILLISECOND
"""An outage longer than this is worth saying how it could be shorter."""

BRIEF: Nanoseconds = 50 * MILLISECOND
"""Less than this nobody notices."""

SUGGESTED_NS: Nanoseconds = 100 * MILLISECOND

SPLITTING = ("cut", "isolate")
"""Faults of the network that no election can mend: each side must serve itself."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """How one outcome is judged.

    `grade`: good; odd, one owner and something to know; split, two of a network that is cut;
    none, nobody after several faults that left no host able; bad, none or two otherwise.
    """

    grade: str
    during: str
    after: str = ""

    def text(self) -> str:
        """Both in one."""
        return f"{self.during}; {self.after}" if self.after else self.during


def judge(cluster: Cluster, trial: Trial, outcome: Outcome) -> Verdict:
    """The verdict on what a fault did to the addresses of a router."""
    fault = trial.faults[-1]
    during = _said(cluster, trial, outcome)
    after = _said_after(cluster, outcome)
    return Verdict(grade=_grade(trial, fault, outcome), during=during, after=after)


def baseline_fault(
    cluster: Cluster, router: Router, owners: tuple[str, ...], members: tuple[MemberSeen, ...]
) -> str:
    """What is wrong before anything has failed, "" when one host serves."""
    if len(owners) == 1:
        return ""
    if not owners:
        return f"nobody serves before anything has failed: {'; '.join(_why_not(one, router.vips) for one in members)}"
    names = {member.config.name for member in router.members}
    reasons = [
        f"{one.field}: {one.first} | {one.second}: {one.effect}"
        for a, b, one in cluster.differences
        if one.instance in names and {a, b} & {member.node for member in router.members}
    ]
    return f"{_both(owners)} both serve before anything has failed" + (f" ({reasons[0]})" if reasons else "")


def _grade(trial: Trial, fault: Fault, outcome: Outcome) -> str:
    last = outcome.after or outcome.during
    if not trial.settled or len(last.owners) != 1:
        return "bad"
    if len(outcome.during.owners) == 1:
        odd = fault.kind == "script" and _is_futile(outcome, fault)
        return "odd" if odd else "good"
    if outcome.during.owners and any(one.kind in SPLITTING for one in trial.faults):
        return "split"
    if len(trial.faults) > 1 and not outcome.during.owners and not any(_able(one) for one in outcome.during.members):
        return "none"
    return "bad"


def _able(member: MemberSeen) -> bool:
    """Whether a host could serve: nothing has befallen it."""
    return member.power and member.role not in ("off", "FAULT") and not member.link_down and not member.isolated


# ---- after the fault ------------------------------------------------------------------------------------------------


def _said(cluster: Cluster, trial: Trial, outcome: Outcome) -> str:
    before, during, fault = outcome.before, outcome.during, trial.faults[-1]
    if not trial.settled:
        return "it does not come to rest: the address goes to and fro"
    if len(trial.faults) == 1 and len(before.owners) != 1 and during.owners == before.owners:
        return f"as before it: {_both(during.owners) + ' both serve' if during.owners else 'nobody serves'}"
    if not during.owners:
        alone = f"; nobody else has {outcome.router.name}" if len(during.members) == 1 else ""
        return "nobody serves: " + "; ".join(_why_not(one, outcome.vips) for one in during.members) + alone
    if len(during.owners) > 1:
        return _said_several(trial, outcome)
    owner = during.owners[0]
    if during.owners == before.owners and not during.outage_ns and not _moved(during):
        return _said_stays(cluster, outcome, fault, owner)
    if during.owners == before.owners:
        return _said_and_back(outcome, fault, owner)
    if not before.owners:
        return f"{owner} serves"
    return _said_moved(outcome, fault, owner)


def _why_not(member: MemberSeen, vips: tuple[Address, ...]) -> str:
    """Why a host doesn't serve."""
    name = member.node
    if not member.power:
        return f"{name} is down"
    if member.role == "off":
        return f"no daemon runs on {name}"
    if member.role == "FAULT":
        return f"{name} is in FAULT ({', '.join(member.faults) or 'its sync group is'})"
    if member.link_down:
        return f"{name}'s interface is down"
    if member.isolated:
        return f"{name} is cut off"
    if member.role == "MASTER":
        lacks = ", ".join(text(vip) for vip in vips)
        return f"{name} is MASTER, but its file has no {lacks}"
    return f"{name} is {member.role}"


def _said_several(trial: Trial, outcome: Outcome) -> str:
    owners, fault = outcome.during.owners, trial.faults[-1]
    kinds = {one.kind for one in trial.faults}
    if kinds & set(SPLITTING):
        one_way = next((one.steps[0].words for one in trial.faults if one.steps[0].words[2:] == ("one way",)), None)
        if one_way is not None and kinds & {"cut"}:
            return f"two masters while {one_way[1]} does not hear {one_way[0]}: both serve"
        return "two masters while the link is cut: both serve"
    if fault.kind in ("stall", "kill"):
        return f"{_both(owners)} both serve: the kernel of {fault.nodes[0]} still has the address"
    if fault.kind == "link":
        return f"{_both(owners)} both serve: they no longer hear each other"
    return f"{_both(owners)} both serve"


def _moved(phase: Phase) -> bool:
    """Whether somebody became master meanwhile."""
    return any(entry.kind == "instance" and entry.state == "MASTER" for entry in phase.entries)


def _said_stays(cluster: Cluster, outcome: Outcome, fault: Fault, owner: str) -> str:
    router, node = outcome.router, fault.nodes[0] if fault.nodes else ""
    if fault.kind == "script":
        use = _use(router, node, fault)
        down = node != owner and router.of(node) is not None and _seen(outcome.during, node).role == "FAULT"
        if use is None and not down:
            return f"{router.name} does not track it: nothing moves"
        if use is not None and node == owner:
            return _said_futile(cluster, outcome, use, owner)
        if not down:
            return f"{owner} stays: it is no worse for it"
        return f"{owner} stays; meanwhile {node} could not take over ({_fault_of(outcome, node)})"
    if fault.kind == "link" and node == owner:
        return f"{owner} stays: {router.name} does not depend on {fault.steps[0].words[1]}"
    if fault.kind == "cut" and owner in fault.nodes:
        return f"{owner} stays: nobody needs to hear a backup"
    if fault.kind in ("restart", "stall", "suspend", "cut", "isolate") or node == owner:
        return f"{owner} stays"
    left = [one.node for one in outcome.during.members if one.role == "BACKUP" and one.node != owner]
    return f"{owner} stays" if left else f"{owner} stays; nobody could take over from it meanwhile"


def _said_and_back(outcome: Outcome, fault: Fault, owner: str) -> str:
    """The owner is the same, and yet it moved, or was away."""
    masters = [e for e in outcome.during.entries if e.kind == "instance" and e.state == "MASTER"]
    others = [entry.node for entry in masters if entry.node != owner]
    outage = outcome.during.outage_ns
    lost = f"nobody serves for {span_text(outage)}" if outage >= MILLISECOND else "no gap"
    if fault.kind == "isolate" and others and owner not in fault.nodes:
        return f"{owner} stays; {others[0]}, cut off, becomes MASTER too, and no client sees it"
    if others:
        back = [entry for entry in masters if entry.node == owner]
        after = _after(back[-1].at_ns - outcome.during.at_ns) if back else ""
        double = _overlap(outcome.during)
        if double and fault.kind == "stall":
            double += f", for {owner}'s kernel keeps the address"
        return f"{others[0]} serves meanwhile, {owner} takes back{after}: {lost}{double}"
    if len(fault.nodes) > 1:
        return f"all begin anew, {owner} is first again: {lost}"
    return f"{owner} is back before anybody takes over: {lost}"


def _after(span_ns: Nanoseconds) -> str:
    return f" after {span_text(span_ns)}" if span_ns >= MILLISECOND else " at once"


def _overlap(phase: Phase) -> str:
    if phase.overlap_ns < BRIEF:
        return ""
    return f"; two serve for {span_text(phase.overlap_ns)}"


def _said_moved(outcome: Outcome, fault: Fault, owner: str) -> str:
    during, router = outcome.during, outcome.router
    config = router.of(owner)
    entry = next((e for e in during.entries if e.node == owner and e.state == "MASTER" and e.kind == "instance"), None)
    if config is None or entry is None:
        return f"{owner} serves"
    was = outcome.before.owners[0] if outcome.before.owners else ""
    old = router.of(was) or config
    seen = next(one for one in during.members if one.node == owner)
    noticed = _noticed(during, fault)
    double = _overlap(during)
    weighted = _weighted(outcome, fault, was)
    if weighted and during.outage_ns < BRIEF:
        gap = "no gap" if not during.outage_ns else f"a gap of {span_text(during.outage_ns)}"
        return f"{noticed}{weighted}: {owner} takes over with {gap}{double}"
    together = _together(outcome, config, old, seen.priority, entry.cause, resigned=_resigned(outcome, fault, was))
    if together:
        return f"{noticed}{was} {together}{double}"
    if _resigned(outcome, fault, was):
        if config.carp is not None:
            return f"{noticed}{was} says farewell: {owner} takes over at once{double}"
        if config.succeeds_at_once:
            return f"{noticed}{was} resigns, and {owner} is its only peer: it takes over at once{double}"
        skew = skew_time(config, seen.priority, _heard_interval(config, old))
        return f"{noticed}{was} resigns: {owner} waits its skew, {span_text(skew)} at priority {seen.priority}{double}"
    if fault.kind == "cut":
        wait = _formula(config, old, seen.priority)
        return f"{owner} does not hear {was}: after {wait} it takes over, and {was} yields"
    if fault.kind in ("stall", "kill"):
        return f"{owner} takes over after {_formula(config, old, seen.priority)}, and keeps it{double}"
    said = f"{noticed}{was} falls silent: {owner} waits {_formula(config, old, seen.priority)}"
    return f"{said}{_cure(config, old, seen.priority, during.outage_ns)}{double}"


def _together(
    outcome: Outcome, config: InstanceConfig, old: InstanceConfig, priority: int, cause: str, *, resigned: bool
) -> str:
    """Where a sync group made it take longer than this router alone would: how."""
    interval = _heard_interval(config, old)
    wait = skew_time(config, priority, interval) if resigned else master_down_interval(config, priority, interval)
    outage = outcome.during.outage_ns
    if not cause.startswith("sync group") or abs(outage - wait) <= BRIEF:
        return ""
    group = cause.partition(":")[0]
    leaves = "resigns" if resigned else "falls silent"
    return f"{leaves}: {group} moves as one, its slowest member after {span_text(outage)}"


def _noticed(phase: Phase, fault: Fault) -> str:
    """How long a failing check took to count."""
    if fault.kind != "script":
        return ""
    down = next((e for e in phase.entries if e.kind == "tracker" and e.state == "DOWN"), None)
    return "" if down is None else f"noticed after {span_text(down.at_ns - phase.at_ns)}; "


def _resigned(outcome: Outcome, fault: Fault, was: str) -> bool:
    """Whether the old owner left with a word: everything but being cut off, or off."""
    if fault.kind in ("stop", "restart"):
        return True
    if fault.kind in ("script", "link"):
        seen = next((one for one in outcome.during.members if one.node == was), None)
        return seen is not None and seen.role in ("FAULT", "BACKUP") and not seen.link_down
    return False


def _heard_interval(config: InstanceConfig, old: InstanceConfig) -> Nanoseconds:
    return config.adver_interval_ns if config.version == 2 else old.adver_interval_ns


def _formula(config: InstanceConfig, old: InstanceConfig, priority: int) -> str:
    """`3 × 1 s + skew 0.609 s (priority 100) = 3.609 s`."""
    if config.carp is not None:
        base, skewed = config.carp.advbase * SECOND, OWNER - 1 - priority
        wait = span_text(down_interval_ns(config.carp, priority))
        return f"{config.carp.dead_ratio} × {span_text(base)} + advskew {skewed}/256 s = {wait}"
    interval = _heard_interval(config, old)
    skew, whole = skew_time(config, priority, interval), master_down_interval(config, priority, interval)
    return (
        f"{config.down_timer_adverts} × {span_text(interval)} + skew {span_text(skew)} (priority {priority})"
        f" = {span_text(whole)}"
    )


def _cure(config: InstanceConfig, old: InstanceConfig, priority: int, outage_ns: Nanoseconds) -> str:
    """How a long outage could be shorter."""
    if config.carp is not None:
        return ""  # advbase counts whole seconds
    if outage_ns < SLOW or _heard_interval(config, old) <= SUGGESTED_NS:
        return ""
    fast = msgspec.structs.replace(config, version=3, adver_interval_ns=SUGGESTED_NS)
    wait = master_down_interval(fast, priority, SUGGESTED_NS)
    version = "version 3 and " if config.version == 2 else ""
    return f"; with {version}advert_int 0.1 it would be {span_text(wait)}"


# ---- checks ---------------------------------------------------------------------------------------------------------


def _use(router: Router, node: str, fault: Fault) -> TrackedUse | None:
    config = router.of(node)
    if config is None:
        return None
    key = (fault.kind.replace("link", "interface"), fault.steps[0].words[1])
    return next((use for use in config.trackers if (use.kind, use.name) == key), None)


def _is_futile(outcome: Outcome, fault: Fault) -> bool:
    """Whether a check of the owner failed, and the address stayed for all that."""
    node = fault.nodes[0]
    return (
        outcome.before.owners == outcome.during.owners == (node,)
        and _use(outcome.router, node, fault) is not None
        and len(outcome.router.members) > 1
        and any(one.role == "BACKUP" for one in outcome.during.members if one.node != node)
    )


def _weighed(use: TrackedUse, before: int, after: int) -> str:
    """`150 − 60 = 90`, from the priority before and after the check failed."""
    sign = "−" if after <= before else "+"
    return f"{before} {sign} {abs(use.weight)} = {after}"


def _weighted(outcome: Outcome, fault: Fault, was: str) -> str:
    """The sum by which a weighted tracker moved an address, or ""."""
    if fault.kind not in ("script", "link") or was not in fault.nodes:
        return ""
    use = _use(outcome.router, was, fault)
    if use is None or not use.weight:
        return ""
    best = _best_rival(outcome, was)
    if best is None:
        return ""
    sum_text = _weighed(use, _seen(outcome.before, was).priority, _seen(outcome.during, was).priority)
    return f"{sum_text} against {best.node}'s {best.priority}"


def _seen(phase: Phase, node: str) -> MemberSeen:
    return next(one for one in phase.members if one.node == node)


def _best_rival(outcome: Outcome, owner: str) -> MemberSeen | None:
    others = [one for one in outcome.during.members if one.node != owner and one.role in ("BACKUP", "MASTER")]
    return max(others, key=lambda one: (one.priority, parse(one.primary) if one.primary else b""), default=None)


def _said_futile(cluster: Cluster, outcome: Outcome, use: TrackedUse, owner: str) -> str:
    """Why the failing check of the owner does not move the address."""
    before, after = _seen(outcome.before, owner), _seen(outcome.during, owner)
    rival = _best_rival(outcome, owner)
    config = outcome.router.of(owner)
    assert config is not None
    if config.priority == OWNER:
        return f"{owner} stays: at priority 255 no check counts"
    if rival is None:
        return f"{owner} stays: nobody is there to take over"
    if not use.weight:
        return f"{owner} stays: the check does not count here"
    sum_text = _weighed(use, before.priority, after.priority)
    against = f"{sum_text} against {rival.node}'s {rival.priority}"
    alone = " alone" if sum(1 for one in config.trackers if one.weight) > 1 else ""
    never = f"this check{alone} can never move the address"
    theirs = outcome.router.of(rival.node)
    if after.priority > rival.priority:
        need = before.priority - rival.priority + 1
        return f"{never}: {against}; its weight would have to be at least {need}"
    if after.priority == rival.priority:
        if theirs is not None and not theirs.preempt:
            return f"{never}: {against} is a tie, and {rival.node} says nopreempt"
        guess = _guess(cluster, outcome.router, owner, rival.node)
        better = after.primary if parse(after.primary) > parse(rival.primary) else rival.primary
        tie = f"the tie goes to the higher address ({better}{guess})" if better == after.primary else (
            "a backup takes over only from a lower priority"
        )
        return f"{never}: {against}, and {tie}"
    if theirs is not None and not theirs.preempt:
        return f"{never}: {against} would do, but {rival.node} says nopreempt: it leaves a living master alone"
    return f"{owner} stays, though {against}"


def _guess(cluster: Cluster, router: Router, *nodes: str) -> str:
    """A remark where an address was made up."""
    for node in nodes:
        config = router.of(node)
        if config is not None and config.source is None and config.interface in cluster.node(node).guessed:
            return ", as guessed"
    return ""


def _fault_of(outcome: Outcome, node: str) -> str:
    seen = _seen(outcome.during, node)
    return ", ".join(seen.faults) or seen.role


# ---- after it was put right -----------------------------------------------------------------------------------------


def _said_after(cluster: Cluster, outcome: Outcome) -> str:
    before, during, after = outcome.before, outcome.during, outcome.after
    if after is None:
        return ""
    if len(before.owners) != 1 and after.owners == before.owners:
        return ""
    if not after.owners:
        return "afterwards nobody serves: " + "; ".join(_why_not(one, outcome.vips) for one in after.members)
    if len(after.owners) > 1:
        return f"afterwards {_both(after.owners)} both serve"
    owner = after.owners[0]
    if after.owners == during.owners:
        if owner in before.owners or not before.owners:
            return ""
        return _said_keeps(outcome, owner, before.owners[0])
    gap = f"a gap of {span_text(after.outage_ns)}" if after.outage_ns >= MILLISECOND else "no gap"
    entry = next(
        (e for e in after.entries if e.node == owner and e.state == "MASTER" and e.kind == "instance"), None
    )
    when = "" if entry is None else _after(entry.at_ns - after.at_ns)
    double = f", two serve for {span_text(after.overlap_ns)}" if after.overlap_ns >= BRIEF else ""
    if len(during.owners) > 1:
        soon = f" within {span_text(after.overlap_ns)}" if after.overlap_ns else ""
        return f"healed, {owner} alone keeps it{soon}{_tie(cluster, outcome, owner, during.owners)}"
    verb = "takes it back" if after.owners == before.owners else "has it then"
    return f"{owner} {verb}{when} with {gap}{double}"


def _tie(cluster: Cluster, outcome: Outcome, owner: str, rivals: tuple[str, ...]) -> str:
    """A remark where two masters had the same priority."""
    priorities = {_seen(outcome.during, node).priority for node in rivals}
    if len(priorities) > 1:
        return ""
    return f": a tie, and its address is higher{_guess(cluster, outcome.router, *rivals)}"


def _said_keeps(outcome: Outcome, owner: str, was: str) -> str:
    """Why the address stays where it went."""
    config = outcome.router.of(was)
    assert outcome.after is not None
    seen = {one.node: one for one in outcome.after.members}
    if config is not None and not config.preempt and seen[was].priority > seen[owner].priority:
        return f"nopreempt on {was}: it stays on {owner} then"
    return f"it stays on {owner} then: {was}'s priority {seen[was].priority} is not above {seen[owner].priority}"


def _both(names: Iterable[str]) -> str:
    return " and ".join(names)


def describe(cluster: Cluster) -> list[str]:
    """What was assumed of the hosts, a line each: their addresses, and where these come from."""
    lines = []
    for node in cluster.nodes:
        for interface in node.interfaces:
            used = [config for config in node.plan.instances if config.interface in (interface.name, "")]
            addresses = list(dict.fromkeys(primary(node, config) for config in used if config.interface))
            addresses = [one for one in addresses if one] or [text(one) for one in interface.addresses[:1]]
            if used:
                guess = " (guessed)" if interface.name in node.guessed else ""
                lines.append(f"{node.name} {interface.name} {', '.join(addresses)}{guess}")
    return lines


def seconds_of(span_ns: Nanoseconds) -> float:
    """A span as seconds, for JSON."""
    return round(span_ns / SECOND, 6)
