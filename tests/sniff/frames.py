"""Frames as a host would send them, with what a test wants to be different."""

from typing import Any

from holdfast.base.address import Address, Mac, parse
from holdfast.base.time import SECOND, seconds
from holdfast.carp.packet import CarpAdvert, encode_carp
from holdfast.dissect.frame import dissect
from holdfast.dissect.layers import Frame
from holdfast.sniff.listener import Listener, Report
from holdfast.vrrp.hmac_trailer import sign
from holdfast.vrrp.packet import Advert, ChecksumForm, encode_ipv4, encode_vrrp
from tests.decode.encoding import mac

GROUP, GROUP_6 = parse("224.0.0.18"), parse("ff02::12")


def vrrp(
    host: int = 1,
    *,
    version: int = 3,
    vrid: int = 51,
    priority: int = 100,
    every_s: float = 1,
    vips: tuple[str, ...] = ("192.0.2.100",),
    source: str = "",
    to: str = "",
    from_mac: str = "",
    ttl: int = 255,
    form: ChecksumForm = ChecksumForm.PSEUDO_HEADER,
    password: bytes = b"",
    key: bytes = b"",
    sequence: int = 1,
    vlan: int = 0,
) -> Frame:
    """The advert of 192.0.2.HOST (fe80::HOST when its addresses are IPv6)."""
    six = ":" in vips[0] if vips else False
    sender = parse(source or (f"fe80::{host:x}" if six else f"192.0.2.{host}"))
    destination = parse(to) if to else GROUP_6 if six else GROUP
    advert = Advert(
        version=version,
        vrid=vrid,
        priority=priority,
        addresses=tuple(parse(one) for one in vips),
        adver_interval_ns=seconds(every_s),
        auth_type=1 if password else 0,
        auth_data=password.ljust(8, b"\0"),
    )
    message = encode_vrrp(advert, source=sender, destination=destination, checksum_form=form)
    if key:
        message = sign(message, key=key, key_id=1, sequence=sequence, source=sender, destination=destination)
    return ethernet(host, sender, destination, message, from_mac, ttl, vlan)


def carp(host: int = 1, *, vhid: int = 7, advbase: int = 1, advskew: int = 0) -> Frame:
    """The CARP advert of 192.0.2.HOST."""
    advert = CarpAdvert(vhid=vhid, advbase=advbase, advskew=advskew, counter=1, hmac=bytes(20))
    return ethernet(host, parse(f"192.0.2.{host}"), GROUP, encode_carp(advert), "", 255, 0)


def ethernet(
    host: int, source: Address, destination: Address, message: bytes, from_mac: str, ttl: int, vlan: int
) -> Frame:
    sender = mac(from_mac) if from_mac else Mac(bytes((2, 0, 0, 0, 0, host)))
    head = bytes.fromhex("01005e000012") + sender + (b"\x81\x00" + vlan.to_bytes(2, "big") if vlan else b"")
    if len(source) == 4:
        return dissect(1, head + b"\x08\x00" + encode_ipv4(message, source, destination, ttl=ttl))
    ip = b"\x6c\0\0\0" + len(message).to_bytes(2, "big") + bytes((112, ttl)) + source + destination
    return dissect(1, head + b"\x86\xdd" + ip + message)


Event = tuple[float, Frame]


def heard(*events: Event, until_s: float = 0) -> tuple[Listener, list[Report]]:
    """What a listener tells of frames at these seconds, and of the time up to `until_s`."""
    listener, reports = Listener(), []
    for at_s, frame in sorted(events, key=lambda event: event[0]):
        reports += listener.hear(frame, seconds(at_s))
    if until_s:
        reports += listener.advance(seconds(until_s))
    return listener, reports


def every(seconds_between: float, times: int, start_s: float = 0, **what: Any) -> list[Event]:
    """The same advert `times` times."""
    return [(start_s + number * seconds_between, vrrp(**what)) for number in range(times)]


def told(reports: list[Report]) -> list[tuple[float, str, str]]:
    """(seconds, who, event) of each report."""
    return [(round(one.time_ns / SECOND, 3), one.speaker["source"], one.event) for one in reports]


def topics(listener: Listener) -> dict[str, list[str]]:
    """Source → the topics of its findings."""
    found: dict[str, list[str]] = {}
    for speaker in listener.speakers():
        from holdfast.sniff.speaker import document

        shown = document(speaker)
        found[shown["source"]] = [one["topic"] for one in shown["problems"]]
    return found


