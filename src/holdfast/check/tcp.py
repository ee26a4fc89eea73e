"""TCP_CHECK: that the connection is accepted is all."""

from holdfast.check.conversation import NOTHING, Outcome, Said

_ACCEPTED = Outcome(True, "connection accepted")


class TcpConversation:
    """Ends as soon as the connection stands."""

    __slots__ = ()

    def begin(self) -> Said:
        """It is accepted: that was the question."""
        return _ACCEPTED

    def received(self, octets: bytes) -> Said:
        """Never asked for."""
        return NOTHING

    def closed(self) -> Said:
        """It was accepted, though not for long."""
        return _ACCEPTED

    def expired(self, span: str) -> Outcome:
        """Nobody accepted."""
        return Outcome(False, f"connection not accepted within {span}")


TCP = TcpConversation()
"""It remembers nothing, so one does for all."""
