"""UDP_CHECK: a datagram is sent; silence will do, unless a reply is required, but a refusal by ICMP never."""

from holdfast.check.config import UdpCheck
from holdfast.check.conversation import NOTHING, Outcome, Said, quoted


class UdpConversation:
    """One datagram, and perhaps its reply. Without a payload of its own it sends `chance`."""

    __slots__ = ("_check", "_payload")

    def __init__(self, check: UdpCheck, chance: bytes) -> None:
        self._check = check
        self._payload = check.payload if check.payload is not None else chance

    def begin(self) -> Said:
        """The datagram."""
        return self._payload

    def received(self, octets: bytes) -> Said:
        """A reply. Its content is compared for the shorter of the two lengths, as keepalived does."""
        check = self._check
        if not check.require_reply:
            return Outcome(True, f"replied with {len(octets)} octets")
        if not check.min_reply_length <= len(octets) <= check.max_reply_length:
            allowed = f"{check.min_reply_length} to {check.max_reply_length} may be"
            return Outcome(False, f"its reply has {len(octets)} octets, {allowed}")
        for place, (came, wanted, mask) in enumerate(zip(octets, check.reply, check.reply_mask, strict=False)):
            if (came ^ wanted) & mask:
                return Outcome(False, f"its reply differs at octet {place}: {quoted(octets)}")
        return Outcome(True, f"replied with {len(octets)} octets")

    def closed(self) -> Said:
        """A datagram socket doesn't end."""
        return NOTHING

    def expired(self, span: str) -> Outcome:
        """Silence: what was awaited, unless a reply was."""
        if self._check.require_reply:
            return Outcome(False, f"no reply within {span}")
        return Outcome(True, f"not refused within {span}")


def parse_reply(digits: str) -> tuple[bytes, bytes]:
    """Octets and mask of a `require_reply` in hexadecimal, where x stands for any digit; ValueError.

    The mask goes by digits, so `4x` asks for one of 16 octets.
    """
    if len(digits) % 2:
        raise ValueError(f"{digits!r} has an odd number of digits")
    try:
        reply = bytes.fromhex(digits.lower().replace("x", "0"))
    except ValueError:
        raise ValueError(f"{digits!r} is not hexadecimal") from None
    return reply, bytes.fromhex("".join("0" if digit in "xX" else "f" for digit in digits))
