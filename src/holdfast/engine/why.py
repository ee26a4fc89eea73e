"""Why an instance is as it is, why it does not take over, and what would change that: reasons, from the view alone.

Pure: a view of a node (and what happened before) goes in, a tree of reasons comes out. Each reason has a slug that
stays and a text for people. The priorities of backups are never known, for backups are silent; the one of the router
heard last is, and is said to be of then.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from holdfast.base.address import parse
from holdfast.base.cure import cure
from holdfast.base.time import SECOND, span_text
from holdfast.engine.node import NodeView
from holdfast.vrrp.config import OWNER, TrackedUse
from holdfast.vrrp.priority import contribution
from holdfast.vrrp.view import InstanceView, MasterView, TrackedView

LOWEST, HIGHEST = 1, OWNER - 1
LATE = 1.5
"""A master is called silent after so many of its intervals without an advert."""

HISTORY = 12
TRANSITIONS = 2
"""What led here: at most so many entries, back to the transition before the present state."""

Row = Mapping[str, Any]


class Reason(msgspec.Struct, frozen=True):
    """One reason, and those behind it. `slug` stays; the text's words may change."""

    slug: str
    text: str
    because: tuple["Reason", ...] = ()


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Everything there is to say about the present state of an instance."""

    name: str
    state: str
    since: str
    summary: str
    reasons: tuple[Reason, ...]  # for the state
    against: tuple[Reason, ...]  # why it does not take over; empty for a master
    changes: tuple[Reason, ...]  # what would change it
    warnings: tuple[Reason, ...]
    history: tuple[Row, ...]  # what led here, the oldest first


def explain(
    node: NodeView, name: str, rows: Sequence[Row] = (), incidents: Sequence[Row] = ()
) -> Explanation | None:
    """The explanation of the instance `name`, None when there is none of that name.

    `rows` are the events of before (`engine/journal.py: Entry` as JSON), `incidents` the open ones of `status --json`.
    """
    view = next((one for one in node.instances if one.name == name), None)
    if view is None:
        return None
    about = About(node, view)
    tell = {"MASTER": _master, "BACKUP": _backup, "FAULT": _fault}.get(view.state, _init)
    reasons, against, changes = tell(about)
    return Explanation(
        name=name,
        state=view.state,
        since=view.since,
        summary=against[0].text if against else view.cause,
        reasons=tuple(reasons),
        against=tuple(against),
        changes=tuple(changes),
        warnings=tuple(_warnings(about, incidents)),
        history=history(view, rows),
    )


# ---- what the reasons are made of -----------------------------------------------------------------------------------


class About:
    """An instance, with what is worked out about it once."""

    def __init__(self, node: NodeView, view: InstanceView) -> None:
        self.node, self.view = node, view
        self.weighted = [one for one in view.trackers if one.weight]
        self.swaying = [one for one in self.weighted if one.kind != "file"]  # those that are either up or down
        self.details = {(one.kind, one.name): one.detail for one in node.trackers}
        self.free = not (view.held or view.owner)  # whether trackers sway the priority

    def priority_with(self, changed: Sequence[TrackedView] = (), up: Mapping[str, bool] | None = None) -> int:
        """The effective priority if the trackers in `changed` had the verdict in `up`, by name; no hold counted."""
        if self.view.owner:
            return OWNER
        told = up or {}
        others = [one for one in self.weighted if one not in changed]
        total = self.view.priority + sum(one.contribution for one in others)
        total += sum(contribution(use(one), told[one.name]) for one in changed)
        return min(max(total, LOWEST), HIGHEST)

    def others_of_group(self) -> list[InstanceView]:
        """The other members of its sync group."""
        group = next((one for one in self.node.sync_groups if one.name == self.view.sync_group), None)
        members = group.members if group is not None else []
        return [one for one in self.node.instances if one.name in members and one.name != self.view.name]


def use(tracked: TrackedView) -> TrackedUse:
    """The configuration behind the view of a tracker."""
    return TrackedUse(kind=tracked.kind, name=tracked.name, weight=tracked.weight, reverse=tracked.reverse)


def better_verdict(tracked: TrackedView) -> bool:
    """The verdict that gives a weighted tracker's instance the higher priority."""
    return contribution(use(tracked), True) > contribution(use(tracked), False)


def signed(number: int) -> str:
    """`+20`, `−20`, `±0`."""
    return f"+{number}" if number > 0 else f"−{-number}" if number else "±0"


def ago(span_s: float) -> str:
    """`0.4 s ago`, `4 min 10 s ago`."""
    return f"{span(span_s)} ago"


