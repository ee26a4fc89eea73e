"""Whatever the weather, a recording decides the same again; a changed entry is found; the ring keeps its bounds."""

from typing import Any, get_args

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from holdfast.base.address import Address
from holdfast.base.time import MILLISECOND, SECOND
from holdfast.config.plan import VrrpPlan
from holdfast.engine import record
from holdfast.engine.engine import Engine
from holdfast.engine.messages import (
    AdvertArrived,
    EngineEvent,
    Interface,
    ScriptFinished,
    SetAddresses,
    StateNotice,
    Tell,
    TimersDue,
)
from holdfast.engine.record import Happened, RecordedEngine
from holdfast.engine.replay import BadRecordingError, Header, Recording, file_octets, read, replay, restored
from holdfast.engine.slot import Slot
from holdfast.sim import host
from holdfast.vrrp.config import AuthHmac, AuthType, GroupConfig, HmacKey
from tests.engine.storm import Router, Storm
from tests.engine.test_storm import FAULTS, HOSTS, Weather, clear_up, instance, plans, weather

HEADER = Header(
    format=1, version="0.1.0", node="a", pid=1, reason="a test", time="", wall_ns=0, monotonic_ns=0
)


def written(engine: RecordedEngine) -> bytes:
    return file_octets(HEADER, b"".join(engine.frames()))


class Recorded(Storm):
    """A storm whose engines are recorded; `lives` keeps those that have ended, too."""

    def __init__(self, **hosts: tuple[str, VrrpPlan]) -> None:
        self.lives: list[RecordedEngine] = []
        super().__init__(**hosts)

    def start(self, router: Router) -> None:
        was = router.engine
        super().start(router)
        if router.engine is not was and isinstance(router.engine, RecordedEngine):
            self.lives.append(router.engine)

    def reload(self, router: Router, plan: VrrpPlan) -> None:
        router.plan, self.reloaded_at[router.name] = plan, self.now
        if isinstance(router.engine, RecordedEngine) and not router.frozen:
            self.carry_out(router, router.engine.reload(plan, [], self.now))


def switch(storm: Storm, router: Router, number: int) -> None:
    """An operator hands over, for a while or not, or releases."""
    if isinstance(router.engine, RecordedEngine) and not router.frozen:
        _, effects = router.engine.command(
            "V1", ("here", "away", "release")[number % 3], by="the test", for_ns=number * MILLISECOND or None,
            force=number % 2 == 0, dry_run=number % 5 == 0, now=storm.now,
        )  # fmt: skip
        storm.carry_out(router, effects)


HAPPENINGS = {**FAULTS, "switch": switch}
happenings = st.one_of(weather, st.tuples(st.just("switch"), st.sampled_from("ab"), st.integers(0, 5_000)))


@pytest.fixture(autouse=True)
def recorded_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "Engine", RecordedEngine)


def play(things: list[Weather], last_plan: int = 4) -> Recorded:
    storm = Recorded(**{name: (HOSTS[name][0], plans(HOSTS[name][1])[0]) for name in "ab"})
    for what, name, number in things:
        if name in storm.routers:
            HAPPENINGS[what](storm, storm.routers[name], number)
    for router in storm.routers.values():
        if router.engine is not None and not router.frozen:
            router.engine.rehearse(storm.now)  # the edge does, and it may not show
    clear_up(storm, last_plan)
    return storm


def again(octets: bytes) -> Recording:
    recording = read(octets)
    outcome = replay(recording, restored(recording, Engine))
    assert outcome.difference is None, outcome.difference
    assert not recording.damage
    return recording


@settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.lists(happenings, max_size=30), st.sampled_from([0, 800, 5_000]))
@example([("switch", "b", 159), ("switch", "b", 1), ("reload", "a", 1), ("switch", "a", 771)], 800)  # two at one moment
def test_any_weather_decides_the_same_again(things: list[Weather], segment_bytes: int) -> None:
    with pytest.MonkeyPatch.context() as patched:  # small segments: the replay begins at a checkpoint, anywhere
        patched.setattr(record, "SEGMENT_BYTES", segment_bytes or record.SEGMENT_BYTES)
        storm = play(things)
    for engine in storm.lives:
        recording = again(written(engine))
        assert recording.entries
        assert isinstance(recording.start, record.Fresh) or segment_bytes


def test_every_event_and_every_attribute_of_a_slot_is_known_to_the_recording() -> None:
    assert set(get_args(record.AnyEvent)) == {*EngineEvent.__subclasses__(), ScriptFinished}
    left_aside = {"counters", "group", "peer"}  # the plan says the group, nothing depends on the others
    assert set(record.SlotPoint.__struct_fields__) - {"key", "kind"} | {"config"} == {*Slot.__slots__} - left_aside


def a_minute() -> RecordedEngine:
    storm = play([("run", "a", 5000)])
    storm.run(60 * SECOND)
    return storm.lives[0]


def changed(recording: Recording, find: Any, change: Any) -> Recording:
    """The recording with the first entry that `find` finds replaced."""
    for index, entry in enumerate(recording.entries):
        if isinstance(entry, Happened) and find(entry):
            recording.entries[index] = change(entry)
            return recording
    raise AssertionError("no such entry")


def test_a_changed_event_is_found_where_it_first_shows() -> None:
    recording = read(written(a_minute()))
    transition = next(
        number
        for number, entry in enumerate(recording.entries, 1)
        if any(effect["type"] == "SetAddresses" for effect in entry.effects or ())
    )
    entry = recording.entries[transition - 1]
    assert isinstance(entry, Happened)
    assert isinstance(entry.event, TimersDue)
    recording.entries[transition - 1] = msgspec.structs.replace(entry, now=entry.now - 100 * MILLISECOND)
    found = replay(recording, restored(recording, Engine)).difference
    assert found is not None
    assert (found.number, found.replayed, found.what) == (transition, [], "other effects")


def test_changed_effects_are_found_and_both_sides_shown() -> None:
    recording = read(written(a_minute()))

    def add(entry: Happened) -> Happened:
        return Happened(entry.now, entry.event, [*(entry.effects or ()), {"type": "Hush", "slot": 1}])

    changed(recording, lambda entry: entry.effects and entry.effects[0]["type"] == "SendOne", add)
    found = replay(recording, restored(recording, Engine)).difference
    assert found is not None
    assert found.recorded[-1] == {"type": "Hush", "slot": 1}
    assert found.replayed == found.recorded[:-1]


def test_a_failure_is_the_last_entry_and_fails_again(monkeypatch: pytest.MonkeyPatch) -> None:
    storm = play([])
    engine = storm.lives[0]

    def fail(*_: object) -> None:
        raise AssertionError("a mistake of ours")

    with monkeypatch.context() as patched:
        patched.setattr("holdfast.engine.engine.lines.address_lost", fail)
        with pytest.raises(AssertionError):
            storm.lose_address(storm.routers["a"])
        recording = read(written(engine))
        assert recording.entries[-1].effects is None
        outcome = replay(recording, restored(recording, Engine))
        assert (outcome.crashed, outcome.difference) == ("AssertionError: a mistake of ours", None)
    mended = replay(recording, restored(recording, Engine)).difference
    assert mended is not None
    assert mended.what == "the engine failed over it then, and does not now"


def test_the_ring_is_bounded_however_much_happens() -> None:
    engine = a_minute()
    now = 10**13
    for count in range(60_000):
        engine.handle(AdvertArrived(1, 100, Address(b"\xc0\x00\x02%c" % (count % 250)), SECOND), now + count * MILLISECOND)
    size = sum(map(len, engine.frames()))
    assert record.SEGMENT_BYTES < size < (record.SEGMENTS + 1) * 2 * record.SEGMENT_BYTES
    recording = again(written(engine))
    assert isinstance(recording.start, record.Checkpoint)
    assert recording.entries[-1].now == now + 59_999 * MILLISECOND


