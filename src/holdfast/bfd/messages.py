"""What happens to a BFD session and what it asks for. Plain, frozen data."""

from enum import StrEnum

import msgspec

from holdfast.bfd.packet import ControlPacket


class Refusal(StrEnum):
    """Why a received packet was discarded; the value is the counter's name."""

    LENGTH = "length_errors"
    VERSION = "version_errors"
    MULTIPLIER = "multiplier_errors"
    MULTIPOINT = "multipoint_set"
    DISCRIMINATOR = "discriminator_errors"  # mine is 0, or yours is 0 in Init or Up
    SESSION = "unknown_session"  # no session has that discriminator, or that neighbour
    TTL = "ttl_errors"
    AUTHENTICATION = "authentication_set"
    POLL_AND_FINAL = "poll_and_final"
    DIAGNOSTIC = "diagnostic_errors"
    LEFT = "admin_down_discards"  # the session is AdminDown here


class BfdEffect(msgspec.Struct, frozen=True, tag=True):
    """Something a session asks to be done."""


class SendPacket(BfdEffect, frozen=True):
    """Send this packet now."""

    packet: ControlPacket


class VerdictChanged(BfdEffect, frozen=True):
    """The session counts as up or down from now on; `detail` says why."""

    up: bool
    detail: str