def span(span_s: float) -> str:
    """A span to the tenth of a second, in whole seconds from a minute on."""
    return f"{span_s:.1f} s" if span_s < 60 else span_text(int(span_s) * SECOND)


def comparison(ours: int, theirs: int) -> str:
    """`priority 82 < 100`."""
    return f"priority {ours} {'<' if ours < theirs else '>' if ours > theirs else '='} {theirs}"


def arithmetic(about: About) -> Reason:
    """How the effective priority comes about."""
    view = about.view
    ours = view.effective_priority
    if view.held is not None:
        until = f"until {view.held.until}" if view.held.until else "until released"
        return Reason("held", f"priority {ours} instead of {about.priority_with()}: held by {view.held.by}, {until}")
    if view.owner:
        return Reason("owner", "priority 255: it owns the addresses, trackers don't sway it")
    counted = [one.contribution for one in about.weighted if one.contribution]
    total = view.priority + sum(counted)
    sums = "".join(f" {'+' if one > 0 else '−'} {abs(one)}" for one in counted)
    text = f"priority {ours} = {view.priority}{sums}" if counted else f"priority {ours}, as configured"
    if total != ours and counted:
        text += f" = {total}, held to {LOWEST} to {HIGHEST}"
    return Reason("priority", text, tuple(_counted(about, one) for one in about.weighted))


def _counted(about: About, one: TrackedView) -> Reason:
    if one.up is None:
        return Reason("tracker", f"{one.kind} {one.name} has no result yet: ±0")
    detail = about.details.get((one.kind, one.name), "") if one.value is None else ""
    said = f" ({detail})" if detail and detail not in ("up", "down") else ""
    reverse = ", reverse" if one.reverse else ""
    word = str(one.value) if one.value is not None else "up" if one.up else "down"
    adds = f"{signed(one.contribution)} (weight {one.weight}{reverse})"
    return Reason("tracker", f"{one.kind} {one.name} is {word}{said}: {adds}")


def _heard(about: About) -> Reason:
    """What is known of the other routers."""
    heard = about.view.last_heard
    if heard is None:
        return Reason("nobody-heard", "no other router was heard: backups are silent, their priorities are unknown")
    return Reason("heard", f"{heard.address} was heard last {ago(heard.ago_s)}, with priority {heard.priority}")


def _event(one: TrackedView, up: bool) -> str:
    """`script check_web fails`, `interface eth1 comes up`."""
    if one.kind == "interface":
        return f"interface {one.name} {'comes up' if up else 'goes down'}"
    if one.kind == "file":
        return f"the number in file {one.name} {'is another than 0' if up else 'is 0'}"
    if one.kind == "process":
        return f"process {one.name} {'runs in the number asked for' if up else 'does not run in the number asked for'}"
    if one.kind == "static":
        return f"the static address {one.name} {'is back' if up else 'can not be kept'}"
    if one.kind == "bfd":
        return f"BFD session {one.name} {'comes up' if up else 'goes down'}"
    return f"{one.kind} {one.name} {'succeeds' if up else 'fails'}"


# ---- MASTER ---------------------------------------------------------------------------------------------------------

Told = tuple[list[Reason], list[Reason], list[Reason]]


def _master(about: About) -> Told:
    view = about.view
    reasons = [Reason("cause", f"it became MASTER: {view.cause}"), arithmetic(about), _heard(about), *_group(about)]
    changes = []
    if about.free:
        changes += [_if_it_fails(about, one) for one in about.swaying if one.up in (better_verdict(one), None)]
    changes += _would_fault(about, "the addresses are released at once, and a backup takes over")
    ours = view.effective_priority
    above = f" (or as much, from an address above {view.source})" if view.source else ""
    if view.carp is not None:
        changes.append(_faster(view))
    elif view.owner:
        changes.append(Reason("owner", "nobody outranks 255: only a fault or a stop here moves the addresses"))
    else:
        changes.append(Reason("outranked", f"a router that advertises more than {ours}{above} takes over"))
    if view.held is not None:
        changes.append(_release(about))
    else:
        changes.append(Reason("switch", f"`holdfast switch {view.name} --away` hands the addresses over"))
    return reasons, [], changes


def _faster(view: InstanceView) -> Reason:
    """What outranks a CARP master: the interval is its rank, and of equals the lower address stays."""
    every = f"advbase {view.carp.advertised_advbase}, advskew {view.carp.advertised_advskew}" if view.carp else ""
    lower = f" (or as often, from an address below {view.source})" if view.source else ""
    text = f"a host that advertises more often than every {span(view.advert_interval_s)} ({every}){lower} takes over"
    return Reason("outranked", text)