def test_routine_takes_16_octets_a_beat() -> None:
    storm = play([], last_plan=1)
    before = sum(map(len, storm.lives[0].frames()))
    storm.run(1000 * SECOND)
    grown = sum(map(len, storm.lives[0].frames())) - before
    assert 1000 * 16 <= grown < 1000 * 16 * 1.1  # two masters, one beat
    assert SetAddresses(1, True) not in storm.lives[0].handle(TimersDue(), storm.now)


def test_passwords_are_not_in_it_and_the_same_one_is_known_again() -> None:
    secret = {"auth_type": AuthType.PASS, "version": 2}
    one = instance("V1", 1, 100, **secret, auth_pass=b"gehe1m\0\0")
    two = instance("V2", 2, 100, **secret, auth_pass=b"gehe1m\0\0")
    other = instance("V2", 2, 100, **secret, auth_pass=b"n0chEins")
    engine = RecordedEngine(VrrpPlan(instances=(one, two)), 0)
    engine.begin([], 0)
    engine.reload(VrrpPlan(instances=(one, other)), [], SECOND)
    frames = b"".join(engine.frames())
    assert b"gehe1m" not in frames
    assert b"n0chEins" not in frames
    recording = again(written(engine))
    hidden = [[config.auth_pass for config in plan.instances] for plan in recording.plans.values()]
    assert hidden == [[b"hidden 1", b"hidden 1"], [b"hidden 1", b"hidden 2"]]


def test_keys_are_not_in_it() -> None:
    secret = b"correct-horse-battery-staple-0123456789"
    signed = AuthHmac(keys=(HmacKey(id=1, secret=secret),), active_key=1)
    plan = VrrpPlan(instances=(msgspec.structs.replace(instance("a", 1, 100), auth_hmac=signed),))
    engine = RecordedEngine(plan, 0)
    engine.begin([], 0)
    frames = b"".join(engine.frames())
    assert b"auth_hmac" in frames
    assert secret not in frames
    [read_again] = read(file_octets(HEADER, frames)).plans.values()
    assert read_again.instances[0].auth_hmac == AuthHmac(keys=(HmacKey(id=1, secret=b"hidden 1"),), active_key=1)


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (b"", "not a recording"),
        (b"\x7fELF", "not a recording"),
        (b"holdfast-recording {\n", "first line is damaged"),
        (b"holdfast-recording []\n", "first line is damaged"),
        (b'holdfast-recording {"format":2,"version":"9.1"}\n', "replay it with holdfast 9.1"),
        (b'holdfast-recording {"format":1}\n', "first line is damaged"),
        (file_octets(HEADER, b""), "it holds nothing"),
    ],
)
def test_what_is_no_recording_is_refused_with_the_reason(octets: bytes, words: str) -> None:
    with pytest.raises(BadRecordingError, match=words):
        read(octets)


