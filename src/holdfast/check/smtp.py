"""SMTP_CHECK: a greeting of 220, an answer of 250 to HELO, then QUIT (RFC 5321 §4.2; replies of several lines too)."""

from holdfast.check.conversation import NOTHING, Outcome, Said, quoted

REPLY_BYTES = 16384
"""A reply longer than this is refused."""

_QUIT = b"QUIT\r\n"


class SmtpConversation:
    """Greeting, HELO, QUIT. The answer to QUIT isn't awaited."""

    __slots__ = ("_greeted", "_helo", "_octets", "_unread")

    def __init__(self, helo_name: str) -> None:
        self._helo = f"HELO {helo_name}\r\n".encode("ascii", "replace")
        self._greeted = False
        self._unread = b""
        self._octets = 0

    def begin(self) -> Said:
        """The server speaks first."""
        return NOTHING

    def received(self, octets: bytes) -> Said:
        """Some of a reply."""
        self._octets += len(octets)
        self._unread += octets
        while True:
            line, ended, rest = self._unread.partition(b"\n")
            if not ended:
                if self._octets > REPLY_BYTES:
                    return Outcome(False, f"{self._awaited()} is longer than {REPLY_BYTES >> 10} KiB")
                return NOTHING
            self._unread = rest
            said = self._line(line.rstrip(b"\r"))
            if said:
                return said

    def _line(self, line: bytes) -> Said:
        if len(line) < 3 or not line[:3].isdigit() or line[3:4] not in (b"", b" ", b"-"):
            return Outcome(False, f"{self._awaited()} is no SMTP: {quoted(line)}")
        if line[3:4] == b"-":
            return NOTHING if self._octets <= REPLY_BYTES else Outcome(False, f"{self._awaited()} does not end")
        code = line[:3]
        if code != (b"250" if self._greeted else b"220"):
            return Outcome(False, f"{self._awaited()} is {quoted(line)}", parting=_QUIT)
        if self._greeted:
            return Outcome(True, "answers HELO with 250", parting=_QUIT)
        self._greeted = True
        self._octets = 0
        return self._helo

    def _awaited(self) -> str:
        return "the answer to HELO" if self._greeted else "the greeting"

    def closed(self) -> Said:
        """Too early."""
        return Outcome(False, f"closed before {self._awaited()}")

    def expired(self, span: str) -> Outcome:
        """Not in time."""
        return Outcome(False, f"{self._awaited()} did not come within {span}")
