"""What is due is gathered into beats; what was booked anew is due once."""

from holdfast.check.rota import Rota

MS = 1_000_000


def test_a_beat_gathers_what_is_due_within_it() -> None:
    rota: Rota[str] = Rota()
    for key, at in (("c", 12 * MS), ("a", 11 * MS), ("d", 16 * MS), ("b", 11 * MS)):
        rota.book(key, at)
    assert rota.due_at() == 15 * MS
    assert list(rota.take(15 * MS)) == ["a", "b", "c"]
    assert rota.due_at() == 20 * MS
    assert list(rota.take(19 * MS)) == ["d"]
    assert (rota.due_at(), len(rota)) == (None, 0)


def test_the_last_booking_holds() -> None:
    rota: Rota[str] = Rota()
    rota.book("a", 10 * MS)
    rota.book("a", 30 * MS)
    rota.book("b", 20 * MS)
    rota.strike("b")
    assert rota.due_at() == 30 * MS
    assert list(rota.take(25 * MS)) == []
    rota.book("a", 10 * MS)
    rota.book("a", 10 * MS)
    assert list(rota.take(40 * MS)) == ["a"]
    rota.book("c", 50 * MS)
    rota.book("c", 70 * MS)
    assert list(rota.take(60 * MS)) == []
    assert list(rota.take(70 * MS)) == ["c"]


def test_what_is_exactly_on_the_beat_waits_for_no_other() -> None:
    rota: Rota[str] = Rota()
    rota.book("a", 15 * MS)
    assert rota.due_at() == 15 * MS
