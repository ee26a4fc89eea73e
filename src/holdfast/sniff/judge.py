"""What is inconsistent about a speaker: in itself, and beside the others of the same virtual router."""

from collections.abc import Iterable

from holdfast.base.address import is_link_local, text
from holdfast.base.time import MILLISECOND, SECOND, span_text
from holdfast.sniff.said import Said
from holdfast.sniff.speaker import SPEAKING, Finding, Speaker

VIRTUAL_MAC = b"\x00\x00\x5e\x00"
BOTH_SENT = {"vrrp": 2, "carp": 3}
"""How many adverts each of two must have sent beside the other to count as masters at once: a loser of an election may
send one more, ucarp two."""
REFUSED = ("version", "auth", "password")
"""Findings for which two routers refuse each other's adverts, whatever their make."""
GAPS_NEEDED = 4
CLOCK_WINDOW_S = 5
"""How far auth_hmac lets clocks differ where nothing else is configured."""
_BLIND_NS = 3 * MILLISECOND


def judge(speaker: Speaker, others: Iterable[Speaker], strangers: Iterable[Speaker]) -> tuple[Finding, ...]:
    """The findings about `speaker`. `others`: of the same group; `strangers`: another protocol, the same number."""
    found = [Finding("packet", one) for one in speaker.said.problems]
    if speaker.said.shown.get("version") is None:
        return tuple(found)
    found += _alone(speaker)
    for other in others:
        if other.said.shown.get("version") is not None:
            found += _beside(speaker, other)
    found += [
        Finding("clash", f"{one.key.protocol.upper()} with the same number is spoken by {text(one.key.source)}: "
                         f"the two would share a virtual MAC")
        for one in strangers
    ]  # fmt: skip
    return tuple(found)


def _alone(speaker: Speaker) -> list[Finding]:
    said, found = speaker.said, []
    key = said.key
    if key.protocol == "vrrp":
        if key.six and said.multicast and not is_link_local(key.source):
            found.append(Finding("source", "its source is not link-local: a router on this network alone may speak"))
        addresses = said.shown["addresses"]
        if len(set(addresses)) < len(addresses):
            found.append(Finding("addresses", "an address stands twice in its list"))
        family, vrid = (2 if key.six else 1), key.number
        mac = said.mac
        if mac[:4] == VIRTUAL_MAC and tuple(mac[4:6]) != (family, vrid):
            whose = {1: "IPv4", 2: "IPv6"}.get(mac[4], "no")
            found.append(Finding("mac", f"it sends from the virtual MAC of {whose} VRID {mac[5]}"))
    found += _replay(speaker)
    if speaker.alternates:
        macs = " and ".join(mac.hex(":") for mac in speaker.macs[:3])
        found.append(Finding("mac", f"two hosts use its address: {macs}"))
    if key.protocol != "bfd":
        found += _rhythm(speaker)
    return found


