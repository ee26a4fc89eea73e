"""What is refused (RFC 5880 §6.8.6), and that no octets whatever do more than be counted."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.base.address import parse
from holdfast.bfd.config import ANY_TTL, SessionConfig
from holdfast.bfd.machine import due, received, start
from holdfast.bfd.messages import Refusal
from holdfast.bfd.packet import BfdState, ControlPacket, MalformedBfd, decode_bfd, encode_bfd
from holdfast.bfd.receive import malformed, too_far

DOWN = ControlPacket(
    state=BfdState.DOWN, detect_mult=3, my_discriminator=7, your_discriminator=0, desired_min_tx_us=1_000_000,
    required_min_rx_us=10_000,
)  # fmt: skip
CONFIG = SessionConfig(name="peer", neighbor=parse("192.0.2.2"))


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({}, None),
        ({"version": 0}, Refusal.VERSION),
        ({"version": 2}, Refusal.VERSION),
        ({"length": 23}, Refusal.LENGTH),
        ({"length": 25}, Refusal.LENGTH),
        ({"length": 26, "authentication": b"\x00\x00"}, None),
        ({"length": 24, "authentication": b"\x00\x00\x00\x00"}, Refusal.LENGTH),
        ({"length": 24, "auth_present": True}, Refusal.LENGTH),
        ({"length": 26, "auth_present": True, "authentication": b"\x01\x02"}, Refusal.AUTHENTICATION),
        ({"detect_mult": 0}, Refusal.MULTIPLIER),
        ({"multipoint": True}, Refusal.MULTIPOINT),
        ({"my_discriminator": 0}, Refusal.DISCRIMINATOR),
        ({"state": BfdState.INIT}, Refusal.DISCRIMINATOR),
        ({"state": BfdState.UP}, Refusal.DISCRIMINATOR),
        ({"state": BfdState.ADMIN_DOWN}, None),
        ({"state": BfdState.UP, "your_discriminator": 5}, None),
        ({"diag": 8}, None),
        ({"diag": 9}, Refusal.DIAGNOSTIC),
        ({"diag": 31}, Refusal.DIAGNOSTIC),
        ({"poll": True}, None),
        ({"poll": True, "final": True}, Refusal.POLL_AND_FINAL),
        ({"demand": True}, None),
        ({"control_plane_independent": True}, None),
    ],
)
def test_each_rule(changes: dict[str, object], refusal: Refusal | None) -> None:
    octets = encode_bfd(msgspec.structs.replace(DOWN, **changes))
    assert malformed(decode_bfd(octets), len(octets)) is refusal


@pytest.mark.parametrize(
    ("least", "ttl", "refused"), [(255, 255, False), (255, 254, True), (64, 64, False), (64, 63, True), (ANY_TTL, 0, False)]
)
def test_hops(least: int, ttl: int, refused: bool) -> None:
    assert too_far(msgspec.structs.replace(CONFIG, least_ttl=least), ttl) is refused


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.binary(min_size=20, max_size=40) | st.builds(bytes), st.integers(0, 3_000)), max_size=12))
def test_any_octets_at_any_time(stream: list[tuple[bytes, int]]) -> None:
    session, now = start(CONFIG, 9, 0), 0
    for octets, wait_ms in stream:
        now += wait_ms * 1_000_000
        session, _ = due(CONFIG, session, now, 500)
        try:
            packet = decode_bfd(b"\x20" + octets[:1] + b"\x03" + bytes([len(octets) + 3]) + octets[1:])
        except MalformedBfd:
            continue
        if malformed(packet, len(octets) + 2) is None:
            session, _ = received(CONFIG, session, packet, now, 500)
        at = session.due_at()
        assert at is None or at >= 0
        assert session.counts_as_up <= (session.remote_discriminator != 0 or session.state is not BfdState.UP)
