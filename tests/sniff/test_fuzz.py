"""Whatever is heard, in whatever order and with whatever clock: an answer, in bounded memory."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.dissect.frame import dissect
from holdfast.sniff.listener import Listener
from holdfast.sniff.speaker import SPEAKING, document
from holdfast.sniff.words import description, line, name, rank
from tests.decode.vectors import cases, records

FRAMES = sorted(
    {
        records(name)[packet["frame"] - 1].octets
        for name, packet in cases()
        if packet["kind"] in ("vrrp", "carp", "bfd")
    }
)
steps = st.lists(
    st.tuples(
        st.sampled_from(FRAMES),
        st.lists(st.tuples(st.integers(14, 60), st.integers(0, 255)), max_size=2),
        st.integers(-(10**9), 8 * 10**9),
    ),
    max_size=40,
)


@given(steps)
@settings(max_examples=150, deadline=None)
def test_any_frames_at_any_time(events: list[tuple[bytes, list[tuple[int, int]], int]]) -> None:
    listener, now = Listener(), 10**12
    for octets, changes, later in events:
        copy = bytearray(octets)
        for position, value in changes:
            if position < len(copy):
                copy[position] = value
        now += later
        for report in listener.hear(dissect(1, bytes(copy)), now):
            json.dumps(report.document(0))
            assert "\n" not in line(report)
        speaking = any(one.state == SPEAKING for one in listener.speakers())
        assert (listener.deadline() is not None) or not speaking
    for speaker in listener.speakers():
        shown = document(speaker)
        assert all((name(shown), description(shown), rank(shown)))
    listener.advance(now + 10**15)
    assert not any(one.state == SPEAKING for one in listener.speakers())
    assert listener.deadline() is None
