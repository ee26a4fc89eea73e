"""A sender as it was heard over time."""

from collections import deque
from typing import Any

import msgspec

from holdfast.base.address import Mac, text
from holdfast.base.time import MILLISECOND, SECOND, Nanoseconds
from holdfast.sniff.said import Key, Said

SPEAKING, SILENT, RESIGNED = "speaking", "silent", "resigned"
GAPS_KEPT = 64
LATE_NS = 20 * MILLISECOND
"""How much later than half an interval an advert must be to count: a busy host's timer is not the network's fault."""


class Speaker(msgspec.Struct, kw_only=True):
    """One sender. Times are of the frames' clock. `against`: adverts sent since each rival was last there to hear."""

    said: Said
    since_ns: Nanoseconds
    last_ns: Nanoseconds
    first_ns: Nanoseconds
    state: str = SPEAKING
    adverts: int = 0
    late: int = 0
    longest_ns: Nanoseconds = 0  # of the gaps that were late
    deaf_to: Key | None = None  # it appeared while this one spoke, who ranks above it
    yielded_to: Key | None = None  # it fell silent while this one spoke, who ranks above it
    gaps: deque[Nanoseconds]
    macs: list[Mac]
    alternates: bool = False  # an earlier MAC came back: two senders use one address
    not_above: int | None = None  # its last sequence number is not above this one, heard before: receivers drop it
    against: dict[Key, int]
    problems: tuple["Finding", ...] = ()

    @property
    def key(self) -> Key:
        """Who it is."""
        return self.said.key

    def median_gap_ns(self) -> Nanoseconds:
        """The middle one of the last gaps between adverts; 0 when there is none."""
        return sorted(self.gaps)[len(self.gaps) // 2] if self.gaps else 0


class Finding(msgspec.Struct, frozen=True):
    """Something inconsistent: `topic` is one word and stays the same while the numbers in `text` move on."""

    topic: str
    text: str


def new_speaker(said: Said, now: Nanoseconds) -> Speaker:
    """Somebody who has just been heard for the first time."""
    return Speaker(
        said=said, since_ns=now, last_ns=now, first_ns=now, gaps=deque(maxlen=GAPS_KEPT), macs=[said.mac], against={}
    )


def note_gap(speaker: Speaker, now: Nanoseconds) -> None:
    """Another advert came: how long it was after the one before, whether that is late."""
    speaker.gaps.append(now - speaker.last_ns)
    if is_late(speaker, now):
        speaker.late += 1
        speaker.longest_ns = max(speaker.longest_ns, now - speaker.last_ns)


def is_late(speaker: Speaker, now: Nanoseconds) -> bool:
    """Whether its next advert should have come well before `now`."""
    return now >= late_at(speaker)


def late_at(speaker: Speaker) -> Nanoseconds:
    """From when on its next advert counts as late."""
    return speaker.last_ns + speaker.said.interval_ns * 3 // 2 + LATE_NS


def ranks_above(one: Speaker, other: Speaker) -> bool:
    """Whether `one` wins against `other` by what both last said, the address left aside."""
    if one.key.protocol == "carp":
        return one.said.interval_ns < other.said.interval_ns
    return bool(one.said.shown.get("priority", 0) > other.said.shown.get("priority", 0))


def document(speaker: Speaker) -> dict[str, Any]:
    """The speaker, fit for JSON. Times in seconds; `heard_interval_s` is null until there are two adverts."""
    said, key, gaps = speaker.said, speaker.key, speaker.gaps
    numbered = {"vrrp": {"vrid": key.number}, "carp": {"vhid": key.number}}.get(key.protocol, {})
    heard = None
    if gaps:
        heard = {
            "median": speaker.median_gap_ns() / SECOND,
            "least": min(gaps) / SECOND,
            "most": max(gaps) / SECOND,
        }
    return {
        "protocol": key.protocol,
        "family": "ipv6" if key.six else "ipv4",
        **numbered,
        **({"vlans": list(key.vlans)} if key.vlans else {}),
        "source": text(key.source),
        "destination": text(said.destination),
        **said.shown,
        "state": speaker.state,
        "yielded_to": text(speaker.yielded_to.source) if speaker.yielded_to else None,
        "adverts": speaker.adverts,
        "heard_interval_s": heard,
        "late": speaker.late,
        "problems": [{"topic": one.topic, "text": one.text} for one in speaker.problems],
    }
