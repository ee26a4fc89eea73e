"""Gratuitous ARP and unsolicited NA in time: the first burst, the second, refreshes, and after a rival."""

import pytest

from holdfast.vrrp.announce import QUIET, Announcements, begin, due
from holdfast.vrrp.config import AnnounceConfig
from tests.vrrp.routers import S

USUAL = AnnounceConfig()
REFRESHING = AnnounceConfig(master_refresh_ns=60 * S, master_refresh_repeat=2)


def test_five_rounds_at_once_and_five_after_five_seconds() -> None:
    pending, rounds = begin(USUAL, QUIET, "master", 10 * S)
    assert (pending, rounds) == (Announcements(15 * S, 5, None), 5)
    assert pending.due_at() == 15 * S
    assert due(USUAL, pending, 15 * S - 1) == (pending, 0)
    assert due(USUAL, pending, 15 * S) == (Announcements(None, 5, None), 5)
    assert due(USUAL, Announcements(None, 5, None), 90 * S) == (Announcements(None, 5, None), 0)


def test_no_second_burst_when_the_delay_is_none() -> None:
    config = AnnounceConfig(master_delay_ns=0, master_repeat=3)
    assert begin(config, QUIET, "master", 10 * S) == (Announcements(None, 3, None), 3)


def test_refreshes_go_on_for_ever() -> None:
    pending, _ = begin(REFRESHING, QUIET, "master", 10 * S)
    assert pending == Announcements(15 * S, 5, 70 * S)
    assert pending.due_at() == 15 * S
    pending, rounds = due(REFRESHING, pending, 15 * S)
    assert (pending, rounds) == (Announcements(None, 5, 70 * S), 5)
    assert pending.due_at() == 70 * S
    pending, rounds = due(REFRESHING, pending, 70 * S)
    assert (pending, rounds) == (Announcements(None, 5, 130 * S), 2)
    pending, rounds = due(REFRESHING, pending, 131 * S)
    assert (pending, rounds) == (Announcements(None, 5, 191 * S), 2)


def test_both_at_once_are_sent_together() -> None:
    assert due(REFRESHING, Announcements(15 * S, 5, 14 * S), 15 * S) == (Announcements(None, 5, 75 * S), 7)


@pytest.mark.parametrize(
    ("pending", "at"),
    [(QUIET, None), (Announcements(5, 1, None), 5), (Announcements(None, 0, 7), 7), (Announcements(9, 1, 7), 7),
     (Announcements(5, 1, 7), 5)],
)  # fmt: skip
def test_the_next_moment(pending: Announcements, at: int | None) -> None:
    assert pending.due_at() == at


def test_after_a_rival_again_at_once_and_later() -> None:
    config = AnnounceConfig(lower_prio_delay_ns=2 * S, lower_prio_repeat=3, master_refresh_ns=60 * S)
    after, rounds = begin(config, Announcements(None, 5, 70 * S), "rival", 20 * S)
    assert (after, rounds) == (Announcements(22 * S, 3, 70 * S), 3)
    assert due(config, after, 22 * S) == (Announcements(None, 3, 70 * S), 3)


def test_without_a_delay_a_rival_leaves_alone_what_is_pending() -> None:
    config = AnnounceConfig(lower_prio_delay_ns=0, lower_prio_repeat=1)
    pending, _ = begin(config, QUIET, "master", 10 * S)
    assert begin(config, pending, "rival", 11 * S) == (Announcements(15 * S, 5, None), 1)


def test_becoming_master_again_begins_afresh() -> None:
    assert begin(USUAL, Announcements(12 * S, 3, 99 * S), "master", 11 * S) == (Announcements(16 * S, 5, None), 5)
