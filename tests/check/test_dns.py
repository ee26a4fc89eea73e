"""DNS checks: answers good, refused, forged, cut and looping; a server made by dnspython on a real socket."""

import struct

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.base.time import MILLISECOND
from holdfast.check.config import DnsCheck
from holdfast.check.conversation import NOTHING, Outcome
from holdfast.check.dns import DnsConversation, Question, question
from tests.check.asking import ask, datagrams, target

ID = b"\x12\x34"
SOA = question("example.org", "SOA")


def answer_to(octets: bytes, rcode: int = 0, records: bool = True) -> bytes:
    asked = dns.message.from_wire(octets)
    answer = dns.message.make_response(asked)
    answer.set_rcode(dns.rcode.Rcode(rcode))
    if records:
        answer.answer.append(
            dns.rrset.from_text("example.org.", 60, "IN", "SOA", "ns.example.org. host.example.org. 1 2 3 4 5")
        )
    return answer.to_wire()


ASKED = ID + SOA.rest
GOOD = answer_to(ASKED)
HEADER = struct.Struct("!HHHHHH")


def hear(*datagrams: bytes, asked: Question = SOA) -> Outcome | bytes:
    conversation = DnsConversation(asked, ID + bytes(14))
    assert conversation.begin() == ID + asked.rest
    said: Outcome | bytes = NOTHING
    for octets in datagrams:
        said = conversation.received(octets)
    return said


def header(flags: int, questions: int = 0, answers: int = 0) -> bytes:
    return HEADER.pack(0x1234, flags, questions, answers, 0, 0)


@pytest.mark.parametrize(
    ("octets", "ok", "detail"),
    [
        (GOOD, True, "answers (SOA of example.org)"),
        (answer_to(ASKED, records=False), True, "answers (SOA of example.org)"),
        (GOOD.replace(b"example", b"eXaMpLe"), True, "answers (SOA of example.org)"),  # names have no case
        (header(0x8000), True, "answers (SOA of example.org)"),  # without the question, as some do
        (header(0x8200), True, "answers (SOA of example.org)"),  # truncated by the server
        (answer_to(ASKED, 2), False, "the answer (SOA of example.org) is SERVFAIL"),
        (answer_to(ASKED, 3, records=False), False, "the answer (SOA of example.org) is NXDOMAIN"),
        (answer_to(ASKED, 5, records=False), False, "the answer (SOA of example.org) is REFUSED"),
        (ASKED, False, "the answer (SOA of example.org) is a question itself: its response flag is not set"),
        (GOOD[:7], False, "the answer (SOA of example.org) is cut: 7 octets"),
        (GOOD[:-3], False, "the answer (SOA of example.org) cannot be read: "),
        (GOOD[:12] + SOA.section, False, "the answer (SOA of example.org) cannot be read: "),
        # a name that points to itself, and two that point at each other
        (header(0x8000, 0, 1) + b"\xc0\x0c" + bytes(10), False, "the answer (SOA of example.org) cannot be read: "),
        (header(0x8000, 0, 1) + b"\xc0\x0e\xc0\x0c" + bytes(10), False, "the answer (SOA of example.org) cannot be read: "),
    ],
)
def test_answers(octets: bytes, ok: bool, detail: str) -> None:
    said = hear(octets)
    assert isinstance(said, Outcome)
    assert said.ok is ok
    assert said.detail.startswith(detail)


def test_forged_answers_are_left_aside_and_the_right_one_awaited() -> None:
    other = answer_to(ID + question("elsewhere.example", "SOA").rest, records=False)
    forged = [b"\x99\x99" + GOOD[2:], b"", b"\x12", other]
    assert hear(*forged) == NOTHING
    assert hear(*forged, GOOD) == Outcome(True, "answers (SOA of example.org)")
    conversation = DnsConversation(SOA, ID)
    for octets in forged:
        conversation.received(octets)
    assert conversation.expired("5 s").detail == "no answer (SOA of example.org) within 5 s (4 with another id or question)"


@settings(deadline=None)
@given(st.binary(max_size=100), st.booleans())
def test_whatever_comes_is_answered_or_left_aside(octets: bytes, with_header: bool) -> None:
    said = hear(header(0x8000, 0, 3) + octets if with_header else octets)
    assert isinstance(said, (Outcome, bytes))


@settings(deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_an_answer_with_one_octet_changed(place: int, octet: int) -> None:
    said = hear(GOOD[:place] + bytes((octet,)) + GOOD[place + 1 :])
    assert isinstance(said, Outcome) or said == NOTHING


@pytest.mark.parametrize("kind", ["A", "NS", "CNAME", "SOA", "MX", "TXT", "AAAA", "RRSIG", "DNSKEY"])
@pytest.mark.parametrize("name", [".", "example.org", "_dmarc.example.org."])
def test_every_kind_can_be_asked(kind: str, name: str) -> None:
    asked = dns.message.from_wire(ID + question(name, kind).rest)
    assert asked.question[0].to_text() == f"{name.rstrip('.')}. IN {kind}"
    assert asked.flags == dns.flags.RD


@pytest.mark.parametrize("name", ["a..b", "x" * 64, ("y" * 60 + ".") * 5])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no name that can be asked for"):
        question(name, "A")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_server_on_a_socket(address: str) -> None:
    with datagrams(lambda octets: [b"\0\0junk", answer_to(octets)], address) as port:
        assert ask(DnsCheck(target=target(port, address), name="example.org")).ok
    with datagrams(lambda octets: [], address) as port:
        silent = ask(DnsCheck(target=target(port, address, 100 * MILLISECOND)))
        assert silent == Outcome(False, "no answer (SOA of .) within 100 ms")