def _if_it_fails(about: About, one: TrackedView) -> Reason:
    bad = not better_verdict(one)
    ours = about.priority_with([one], {one.name: bad})
    change = signed(ours - about.view.effective_priority)
    lead = f"if {_event(one, bad)} here ({change}), "
    heard = about.view.last_heard
    if heard is None:
        return Reason(
            "tracker-falls", f"{lead}priority {ours}: a backup above {ours} takes over; their priorities are unknown"
        )
    if ours < heard.priority:
        text = f"{comparison(ours, heard.priority)}: {heard.address} takes over, unless it is nopreempt or gone"
        return Reason("tracker-hands-over", lead + text)
    same = "a backup does not replace an equal master" if ours == heard.priority else f"{heard.address} stays backup"
    return Reason("tracker-stays", f"{lead}{comparison(ours, heard.priority)}: nothing moves, for {same}")


def _would_fault(about: About, consequence: str) -> list[Reason]:
    view = about.view
    events = [_event(one, one.reverse != (one.kind == "file")) for one in view.trackers if not one.weight]
    below = view.base or view.interface
    if view.tracks_interface and f"interface {below} goes down" not in events:
        events.append(f"interface {below} goes down")
    return [Reason("would-fault", f"if {event}: FAULT; {consequence}") for event in events]


def _release(about: About) -> Reason:
    view = about.view
    free = about.priority_with()
    text = f"`holdfast release {view.name}` ends the hold: priority {free} again"
    master = view.last_heard
    if master is not None:
        text += f", against {master.priority} of {master.address} when it was heard last"
    return Reason("release", text)


def _group(about: About) -> list[Reason]:
    others = about.others_of_group()
    if not others:
        return []
    states = ", ".join(f"{one.name} is {one.state}" for one in others)
    return [Reason("group", f"sync group {about.view.sync_group} moves as one: {states}")]


# ---- BACKUP ---------------------------------------------------------------------------------------------------------


def _backup(about: About) -> Told:
    view, master = about.view, about.view.master
    reasons = [Reason("cause", f"it became BACKUP: {view.cause}")]
    if master is not None:
        reasons.append(_master_heard(about, master))
    reasons.append(arithmetic(about))
    against = [*_held_back(about), *(_outranked(about, master) if master is not None else [_listening(about)])]
    against += [Reason("group", text) for text in _group_waits(about)]
    return reasons, against, _backup_changes(about, master)


def _master_heard(about: About, master: MasterView) -> Reason:
    view = about.view
    text = f"{master.address} is master with priority {master.priority}"
    if view.last_heard is None:
        return Reason("master", text)
    silent = view.last_heard.ago_s > LATE * view.master_advert_interval_s
    slug, word = ("silent", "silent for") if silent else ("master", "heard")
    when = span(view.last_heard.ago_s) if silent else ago(view.last_heard.ago_s)
    return Reason(slug, f"{text}, {word} {when}")


def _held_back(about: About) -> list[Reason]:
    held = about.view.held
    if held is None or "--away" not in held.by:
        return []
    until = f"until {held.until}" if held.until else f"until `holdfast release {about.view.name}`"
    return [Reason("held", f"held back by {held.by}: it advertises the lowest priority {until}")]


def _slower(view: InstanceView, master: MasterView, sums: tuple[Reason, ...]) -> list[Reason]:
    """Why a CARP backup leaves its master in place."""
    ours, theirs = view.advert_interval_s, view.master_advert_interval_s
    compared = f"we would advertise every {span(ours)}, {master.address} does every {span(theirs)}"
    if ours > theirs:
        return [Reason("lower-priority", f"{compared}: the faster one is master", sums)]
    if ours == theirs:
        return [Reason("equal-priority", f"{compared}: a backup does not replace an equal master", sums)]
    if not view.preempt:
        text = f"{compared}, but without preempt: it does not take over from a living master"
        return [Reason("nopreempt", text, sums)]
    delay = f"; preempt_delay ends in {span(view.preempt_in_s)}" if view.preempt_in_s is not None else ""
    return [Reason("outranks", f"{compared}: it takes over at its next advert{delay}", sums)]


def _listening(about: About) -> Reason:
    span_s = about.view.takes_over_in_s or 0.0
    return Reason("listening", f"no master is heard: it takes over in {span(span_s)} unless one is")


