"""Who owns an address, by the evidence: written-out cases."""

import pytest

from holdfast.who.judge import Evidence, Owner, exit_status, verdict

A, B, V = "02:00:00:00:00:0a", "02:00:00:00:00:0b", "00:00:5e:00:01:33"


def kernel(here: bool = True) -> Evidence:
    return Evidence(source="kernel", says="", claims=here, here=here, address="192.0.2.1" if here else None, mac=A)


def answer(mac: str) -> Evidence:
    return Evidence(source="neighbours", says="", claims=True, mac=mac)


def advert(address: str, mac: str) -> Evidence:
    return Evidence(source="adverts", says="", claims=True, address=address, mac=mac)


NOBODY = (None, None)
DAEMON = Evidence(source="daemon", says="", address="192.0.2.2")

CASES: dict[str, tuple[list[Evidence], list[tuple[str | None, str | None, tuple[str, ...]]], int]] = {
    "nobody": ([DAEMON, kernel(here=False)], [], 3),
    "this host": ([kernel()], [("192.0.2.1", A, ("kernel",))], 0),
    "another, heard and answering": (
        [answer(B), advert("192.0.2.2", B)],
        [("192.0.2.2", B, ("neighbours", "adverts"))],
        0,
    ),
    "another, answering only": ([answer(B)], [("192.0.2.9", B, ("neighbours",))], 0),
    "this host, and another answers": (
        [kernel(), answer(B)],
        [("192.0.2.1", A, ("kernel",)), ("192.0.2.9", B, ("neighbours",))],
        4,
    ),
    "two answer": ([answer(A), answer(B)], [("192.0.2.9", B, ("neighbours",)), (None, A, ("neighbours",))], 4),
    "the same host twice": ([answer(B), answer(B)], [("192.0.2.9", B, ("neighbours",))], 0),
    "a virtual MAC, one speaker": (
        [answer(V), advert("192.0.2.2", V)],
        [("192.0.2.2", V, ("neighbours", "adverts"))],
        0,
    ),
    "a virtual MAC, two speakers": (
        [answer(V), advert("192.0.2.2", V), advert("192.0.2.3", V)],
        [("192.0.2.2", V, ("neighbours", "adverts")), ("192.0.2.3", V, ("neighbours", "adverts"))],
        4,
    ),
    "a virtual MAC, adverts from the real device": (
        [answer(V), advert("192.0.2.2", B)],
        [("192.0.2.2", B, ("adverts",))],
        0,
    ),
    "advertised and not answered": ([advert("192.0.2.2", B)], [("192.0.2.2", B, ("adverts",))], 0),
}


@pytest.mark.parametrize("case", CASES)
def test_claimants(case: str) -> None:
    evidence, wanted, status = CASES[case]
    found = verdict("192.0.2.100", "web", evidence, {B: "192.0.2.9"}, {}, NOBODY)
    key = lambda claimant: (claimant[0] or "", claimant[1] or "")  # noqa: E731
    assert sorted(((one.address, one.mac, one.by) for one in found.claimants), key=key) == sorted(wanted, key=key)
    assert found.conflict == (status == 4)
    assert exit_status([found]) == status
    if status == 0:
        assert found.owner == Owner(address=wanted[0][0], name=None, mac=wanted[0][1])
    else:
        assert found.owner is None


def test_since_is_what_the_daemon_knows_of_the_owner() -> None:
    ours = verdict("192.0.2.100", None, [kernel()], {}, {"192.0.2.1": "a"}, ("192.0.2.1", "then"))
    assert (ours.since, ours.here, ours.claimants[0].name) == ("then", True, "a")
    heard = [answer(B), advert("192.0.2.2", B)]
    assert verdict("192.0.2.100", None, heard, {}, {}, ("192.0.2.2", "then")).since == "then"
    assert verdict("192.0.2.100", None, heard, {}, {}, ("192.0.2.3", "then")).since is None
    assert verdict("192.0.2.100", None, [answer(B)], {}, {}, NOBODY).since is None


def test_several_weigh_more_than_none() -> None:
    none = verdict("192.0.2.100", None, [], {}, {}, NOBODY)
    several = verdict("192.0.2.101", None, [answer(A), answer(B)], {}, {}, NOBODY)
    assert exit_status([none, several]) == 4
    assert exit_status([]) == 0