def test_what_can_be_read_of_a_damaged_file_is_replayed() -> None:
    octets = written(a_minute())
    whole = len(again(octets).entries)
    for share in (0.6, 0.8, 0.95, 0.999):
        recording = read(octets[: int(len(octets) * share)])
        assert recording.damage == "its end is missing"
        assert 0 < len(recording.entries) <= whole - (share < 0.99)
        assert replay(recording, restored(recording, Engine)).difference is None
    broken = bytearray(octets)
    broken[len(octets) * 3 // 4] ^= 0xFF
    recording = read(bytes(broken))
    assert recording.damage


def test_a_recording_with_octets_changed_is_refused_or_replayed_and_never_worse() -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(record, "SEGMENT_BYTES", 800)
        frames = b"".join(play([("switch", "a", 4), ("reload", "a", 3)]).lives[0].frames())
    outcomes = set()
    for at in range(0, len(frames), max(len(frames) // 400, 1)):
        changed_frames = bytearray(frames)
        changed_frames[at] = (changed_frames[at] + 1 + at % 200) % 256
        try:
            recording = read(file_octets(HEADER, bytes(changed_frames)))
            outcome = replay(recording, restored(recording, Engine))
            outcomes.add("damaged" if recording.damage else "same" if outcome.difference is None else "differs")
        except BadRecordingError:
            outcomes.add("refused")
    assert outcomes == {"damaged", "same", "differs", "refused"}


def stands(engine: Engine) -> dict[str, Any]:
    """All that an engine's decisions depend on."""
    names: dict[int, Any] = {id(slot): slot.number for slot in engine.slots.values()}
    names |= {id(script): name for name, script in engine.scripts.items()}
    return {
        "slots": [
            {name: getattr(slot, name) for name in Slot.__slots__ if name not in ("counters", "peer")}
            for slot in engine.slots.values()
        ],
        "scripts": {name: (script.config, script.state, script.timer_at) for name, script in engine.scripts.items()},
        "beats": sorted(rhythm[1:] for rhythm in engine.beats.rhythms()),
        "timers": sorted(
            (at, names[id(timed)]) for at, _, timed in engine._timers.entries() if isinstance(timed, Slot)
            and id(timed) in names
        ),
        "groups": (engine.groups.roles, engine.groups.left_master, engine.groups.configs),
        "members": {name: [slot.number for slot in slots] for name, slots in engine.groups.members.items()},
        "rest": (engine.interfaces, engine.verdicts, engine.number, engine.hold_until, engine.leaving),
    }  # fmt: skip


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.lists(happenings, max_size=20))
@example([("script", "a", 1), ("reload", "a", 4), ("run", "a", 3000), ("switch", "a", 0), ("stop", "b", 0)])
def test_a_checkpoint_holds_all_that_decisions_depend_on(things: list[Weather]) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(record, "SEGMENTS", 1)
        patched.setattr(record, "SEGMENT_BYTES", 0)  # a checkpoint after each event, and only the last is kept
        storm = Recorded(**{name: (HOSTS[name][0], plans(HOSTS[name][1])[0]) for name in "ab"})
        for what, name, number in things:
            if name in storm.routers:
                HAPPENINGS[what](storm, storm.routers[name], number)
    for engine in storm.lives:
        recording = read(written(engine))
        assert isinstance(recording.start, record.Checkpoint)
        twin = restored(recording, Engine)
        assert replay(recording, twin).difference is None
        assert stands(twin) == stands(engine)


def test_groups_settle_in_the_plan_s_order_whatever_their_names() -> None:
    names = [f"G{number}" for number in range(8)]
    members = tuple(instance(f"V{number}", number + 1, 100) for number in range(8))
    groups = tuple(GroupConfig(name=name, members=(f"V{name[1:]}",)) for name in names)
    begun = Engine(VrrpPlan(instances=members, groups=groups), 0).begin([a_link()], 0)
    told = [effect.notice for effect in begun if isinstance(effect, Tell)]
    assert [notice.name for notice in told if isinstance(notice, StateNotice) and notice.kind == "GROUP"] == names


def a_link() -> Interface:
    return Interface(name="eth0", index=2, up=True, addresses=(Address(b"\xc0\x00\x02\x01"),))


def test_a_thousand_effects_are_not_encoded_before_they_are_carried_out() -> None:
    members = tuple(instance(f"V{number}", number + 1, 100) for number in range(60))
    engine = RecordedEngine(VrrpPlan(instances=members), 0)
    engine.begin([a_link()], 0)
    engine.take_due(4 * SECOND)
    effects = engine.handle(TimersDue(), 4 * SECOND)
    assert len(effects) >= 60 * 3
    assert any(isinstance(item, Happened) and item.effects is effects for item in engine._segment.items)
    assert again(written(engine)).entries[-1].now == 4 * SECOND