def _outranked(about: About, master: MasterView) -> list[Reason]:
    view = about.view
    ours, theirs = view.effective_priority, master.priority
    sums = (arithmetic(about),)
    if view.carp is not None:
        return _slower(view, master, sums)
    if theirs == OWNER:
        return [Reason("owner", f"{master.address} owns the addresses (priority 255): nobody outranks it")]
    if ours < theirs:
        return [Reason("lower-priority", f"{comparison(ours, theirs)}: {master.address} outranks this node", sums)]
    if ours == theirs:
        text = f"{comparison(ours, theirs)}: a backup does not replace an equal master"
        return [Reason("equal-priority", text, (*_tie(about, master), *sums))]
    if not view.preempt:
        text = f"{comparison(ours, theirs)}, but nopreempt: it does not take over from a living master"
        return [Reason("nopreempt", text, sums)]
    if view.preempt_in_s is not None:
        left = f"preempt_delay {span(view.preempt_delay_s)} has {span(view.preempt_in_s)} left"
        return [Reason("preempt-delay", f"{comparison(ours, theirs)}, but {left}", sums)]
    if _group_waits(about):
        return [Reason("outranks", f"{comparison(ours, theirs)}: it outranks {master.address}", sums)]
    span_s = view.takes_over_in_s or 0.0
    return [Reason("about-to", f"{comparison(ours, theirs)}: it takes over in {span(span_s)}", sums)]


def _tie(about: About, master: MasterView) -> list[Reason]:
    ours = about.view.source
    if ours is None:
        return []
    mine, theirs = parse(ours), parse(master.address)
    stays, word = (ours, "this node") if mine > theirs else (master.address, "it")
    text = f"were both master at once, {word} would stay, for {stays} is the higher address"
    return [Reason("tie", text)]


def _group_waits(about: About) -> list[str]:
    lines = []
    for other in about.others_of_group():
        group = f"sync group {about.view.sync_group} moves as one, and {other.name}"
        if other.state in ("FAULT", "INIT"):
            lines.append(f"{group} is {other.state}: {other.cause}")
        elif other.state == "BACKUP" and other.master is not None and not _would_take_over(other):
            lines.append(f"{group} follows {other.master.address} with priority {other.master.priority}")
    return lines


def _would_take_over(view: InstanceView) -> bool:
    """Whether a backup outranks the master it hears and may take over from it."""
    outranks = view.master is not None and view.effective_priority > view.master.priority
    return outranks and view.preempt and view.preempt_in_s is None


def _backup_changes(about: About, master: MasterView | None) -> list[Reason]:
    view = about.view
    changes: list[Reason] = []
    if master is not None:
        after = f"{span(view.master_down_interval_s)} after its last advert, unless a better backup does"
        changes.append(Reason("silence", f"if {master.address} falls silent: this node takes over {after}"))
        if about.free:
            good = [one for one in about.swaying if one.up is not None and one.up != better_verdict(one)]
            changes += [_if_it_recovers(about, [one], master) for one in good]
            if len(good) > 1:
                changes.append(_if_it_recovers(about, good, master))
        if not view.preempt and view.effective_priority > master.priority:
            changes.append(Reason("nopreempt", "without nopreempt it would take over at once"))
    changes += _would_fault(about, "it could not take over")
    if view.held is not None:
        changes.append(_release(about))
    elif master is None or master.priority < OWNER:
        changes.append(Reason("switch", f"`holdfast switch {view.name} --here` takes the addresses over now"))
    return changes


def _if_it_recovers(about: About, which: list[TrackedView], master: MasterView) -> Reason:
    verdicts = {one.name: better_verdict(one) for one in which}
    ours, theirs = about.priority_with(which, verdicts), master.priority
    change = signed(ours - about.view.effective_priority)
    events = " and ".join(_event(one, verdicts[one.name]) for one in which)
    lead = f"if {events} here ({change}), {comparison(ours, theirs)}: "
    if ours > theirs and about.view.preempt:
        return Reason("tracker-takes-over", f"{lead}this node takes over")
    if ours > theirs:
        return Reason("tracker-nopreempt", f"{lead}nothing moves, for nopreempt holds it back")
    same = "a backup does not replace an equal master" if ours == theirs else f"{master.address} still outranks it"
    return Reason("tracker-stays", f"{lead}nothing moves, for {same}")


# ---- FAULT, INIT ----------------------------------------------------------------------------------------------------


def _fault(about: About) -> Told:
    view = about.view
    reasons = [_one_fault(about, fault) for fault in view.faults or [view.cause]]
    against = [Reason("fault", f"in FAULT it neither advertises nor takes over: {reasons[0].text}")]
    text = f"when {_gone(reasons)}, it becomes BACKUP and stands for election with priority {about.priority_with()}"
    changes = [Reason("recovers", text)]
    changes += [Reason("cure", said) for reason in reasons for said in [cure(reason.text)] if said]
    return reasons, against, changes