def _replay(speaker: Speaker) -> list[Finding]:
    said, found = speaker.said, []
    if speaker.not_above is not None:
        sequence = said.ah_sequence if said.ah_sequence is not None else said.hmac_sequence
        words = f"its sequence number {sequence} is not above {speaker.not_above}, heard before: receivers drop it"
        found.append(Finding("replay", words))
    if said.hmac_sequence is not None:
        ahead_s = ((said.hmac_sequence >> 32) - speaker.last_ns // SECOND + 2**31) % 2**32 - 2**31
        if abs(ahead_s) > CLOCK_WINDOW_S:
            side = "ahead" if ahead_s > 0 else "behind"
            words = (
                f"the clock in its adverts is {span_text(abs(ahead_s) * SECOND)} {side} of here: receivers may drop it"
            )
            found.append(Finding("clock", words))
    return found


def _rhythm(speaker: Speaker) -> list[Finding]:
    announced, found = speaker.said.interval_ns, []
    if len(speaker.gaps) >= GAPS_NEEDED:
        median = speaker.median_gap_ns()
        if abs(median - announced) > announced * 15 // 100 + _BLIND_NS:
            words = f"it announces an advert every {span_text(announced)} and sends one every {span_text(median)}"
            found.append(Finding("interval", words))
    if speaker.late:
        most = span_text(speaker.longest_ns)
        words = f"{speaker.late} of {speaker.adverts} adverts came late, up to {most} after the one before"
        found.append(Finding("late", words))
    return found


def _beside(speaker: Speaker, other: Speaker) -> list[Finding]:
    mine, theirs, found = speaker.said, other.said, []
    whom = text(other.key.source)
    need = BOTH_SENT.get(speaker.key.protocol)
    if speaker.deaf_to == other.key and other.state == SPEAKING:
        words = f"it became master though {whom} is and ranks above it: it does not hear it, or drops its adverts"
        found.append(Finding("deaf", words))
    if (
        need
        and speaker.state == other.state == SPEAKING
        and speaker.against.get(other.key, 0) >= need
        and other.against.get(speaker.key, 0) >= need
    ):
        found.append(Finding("two-masters", f"{whom} is master too{_ranks(theirs, mine)}"))
    if speaker.key.protocol != "vrrp":
        return found
    if mine.shown["version"] != theirs.shown["version"]:
        words = f"it speaks version {mine.shown['version']}, {whom} {theirs.shown['version']}"
        disagreements = [Finding("version", f"{words}: each drops the other's adverts")]
    else:
        disagreements = _disagreements(mine, theirs, whom)
    found += disagreements
    if speaker.yielded_to == other.key and any(one.topic in REFUSED for one in disagreements):
        words = f"it may be master still: it drops the adverts of {whom}, and keepalived sends none while it drops some"
        found.append(Finding("hidden", words))
    if mine.multicast != theirs.multicast:
        kinds = ("multicast", "unicast") if mine.multicast else ("unicast", "multicast")
        found.append(Finding("transport", f"it sends {kinds[0]}, {whom} {kinds[1]}"))
    if mine.mac and theirs.mac and _virtual(mine) != _virtual(theirs):
        kinds = ("the virtual MAC", "its own") if _virtual(mine) else ("its own MAC", "the virtual one")
        words = f"it sends from {kinds[0]}, {whom} from {kinds[1]}: the address changes its MAC with the master"
        found.append(Finding("mac", words))
    return found


def _disagreements(mine: Said, theirs: Said, whom: str) -> list[Finding]:
    found = []
    only_mine = [one for one in mine.shown["addresses"] if one not in theirs.shown["addresses"]]
    only_theirs = [one for one in theirs.shown["addresses"] if one not in mine.shown["addresses"]]
    if only_mine or only_theirs:
        parts = [f"{' '.join(only_mine[:3])} only here"] if only_mine else []
        parts += [f"{' '.join(only_theirs[:3])} only from {whom}"] if only_theirs else []
        found.append(Finding("addresses", f"another list of addresses than {whom}: {', '.join(parts)}"))
    if mine.shown["interval_s"] != theirs.shown["interval_s"]:
        effect = ": each drops the other's adverts" if mine.shown["version"] == 2 else ""
        spans = [span_text(round(one.shown["interval_s"] * SECOND)) for one in (mine, theirs)]
        found.append(Finding("intervals", f"it announces an advert every {spans[0]}, {whom} every {spans[1]}{effect}"))
    auth, their_auth = (one.shown["auth"].partition(" ")[0] for one in (mine, theirs))
    if auth != their_auth:
        words = [{"none": "no authentication"}.get(one, one) for one in (auth, their_auth)]
        found.append(Finding("auth", f"it uses {words[0]}, {whom} {words[1]}: each drops the other's adverts"))
    elif mine.password != theirs.password:
        found.append(Finding("password", f"another password than {whom}: each drops the other's adverts"))
    form, their_form = mine.shown["checksum"], theirs.shown["checksum"]
    if form != their_form and "wrong" not in (form, their_form):
        words = [one.replace("_", " ") for one in (form, their_form)]
        found.append(Finding("checksum", f"its checksum: {words[0]}, that of {whom}: {words[1]}"))
    return found


def _virtual(said: Said) -> bool:
    return said.mac[:4] == VIRTUAL_MAC


def _ranks(theirs: Said, mine: Said) -> str:
    if "priority" not in mine.shown:
        return ""
    return f" (priority {theirs.shown['priority']} there, {mine.shown['priority']} here)"
