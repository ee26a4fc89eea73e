"""What every kind of check speaks through: octets in, octets or an outcome out; no socket, no clock, no file.

Whoever holds the socket calls `begin` once connected, then `received` and `closed` as they happen. An answer of octets
is sent (none: go on waiting); an `Outcome` ends the conversation. `expired` and `refused` end it from outside. The
deadline is the holder's and covers the whole conversation: octets that drip in don't move it.
"""

from typing import Protocol, TypeAlias

import msgspec


class Outcome(msgspec.Struct, frozen=True):
    """How a check ended, and why, in words for an operator.

    `weight_change`: what it adds to the server's weight. `parting`: octets to send, if they can be, before closing.
    `made` False: the check could not be made for a reason of this host, and says nothing of the server.
    """

    ok: bool
    detail: str
    weight_change: int = 0
    parting: bytes = b""
    made: bool = True


Said: TypeAlias = bytes | Outcome
"""Octets to send (perhaps none), or the end."""

NOTHING = b""


class Conversation(Protocol):
    """One check's side of what is said."""

    def begin(self) -> Said:
        """The transport stands (TCP: is connected); what to say first."""

    def received(self, octets: bytes) -> Said:
        """Octets of the stream, or one datagram."""

    def closed(self) -> Said:
        """The other side will say no more."""

    def expired(self, span: str) -> Outcome:
        """The time for the whole conversation, `span` in words, is up."""


class ExpressionGaveUp(Exception):
    """An expression needed more steps for this body than it may have."""


class Expression(Protocol):
    """A compiled `regex`. Somebody else brings the library."""

    def search(self, body: bytes) -> bool:
        """Whether `body` has a match that begins between the offsets; ExpressionGaveUp."""


class Occasion(msgspec.Struct, frozen=True):
    """What a conversation may need of the world: 16 random octets, and the wall clock in seconds since 1970."""

    chance: bytes
    wall_s: float


def quoted(octets: bytes, limit: int = 60) -> str:
    """Octets of a peer, fit for a line of log: printable ASCII, at most `limit` of them."""
    text = "".join(chr(octet) if 32 <= octet < 127 else "." for octet in octets[:limit])
    return f"'{text}'…" if len(octets) > limit else f"'{text}'"