def _gone(faults: list[Reason]) -> str:
    if len(faults) == 1:
        return f"this is no longer so: {faults[0].text}"
    return f"none of its {len(faults)} faults is left"


def _one_fault(about: About, fault: str) -> Reason:
    if fault.startswith("sync group "):
        members = [one for one in about.others_of_group() if one.faults and f": {one.name} is in FAULT" in fault]
        behind = tuple(Reason("member-fault", f"{one.name}: {text}") for one in members for text in one.faults)
        return Reason("group-fault", fault, behind)
    for one in about.view.trackers:
        if not one.weight and fault.startswith(f"{one.kind} {one.name} is "):
            detail = about.details.get((one.kind, one.name), "")
            slug = f"{one.kind}-fault"
            return Reason(slug, fault, (Reason("detail", detail),) if detail not in ("", "up", "down") else ())
    return Reason("interface-fault" if fault.startswith("interface ") else "fault", fault)


def _init(about: About) -> Told:
    view = about.view
    waiting: list[Reason] = []
    if view.undecided:
        waiting.append(Reason("undecided", f"it waits for the first result of {', '.join(view.undecided)}"))
    if view.starts_in_s:
        waiting.append(Reason("start-delay", f"its start delay has {span(view.starts_in_s)} left"))
    waiting += [Reason("group", text) for text in _group_waits(about)]
    waiting = waiting or [Reason("starting", view.cause)]
    begins = Reason("begins", "it becomes BACKUP when this is over")
    return [Reason("cause", f"it has not begun: {view.cause}")], waiting, [begins]


# ---- warnings, and what happened before -----------------------------------------------------------------------------


def _warnings(about: About, incidents: Sequence[Row]) -> list[Reason]:
    view = about.view
    found = [
        Reason("split-brain", f"split brain: {one.get('text')}; {one.get('cure')}")
        for one in incidents
        if one.get("instance") == view.name
    ]
    if view.owner and about.weighted:
        names = ", ".join(f"{one.kind} {one.name}" for one in about.weighted)
        text = f"an address owner has 255 whatever its trackers say: {names} can't move the addresses"
        found.append(Reason("weight-ignored", text))
    heard = view.last_heard
    if view.state == "MASTER" and about.free and heard is not None and heard.priority > LOWEST:  # 1: it was held back
        found += _powerless(about, heard.address, heard.priority)
    if view.statistics.get("address_list_errors"):
        text = f"{view.statistics['address_list_errors']} adverts listed other addresses than ours: the files differ"
        found.append(Reason("address-list", text))
    if not view.accept and view.state == "MASTER":
        found.append(Reason("no-accept", "no_accept: packets to the addresses themselves are dropped, pings too"))
    return found


def _powerless(about: About, address: str, theirs: int) -> list[Reason]:
    """Checks that can't move the addresses, by the priority the other router was heard with."""
    worst_of_all = about.priority_with(about.swaying, {one.name: not better_verdict(one) for one in about.swaying})
    found = []
    for one in about.swaying:
        good = better_verdict(one)
        best, worst = (about.priority_with([one], {one.name: up}) for up in (good, not good))
        if worst < theirs:
            continue
        why = "a backup does not replace an equal master" if worst == theirs else f"that is still more than {theirs}"
        text = (
            f"{one.kind} {one.name} can never move the addresses to {address}, if that has the priority it was heard "
            f"with: {best} − {best - worst} = {worst} against {theirs}, and {why}"
        )
        if worst_of_all < theirs:
            text += "; only together with others"
        found.append(Reason("check-cannot-move", text))
    return found


def history(view: InstanceView, rows: Sequence[Row]) -> tuple[Row, ...]:
    """Of what happened before, what led to the present state: back to the transition before it."""
    trackers = {(one.kind, one.name) for one in view.trackers} | {("interface", view.base or view.interface)}
    found: list[Row] = []
    transitions = 0
    for row in reversed(rows):
        kind, name = row.get("kind"), row.get("name")
        own = name == view.name and kind != "tracker" and row.get("of") != "group"
        if own or kind in ("reload", "daemon") or (kind == "tracker" and (row.get("of"), name) in trackers):
            found.append(row)
            transitions += own and kind == "state"
        if transitions >= TRANSITIONS or len(found) >= HISTORY:
            break
    return tuple(reversed(found))
