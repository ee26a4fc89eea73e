"""PING_CHECK: one echo request (RFC 792, RFC 4443 §4.1), and the reply with its sequence number and content.

The socket is the kernel's unprivileged kind (`IPPROTO_ICMP` datagrams): it fills in identifier and checksum, and hands
over the replies to its own identifier only.
"""

from holdfast.check.conversation import NOTHING, Outcome, Said

_REQUEST = {4: 8, 6: 128}
_REPLY = {4: 0, 6: 129}


class PingConversation:
    """One echo. `version` is the IP version; `chance` makes sequence and content its own."""

    __slots__ = ("_reply_type", "_request")

    def __init__(self, version: int, chance: bytes) -> None:
        self._request = bytes((_REQUEST[version], 0, 0, 0, 0, 0)) + chance
        self._reply_type = _REPLY[version]

    def begin(self) -> Said:
        """The request: type, code, checksum and identifier (the kernel's), sequence, content."""
        return self._request

    def received(self, octets: bytes) -> Said:
        """A message; whatever is not our reply is left aside."""
        if octets[:1] == bytes((self._reply_type,)) and octets[6:] == self._request[6:]:
            return Outcome(True, "echo answered")
        return NOTHING

    def closed(self) -> Said:
        """A datagram socket doesn't end."""
        return NOTHING

    def expired(self, span: str) -> Outcome:
        """Not in time."""
        return Outcome(False, f"no echo within {span}")
