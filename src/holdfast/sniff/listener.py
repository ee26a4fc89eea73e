"""The machine: frames and the time go in, reports come out. It does nothing but listen.

A speaker appears with its first packet, changes when a value in its packets does or when a finding comes or goes, and
falls silent when a backup would stop waiting for it (3 intervals and the skew; with BFD the detection time), sooner
when another one speaks in its place, or when it says so itself (priority 0, AdminDown).
"""

from typing import Any

import msgspec

from holdfast.base.time import MILLISECOND, Nanoseconds
from holdfast.dissect.layers import Frame
from holdfast.sniff.judge import judge
from holdfast.sniff.said import GRACE_NS, Key, Said, said_of
from holdfast.sniff.speaker import (
    RESIGNED,
    SILENT,
    SPEAKING,
    Finding,
    Speaker,
    document,
    is_late,
    late_at,
    new_speaker,
    note_gap,
    ranks_above,
)

MOST_SPEAKERS = 1024
"""Beyond that, new ones are only counted: a flood of invented senders must not eat the host."""
MOST_COMPARED = 8
SAME_NS = 2 * MILLISECOND
"""Equal packets so soon after each other are one, captured on its way through several interfaces."""


class Change(msgspec.Struct, frozen=True):
    """A value that is another one now."""

    field: str
    before: Any
    after: Any


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What became known. `event`: appeared, changed or silent; `speaker`: its document, as `document` makes it."""

    time_ns: Nanoseconds
    event: str
    speaker: dict[str, Any]
    changes: tuple[Change, ...] = ()
    found: tuple[Finding, ...] = ()  # what is inconsistent and wasn't before
    settled: tuple[Finding, ...] = ()  # what was inconsistent and isn't any more

    def document(self, start_ns: Nanoseconds) -> dict[str, Any]:
        """The report, fit for JSON; `time_s` counts from `start_ns`."""
        changes = [{"field": one.field, "before": one.before, "after": one.after} for one in self.changes]
        return {"time_s": (self.time_ns - start_ns) / 1e9, "event": self.event, **self.speaker, "changes": changes}


class Listener:
    """Everybody heard so far."""

    def __init__(self) -> None:
        self._speakers: dict[Key, Speaker] = {}
        self._highest: dict[tuple[str, bool, int, tuple[int, ...]], int] = {}  # sequence number of AH, by group
        self._groups: dict[tuple[str, bool, int, tuple[int, ...]], list[Speaker]] = {}
        self._due_ns: Nanoseconds | None = None
        self.uncounted = 0  # packets of speakers beyond MOST_SPEAKERS

    def speakers(self) -> list[Speaker]:
        """Everybody, in the order in which they appeared."""
        return list(self._speakers.values())

    def deadline(self) -> Nanoseconds | None:
        """When somebody will count as silent at the soonest; None when nobody speaks."""
        return self._due_ns

    def hear(self, frame: Frame, now: Nanoseconds) -> list[Report]:
        """A frame arrived at `now`, UTC, which never goes back by more than the network's disorder."""
        reports = self.advance(now)
        said = said_of(frame)
        if said is None:
            return reports
        speaker = self._speakers.get(said.key)
        if speaker is None:
            if len(self._speakers) >= MOST_SPEAKERS:
                self.uncounted += 1
                return reports
            speaker = new_speaker(said, now)
            self._note_sequence(speaker, said, None)
            self._speakers[said.key] = speaker
            self._groups.setdefault(said.key.group, []).append(speaker)
            self._count(speaker, now)
            return reports + self._judged(speaker, "appeared", (), now)
        if self._is_copy(speaker, said, now) or (said == speaker.said and now - speaker.last_ns < SAME_NS):
            return reports
        back = not said.leaves and (speaker.state != SPEAKING or self._was_replaced(speaker, now))
        changes = _changes(speaker.said, said)
        self._again(speaker, said, now, back)
        self._count(speaker, now)
        return reports + self._judged(speaker, "appeared" if back else "changed", changes, now)

    def advance(self, now: Nanoseconds) -> list[Report]:
        """Time has passed: who has fallen silent."""
        if self._due_ns is None or now < self._due_ns:
            return []
        reports: list[Report] = []
        due = [(self._silent_at(one), one) for one in self._speakers.values() if one.state == SPEAKING]
        for at, speaker in sorted((pair for pair in due if pair[0] <= now), key=lambda pair: pair[0]):
            speaker.state = SILENT
            speaker.deaf_to = None
            speaker.yielded_to = next((one.key for one in self._after(speaker)), None)
            reports += self._judged(speaker, "silent", (), at)
        self._due_ns = min((at for at, _ in due if at > now), default=None)
        return reports

    def _silent_at(self, speaker: Speaker) -> Nanoseconds:
        after = self._after(speaker)
        if after:  # another one has taken its place
            return max(late_at(speaker), min(one.last_ns for one in after))
        patience = speaker.said.silent_after_ns
        if speaker.key.protocol == "bfd":  # the other end may have asked for fewer packets
            other = self._speakers.get(_other_end(speaker.key))
            asked_s = other.said.shown["receives_every_s"] if other and other.said.shown.get("version") else 0
            patience = max(patience, speaker.said.shown.get("detect_mult", 1) * round(asked_s * 1e9) + GRACE_NS)
        return speaker.last_ns + patience

    def _is_copy(self, speaker: Speaker, said: Said, now: Nanoseconds) -> bool:
        """Whether it is the same advert for another unicast peer: the rhythm is that of one destination."""
        if said.destination == speaker.said.destination:
            return False
        return now - speaker.last_ns < speaker.said.interval_ns * 3 // 2

    def _rivals(self, speaker: Speaker) -> list[Speaker]:
        """Who else speaks in the same role."""
        return [one for one in self._others(speaker) if one.state == SPEAKING]

    def _was_replaced(self, speaker: Speaker, now: Nanoseconds) -> bool:
        """Whether its last advert is long ago because another one was master meanwhile."""
        return is_late(speaker, now) and bool(self._after(speaker))

    def _after(self, speaker: Speaker) -> list[Speaker]:
        """Who spoke in the same role after its last advert."""
        return [one for one in self._others(speaker) if one.last_ns > speaker.last_ns]

    def _others(self, speaker: Speaker) -> list[Speaker]:
        if speaker.key.number == 0:  # BFD has two ends and no rivals
            return []
        return [one for one in self._groups[speaker.key.group][: MOST_COMPARED + 1] if one is not speaker]

    def _again(self, speaker: Speaker, said: Said, now: Nanoseconds, back: bool) -> None:
        if back:
            speaker.since_ns = now
            speaker.gaps.clear()
            speaker.against.clear()
            for other in self._others(speaker):
                other.against.pop(speaker.key, None)
        elif speaker.state == SPEAKING and not said.leaves and said.destination == speaker.said.destination:
            note_gap(speaker, now)
        if said.mac != speaker.said.mac:
            if said.mac in speaker.macs:
                speaker.alternates = True
            elif len(speaker.macs) < MOST_COMPARED:
                speaker.macs.append(said.mac)
        self._note_sequence(speaker, said, speaker.said.hmac_sequence)
        speaker.said = said

    def _note_sequence(self, speaker: Speaker, said: Said, before: int | None) -> None:
        """AH counts on from master to master, auth_hmac by sender; `before`: what this sender used last."""
        speaker.not_above = None
        if said.ah_sequence is not None:
            highest = self._highest.get(said.key.group, -1)
            if said.ah_sequence <= highest:
                speaker.not_above = highest
            self._highest[said.key.group] = max(highest, said.ah_sequence)
        elif said.hmac_sequence is not None and before is not None and said.hmac_sequence <= before:
            speaker.not_above = before

    def _count(self, speaker: Speaker, now: Nanoseconds) -> None:
        """Take the advert into account: state, counts, the next deadline."""
        speaker.adverts += 1
        speaker.last_ns = now
        if speaker.said.leaves:
            speaker.state, speaker.deaf_to = RESIGNED, None
            return
        speaker.state, speaker.yielded_to = SPEAKING, None
        rivals = self._rivals(speaker)
        if speaker.since_ns == now:
            # with equal versions a backup of lower rank never becomes master beside a better one
            version = speaker.said.shown.get("version")
            better = [one for one in rivals if one.said.shown.get("version") == version and ranks_above(one, speaker)]
            speaker.deaf_to = better[0].key if better and version else None
        else:  # the advert with which it appeared is not one beside the others
            for other in rivals:
                speaker.against[other.key] = speaker.against.get(other.key, 0) + 1
        for one in (speaker, *rivals):
            at = self._silent_at(one)
            self._due_ns = at if self._due_ns is None else min(self._due_ns, at)

    def _judged(self, speaker: Speaker, event: str, changes: tuple[Change, ...], now: Nanoseconds) -> list[Report]:
        """The report about `speaker`, if there is something to tell, and about those whose findings change with it."""
        found, settled = self._judge(speaker)
        reports = []
        if event != "changed" or changes or found or settled:
            reports.append(_report(speaker, event, now, changes, found, settled))
        if changes or event != "changed" or found or settled:
            for other in self._others(speaker):
                found, settled = self._judge(other)
                if found or settled:
                    reports.append(_report(other, "changed", now, (), found, settled))
        return reports

    def _judge(self, speaker: Speaker) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
        key = speaker.key
        others = self._others(speaker)
        strangers: list[Speaker] = []
        twin = {"vrrp": "carp", "carp": "vrrp"}.get(key.protocol)
        if twin and key.number:
            strangers = self._groups.get((twin, *key.group[1:]), [])[:1]
        before, speaker.problems = speaker.problems, judge(speaker, others, strangers)
        topics, topics_before = ({one.topic for one in side} for side in (speaker.problems, before))
        found = tuple(one for one in speaker.problems if one.topic not in topics_before)
        return found, tuple(one for one in before if one.topic not in topics)


def _report(
    speaker: Speaker,
    event: str,
    now: Nanoseconds,
    changes: tuple[Change, ...],
    found: tuple[Finding, ...],
    settled: tuple[Finding, ...],
) -> Report:
    return Report(time_ns=now, event=event, speaker=document(speaker), changes=changes, found=found, settled=settled)


def _changes(before: Said, after: Said) -> tuple[Change, ...]:
    names = dict.fromkeys((*before.shown, *after.shown))
    changed = [Change(name, before.shown.get(name), after.shown.get(name)) for name in names]
    return tuple(one for one in changed if one.before != one.after)


def _other_end(key: Key) -> Key:
    return Key(key.protocol, key.six, key.number, key.vlans, key.session, key.source)
