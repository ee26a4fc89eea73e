"""The virtual router's table has a row for every pair of state and event, so no event finds it without an answer."""

from typing import get_args

from holdfast.vrrp.machine import ROWS, State
from holdfast.vrrp.messages import Event


def test_every_state_answers_every_event() -> None:
    states, events = get_args(State), Event.__subclasses__()
    assert len(states) == 5
    assert len(events) >= 9
    assert ROWS.keys() == {(state, event) for state in states for event in events}
