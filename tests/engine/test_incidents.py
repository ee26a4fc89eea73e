"""Split brain: what the evidence comes to, and that an incident is told once, better understood, and closed."""

import pytest

from holdfast.base.time import SECOND
from holdfast.engine.incidents import CURES, REFUSALS, WORDS, Cause, Fact, Incidents, classify
from holdfast.engine.messages import IncidentNotice, StateNotice, SuspicionNotice
from holdfast.vrrp.receive import RejectReason

A, MAC = "192.0.2.1", "02:00:00:00:00:01"


def fact(kind: str, who: str = A, reason: str = "", count: int = 1, stranger: bool = False) -> Fact:
    return Fact(kind, who, reason, stranger, 0, 10 * SECOND, count)


CASES: dict[str, tuple[list[Fact], bool, bool, bool, Cause | None]] = {
    # facts, MASTER, just started, just stalled → cause
    "nothing": ([], True, False, False, None),
    "a rival once": ([fact("rival")], True, False, False, Cause.APART),
    "a rival once after our start": ([fact("rival")], True, True, False, Cause.BOTH_STARTED),
    "a rival once after our stall": ([fact("rival")], True, True, True, Cause.OWN_STALL),
    "a rival that goes on": ([fact("rival", count=3)], True, True, True, Cause.ONE_WAY),
    "two owners": ([fact("rival", reason="owner", count=3)], True, True, True, Cause.OWNERS),
    "a rival that goes on with other addresses": (
        [fact("rival", count=3), fact("odd", reason="addr_list_err")], True, False, False, Cause.ADDRESS_LIST,
    ),
    "another password": ([fact("refused", reason="auth_failure")], True, False, False, Cause.PASSWORD),
    "another way to authenticate": ([fact("refused", reason="authtype_mismatch")], True, False, False,
                                    Cause.AUTHENTICATION),
    "another version": ([fact("refused", reason="version_err")], True, False, False, Cause.VERSION),
    "another interval": ([fact("refused", reason="advert_interval_err")], True, False, False, Cause.INTERVAL),
    "a wrong checksum": ([fact("refused", reason="checksum_err")], True, False, False, Cause.CHECKSUM),
    "a wrong TTL": ([fact("refused", reason="ip_ttl_err")], True, False, False, Cause.TTL),
    "unicast to multicast": ([fact("refused", reason="destination_err")], True, False, False, Cause.TRANSPORT),
    "no peer of ours": ([fact("refused", reason="unicast_src_err")], True, False, False, Cause.TRANSPORT),
    "a malformed one": ([fact("refused", reason="packet_len_err")], True, False, False, Cause.MALFORMED),
    "refused, but we are backup": ([fact("refused", reason="auth_failure")], False, False, False, None),
    "a stranger, refused": ([fact("refused", reason="version_err", stranger=True)], True, False, False,
                            Cause.STRANGER),
    "a stranger whom a backup follows": ([fact("odd", stranger=True)], False, False, False, Cause.STRANGER),
    "the reason says more than the rival": (
        [fact("rival", count=9), fact("refused", reason="version_err")], True, False, False, Cause.VERSION,
    ),
    "another MAC": ([fact("conflict", MAC, "192.0.2.100")], True, False, False, Cause.TWO_OWNERS),
    "the old master is alive": ([fact("unheard", A, MAC)], True, False, False, Cause.SILENT_PEER),
    "the old master is alive and has the address": (
        [fact("unheard", A, MAC), fact("conflict", MAC, "192.0.2.100")], True, False, False, Cause.FILTERED,
    ),
    "our own adverts come back ignored": ([fact("refused", reason="owner_ignored")], True, False, False, None),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_most_telling_cause(case: str) -> None:
    facts, master, started, stalled, wanted = CASES[case]
    found = classify(facts, master, started, stalled)
    assert (found[0] if found else None) == wanted


def test_every_cause_has_words_and_a_cure_and_every_check_a_cause() -> None:
    assert set(WORDS) == set(CURES) == set(Cause)
    assert set(REFUSALS) == {reason.value for reason in RejectReason} - {"owner_ignored"}


def incidents(interval_ns: int = SECOND) -> Incidents:
    made = Incidents()
    made.plan({"web": interval_ns})
    made.begin(0)
    return made


def state(word: str) -> StateNotice:
    return StateNotice(kind="INSTANCE", name="web", state=word, priority=100, cause="")


def rival() -> SuspicionNotice:
    return SuspicionNotice(name="web", kind="rival", source=A, priority=90)


def told(notices: list[IncidentNotice]) -> list[tuple[int, bool, str, int]]:
    return [(one.number, one.opened, one.cause, one.count) for one in notices]


def test_one_incident_better_understood_and_closed_when_nothing_is_heard_any_more() -> None:
    made, at = incidents(), 100 * SECOND
    assert told(made.state(state("MASTER"), at)) == []
    assert told(made.suspect(rival(), at)) == [(1, True, "apart", 1)]
    assert told(made.suspect(rival(), at + SECOND)) == []
    assert told(made.suspect(rival(), at + 2 * SECOND)) == [(1, True, "one-way", 3)]
    assert told(made.suspect(rival(), at + 3 * SECOND)) == []
    assert [one.cause for one in made.view(at + 3 * SECOND)] == ["one-way"]
    assert made.due_at() == at + 6 * SECOND
    assert told(made.on_due(at + 5 * SECOND)) == []
    assert told(made.on_due(at + 6 * SECOND)) == [(1, False, "one-way", 4)]
    assert made.view(at + 6 * SECOND) == []
    assert made.totals == {"one-way": 1}
    assert told(made.suspect(rival(), at + 60 * SECOND)) == [(2, True, "apart", 1)]


def test_giving_way_ends_it() -> None:
    made = incidents()
    made.state(state("MASTER"), 100 * SECOND)
    made.suspect(rival(), 100 * SECOND)
    closing = made.state(state("BACKUP"), 101 * SECOND)
    assert told(closing) == [(1, False, "apart", 1)]
    assert "this node is BACKUP now" in closing[0].text


def test_what_a_backup_refused_counts_when_it_becomes_master() -> None:
    made = incidents()
    made.state(state("BACKUP"), 10 * SECOND)
    refused = SuspicionNotice(name="web", kind="refused", source=A, reason="auth_failure", text="invalid passwd")
    assert told(made.suspect(refused, 12 * SECOND)) == []
    opened = made.state(state("MASTER"), 13 * SECOND)
    assert told(opened) == [(1, True, "password", 1)]
    assert A in opened[0].text
    assert "auth_pass" in opened[0].cure


def test_a_silent_master_that_lives() -> None:
    made = incidents()
    made.state(state("BACKUP"), 0)
    silent = SuspicionNotice(name="web", kind="silent", source=A, priority=150)
    assert told(made.suspect(silent, 20 * SECOND)) == []
    made.state(state("MASTER"), 20 * SECOND)
    assert told(made.unheard("web", A, MAC, 21 * SECOND)) == [(1, True, "silent-peer", 1)]
    assert told(made.conflict("web", "192.0.2.100", MAC, 22 * SECOND)) == [(1, True, "filtered", 2)]
    assert told(made.unheard("web", "192.0.2.77", MAC, 23 * SECOND)) == []
    # it is heard again: the rest is a rival's story
    made.suspect(rival(), 24 * SECOND)
    assert told(made.unheard("web", A, MAC, 25 * SECOND)) == []


def test_no_flood_of_sources_is_kept() -> None:
    made = incidents()
    made.state(state("MASTER"), 100 * SECOND)
    for number in range(1000):
        made.suspect(SuspicionNotice(name="web", kind="rival", source=f"10.0.{number // 250}.{number % 250}"), 100)
    assert len(made.instances["web"].facts) <= 24
    assert len(made.view(100 * SECOND)) == 1


def test_an_instance_that_is_gone_is_forgotten() -> None:
    made = incidents()
    made.state(state("MASTER"), 100 * SECOND)
    made.suspect(rival(), 100 * SECOND)
    made.plan({"other": SECOND})
    assert made.view(100 * SECOND) == []
    assert told(made.suspect(rival(), 101 * SECOND)) == []
