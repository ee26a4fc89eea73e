"""What one packet says of its sender: the values that are compared with its earlier ones and with other senders'."""

from typing import Any

import msgspec

from holdfast.base.address import Address, Mac, is_multicast, mac_text, text
from holdfast.base.time import MILLISECOND, SECOND, Nanoseconds
from holdfast.bfd.packet import DIAGNOSTICS, BfdState, ControlPacket
from holdfast.carp.packet import BOW_OUT, CarpAdvert
from holdfast.dissect.layers import Frame
from holdfast.dissect.words import authentication

GRACE_NS = 10 * MILLISECOND
"""Beyond the protocol's own patience: what passes between a sender's timer and the kernel's stamp here."""


class Key(msgspec.Struct, frozen=True):
    """Who speaks, in which role. `number`: VRID or vhid, 0 with BFD and where there was no telling."""

    protocol: str  # vrrp, carp, bfd
    six: bool
    number: int
    vlans: tuple[int, ...]
    source: Address
    session: Address = Address(b"")  # BFD: the other end

    @property
    def group(self) -> tuple[str, bool, int, tuple[int, ...]]:
        """What those have in common that must agree."""
        return self.protocol, self.six, self.number, self.vlans


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """One packet. `shown`: its values by name, fit for JSON; a difference in any of them is a change.

    `silent_after_ns`: when a backup, or the other end of a session, stops waiting for the next one. `leaves`: the
    sender says that nothing more will come.
    """

    key: Key
    shown: dict[str, Any]
    interval_ns: Nanoseconds
    silent_after_ns: Nanoseconds
    leaves: bool
    destination: Address
    mac: Mac
    password: bytes = b""
    ah_sequence: int | None = None
    hmac_sequence: int | None = None  # its upper 32 bits are UTC seconds
    problems: tuple[str, ...] = ()

    @property
    def multicast(self) -> bool:
        """Whether it was meant for everybody on the network."""
        return is_multicast(self.destination)


def said_of(frame: Frame) -> Said | None:
    """What a frame says; None when it is neither VRRP nor CARP nor BFD."""
    if frame.kind not in ("vrrp", "carp", "bfd") or frame.source is None or frame.destination is None:
        return None
    if frame.vrrp:
        return _vrrp(frame)
    if frame.carp:
        return _carp(frame, frame.carp.advert)
    if frame.bfd:
        return _bfd(frame, frame.bfd)
    return _said(frame, 0, {}, SECOND, 3 * SECOND, False)


def _said(
    frame: Frame,
    number: int,
    shown: dict[str, Any],
    interval_ns: Nanoseconds,
    patience_ns: Nanoseconds,
    leaves: bool,
    password: bytes = b"",
) -> Said:
    assert frame.source is not None
    assert frame.destination is not None
    session = frame.destination if frame.kind == "bfd" else Address(b"")
    vlans = frame.ethernet.vlans if frame.ethernet else ()
    mac = frame.source_mac or Mac(b"")
    link = {"ttl": frame.ttl} | ({"mac": mac_text(mac)} if mac else {})
    return Said(
        key=Key(frame.kind, frame.ipv6 is not None, number, vlans, frame.source, session),
        shown=shown | link,
        interval_ns=interval_ns,
        silent_after_ns=patience_ns + GRACE_NS,
        leaves=leaves,
        destination=frame.destination,
        mac=mac,
        password=password,
        ah_sequence=frame.ah.header.sequence_number if frame.ah else None,
        hmac_sequence=frame.hmac.trailer.sequence if frame.hmac else None,
        problems=frame.problems,
    )


def _vrrp(frame: Frame) -> Said:
    assert frame.vrrp is not None
    advert, covers = frame.vrrp.advert, frame.vrrp.covers
    interval_ns = advert.adver_interval_ns or SECOND
    skew_ns = (256 - advert.priority) * (SECOND if advert.version == 2 else interval_ns) // 256
    shown = {
        "version": advert.version,
        "priority": advert.priority,
        "interval_s": advert.adver_interval_ns / SECOND,
        "addresses": [text(one) for one in advert.addresses],
        "auth": authentication(frame) or "none",
        "checksum": str(covers) if covers else "wrong",
    }
    password = advert.auth_data if shown["auth"] == "PASS" else b""
    return _said(frame, advert.vrid, shown, interval_ns, 3 * interval_ns + skew_ns, advert.priority == 0, password)


def _carp(frame: Frame, advert: CarpAdvert) -> Said:
    shown = {
        "version": advert.version,
        "advbase": advert.advbase,
        "advskew": advert.advskew,
        "demotion": advert.demotion,
        "interval_s": advert.interval_ns / SECOND,
    }
    interval_ns = advert.interval_ns or SECOND
    leaves = advert.advbase == advert.advskew == BOW_OUT
    return _said(frame, advert.vhid, shown, interval_ns, 3 * interval_ns, leaves)


def _bfd(frame: Frame, packet: ControlPacket) -> Said:
    known = packet.diag < len(DIAGNOSTICS)
    shown = {
        "version": packet.version,
        "session": packet.state.word,
        "diagnostic": DIAGNOSTICS[packet.diag] if known else str(packet.diag),
        "interval_s": packet.desired_min_tx_us / 1_000_000,
        "receives_every_s": packet.required_min_rx_us / 1_000_000,
        "detect_mult": packet.detect_mult,
        "discriminator": f"{packet.my_discriminator:08x}",
    }
    interval_ns = packet.desired_min_tx_ns or SECOND
    leaves = packet.state is BfdState.ADMIN_DOWN
    return _said(frame, 0, shown, interval_ns, max(packet.detect_mult, 1) * interval_ns, leaves)
