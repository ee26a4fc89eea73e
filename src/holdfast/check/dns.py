"""DNS_CHECK: one question by UDP; an answer with our id, response flag and code 0 (RFC 1035 §4.1).

An answer with another id, or to another question, is none of ours (somebody may be forging): it is left aside and the
right one awaited. One that can't be read, cut or with names that loop, is a server's failure.
"""

import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import msgspec

from holdfast.check.conversation import NOTHING, Outcome, Said

_HEADER_BYTES = 12


class Question(msgspec.Struct, frozen=True):
    """A question made ready: the message without its id, and the question in it as it must come back."""

    rest: bytes
    shown: str

    @property
    def section(self) -> bytes:
        """The question section: name, type, class."""
        return self.rest[_HEADER_BYTES - 2 :]


def question(name: str, kind: str) -> Question:
    """The question for `name` and type `kind`, made once; ValueError when the name is none."""
    try:
        wire = dns.message.make_query(dns.name.from_text(name), kind, id=0).to_wire()
    except dns.exception.DNSException as error:
        raise ValueError(f"{name!r} is no name that can be asked for: {error}") from None
    return Question(wire[2:], f"{kind} of {name}")


class DnsConversation:
    """One question and the wait for its answer."""

    __slots__ = ("_foreign", "_id", "_question")

    def __init__(self, asked: Question, chance: bytes) -> None:
        self._question = asked
        self._id = chance[:2]
        self._foreign = 0

    def begin(self) -> Said:
        """The question."""
        return self._id + self._question.rest

    def received(self, octets: bytes) -> Said:
        """A datagram from the server's address."""
        if octets[:2] != self._id:
            self._foreign += 1
            return NOTHING
        what = f"the answer ({self._question.shown})"
        if len(octets) < _HEADER_BYTES:
            return Outcome(False, f"{what} is cut: {len(octets)} octets")
        if not octets[2] & 0x80:
            return Outcome(False, f"{what} is a question itself: its response flag is not set")
        code = octets[3] & 0x0F
        if code:
            return Outcome(False, f"{what} is {dns.rcode.to_text(dns.rcode.Rcode(code))}")
        if octets[4:6] != b"\0\0" and not self._same_question(octets):
            self._foreign += 1
            return NOTHING
        try:
            dns.message.from_wire(octets, ignore_trailing=True)
        except Exception as error:
            # whatever the library stumbles over came from the wire
            return Outcome(False, f"{what} cannot be read: {str(error) or type(error).__name__}")
        return Outcome(True, f"answers ({self._question.shown})")

    def _same_question(self, octets: bytes) -> bool:
        # names compare without case (RFC 1035 §2.3.3); lower() leaves type and class of our questions as they are
        section = self._question.section
        return octets[_HEADER_BYTES : _HEADER_BYTES + len(section)].lower() == section.lower()

    def closed(self) -> Said:
        """A datagram socket doesn't end."""
        return NOTHING

    def expired(self, span: str) -> Outcome:
        """Not in time."""
        but = f" ({self._foreign} with another id or question)" if self._foreign else ""
        return Outcome(False, f"no answer ({self._question.shown}) within {span}{but}")
