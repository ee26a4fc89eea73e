"""What turns one table into the other, and the list of what is ours."""

from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.base.ipvs import (
    INET,
    INET6,
    Action,
    Destination,
    DestinationKey,
    Operation,
    Pool,
    Service,
    ServiceKey,
    Table,
)
from holdfast.lvs.table import difference, keys_text, read_keys
from tests.lvs.pools import WEB, key, place

RR, WRR = Service(scheduler="rr"), Service(scheduler="wrr")
A, B, C = place("10.0.0.1"), place("10.0.0.2"), place("10.0.0.3")
ONE, TWO = Destination(), Destination(weight=2)
OTHER = key("udp", "192.0.2.1", 80)


def applied(table: Table, steps: Iterable[Operation]) -> Table:
    """The table after `steps`; asserts that each can be done when its turn comes."""
    after = {one: Pool(pool.service, dict(pool.destinations)) for one, pool in table.items()}
    for one in steps:
        there = after.get(one.key)
        assert (there is None) == (one.action is Action.NEW_SERVICE)
        servers = {} if there is None else there.destinations
        if one.action is Action.DELETE_SERVICE:
            del after[one.key]
        elif one.service is not None:
            after[one.key] = Pool(one.service, servers)
        else:
            assert one.destination_key is not None
            assert (one.destination_key in servers) == (one.action is not Action.NEW_DESTINATION)
            if one.destination is None:
                del servers[one.destination_key]
            else:
                servers[one.destination_key] = one.destination
    return after


def test_only_differences_and_no_gap() -> None:
    actual = {WEB: Pool(RR, {A: ONE, B: ONE}), OTHER: Pool(RR, {A: ONE})}
    wanted = {WEB: Pool(WRR, {B: TWO, C: ONE})}
    assert difference(wanted, actual, [OTHER]) == [
        Operation(Action.SET_SERVICE, WEB, WRR),
        Operation(Action.SET_DESTINATION, WEB, None, B, TWO),
        Operation(Action.NEW_DESTINATION, WEB, None, C, ONE),
        Operation(Action.DELETE_DESTINATION, WEB, None, A),
        Operation(Action.DELETE_SERVICE, OTHER),
    ]


def test_a_service_nobody_told_of_is_left_alone() -> None:
    assert difference({}, {WEB: Pool(RR, {A: ONE})}) == []
    assert difference({}, {}, [WEB]) == []


def test_steps_in_words() -> None:
    assert [step.text() for step in difference({WEB: Pool(RR, {A: ONE})}, {OTHER: Pool(RR, {})}, [OTHER])] == [
        "add virtual server tcp 192.0.2.1:80",
        "add real server 10.0.0.1:80 to tcp 192.0.2.1:80",
        "remove virtual server udp 192.0.2.1:80",
    ]


KEYS = st.sampled_from([WEB, OTHER, key("tcp", "fd00::1", 443), ServiceKey(INET, fwmark=1), ServiceKey(INET6, fwmark=1)])
POOLS = st.builds(
    Pool,
    st.builds(Service, scheduler=st.sampled_from(["rr", "wrr"]), flags=st.integers(0, 1)),
    st.dictionaries(st.sampled_from([A, B, C, place("fd00::7")]), st.builds(Destination, weight=st.integers(0, 2))),
)
TABLES = st.dictionaries(KEYS, POOLS)


@settings(max_examples=200, deadline=None)
@given(TABLES, TABLES)
def test_any_table_becomes_any_other(wanted: Table, actual: Table) -> None:
    steps = difference(wanted, actual, actual.keys() - wanted.keys())
    assert applied(actual, steps) == wanted
    assert difference(wanted, wanted) == []
    assert len(steps) == len({(one.key, one.destination_key) for one in steps})


def test_the_list_of_ours_is_read_back() -> None:
    keys = frozenset(
        {WEB, OTHER, key("sctp", "fd00::1", 443), ServiceKey(INET, fwmark=7), ServiceKey(INET6, fwmark=4294967295)}
    )
    lines = keys_text(keys)
    assert lines == (
        "fwmark 4294967295 inet6\nfwmark 7 inet\nsctp [fd00::1]:443\ntcp 192.0.2.1:80\nudp 192.0.2.1:80\n"
    )
    assert read_keys(lines) == keys


def test_a_damaged_list_is_read_as_far_as_it_goes() -> None:
    broken = "tcp 192.0.2.1:80\n\n \ntcp\nfwmark x inet\nfwmark 5\nfwmark 0 inet\ntcp 1.2.3:80\ntcp 192.0.2.1:99999\nxyz 1.1.1.1:1\n\0\n"
    assert read_keys(broken) == {WEB}
    assert DestinationKey(b"\x0a\0\0\1", 80) == A
