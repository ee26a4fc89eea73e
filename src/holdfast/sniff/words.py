"""Reports in words, for an operator."""

from typing import Any

from holdfast.base.time import SECOND, span_text
from holdfast.sniff.listener import Change, Report

_NAMES = {"interval_s": "interval", "receives_every_s": "receives every", "detect_mult": "multiplier", "ttl": "TTL",
          "mac": "MAC", "auth": "authentication"}  # fmt: skip


def name(speaker: dict[str, Any]) -> str:
    """`VRRP 51 192.0.2.11`, `CARP 7 192.0.2.12`, `BFD 192.0.2.11 to 192.0.2.12`."""
    protocol = speaker["protocol"].upper()
    if protocol == "BFD":
        return f"BFD {speaker['source']} to {speaker['destination']}"
    number = speaker.get("vrid") or speaker.get("vhid") or "?"
    vlans = f" in VLAN {'.'.join(map(str, speaker['vlans']))}" if speaker.get("vlans") else ""
    return f"{protocol} {number}{vlans} {speaker['source']}"


def line(report: Report) -> str:
    """What happened, without the findings."""
    speaker = report.speaker
    if report.event == "appeared":
        return f"{name(speaker)} is heard: {description(speaker)}"
    if report.event == "silent":
        heir = speaker["yielded_to"]
        return f"{name(speaker)} has yielded to {heir}" if heir else f"{name(speaker)} has fallen silent"
    if not report.changes:
        return name(speaker)
    if speaker["state"] == "resigned":
        how = "is administratively down" if speaker["protocol"] == "bfd" else "resigns"
        return f"{name(speaker)} {how}"
    return f"{name(speaker)}: {', '.join(_change(one) for one in report.changes)}"


def _change(change: Change) -> str:
    return f"{_NAMES.get(change.field, change.field)} {_value(change.field, change.before)} → " + _value(
        change.field, change.after
    )


def _value(field: str, value: Any) -> str:
    if value is None:
        return "?"
    if field.endswith("_s"):
        return seconds(value)
    if isinstance(value, list):
        return " ".join(value[:4]) + (f" (+{len(value) - 4})" if len(value) > 4 else "")
    return str(value).replace("_", " ") if field == "checksum" else str(value)


def seconds(value: float) -> str:
    """A span given in seconds, as people read it."""
    return span_text(round(value * SECOND))


def description(speaker: dict[str, Any]) -> str:
    """What its packets say."""
    if "version" not in speaker:
        return "its packets are not understood"
    every = seconds(speaker["interval_s"])
    mac = f", from {speaker['mac']}" if speaker.get("mac") else ""
    if speaker["protocol"] == "bfd":
        why = "" if speaker["diagnostic"].startswith("no ") else f" ({speaker['diagnostic']})"
        return f"{speaker['session']}{why}, sends every {every}, multiplier {speaker['detect_mult']}{mac}"
    if speaker["protocol"] == "carp":
        return f"advbase {speaker['advbase']} advskew {speaker['advskew']}, every {every}{mac}"
    auth = "" if speaker["auth"] == "none" else f", {speaker['auth']}"
    addresses = _value("addresses", speaker["addresses"]) or "no address"
    return f"version {speaker['version']}, priority {speaker['priority']}, every {every}{auth}{mac}: {addresses}"


def rank(speaker: dict[str, Any]) -> str:
    """The priority, or what stands in its place: `150`, `1+100/256`, `Up`."""
    if "priority" in speaker:
        return str(speaker["priority"])
    if "advbase" in speaker:
        return f"{speaker['advbase']}+{speaker['advskew']}/256"
    return str(speaker.get("session", "-"))
