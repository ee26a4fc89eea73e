"""`holdfast replay`: what it says of good, differing, damaged and foreign recordings, and its exit status."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from holdfast.base.time import SECOND
from holdfast.cli.replay import clock, command, since_ns
from holdfast.config.plan import VrrpPlan
from holdfast.engine.messages import AddressesApplied, AdvertArrived, TimersDue
from holdfast.engine.record import RecordedEngine
from holdfast.engine.replay import Header, file_octets
from tests.engine.test_explain import ETH0, PEER
from tests.engine.test_storm import instance

WRITTEN = 1_800_000_000 * SECOND  # wall clock at 100 s of the monotonic one


def header(**more: Any) -> Header:
    """As of a daemon called alpha."""
    known = {"format": 1, "version": "0.1.0", "node": "alpha", "pid": 7, "reason": "SIGUSR1", "time": "2027-01-15T08:00"}
    return Header(**{**known, "wall_ns": WRITTEN, "monotonic_ns": 100 * SECOND, **more})


def frames() -> bytes:
    """A life of 6 s: master for want of another, then a better one is heard."""
    engine = RecordedEngine(VrrpPlan(instances=(instance("web", 1, 100), instance("db", 2, 100))), 0)
    engine.begin([ETH0], 0)
    engine.take_due(3_700_000_000)
    engine.handle(TimersDue(), 3_700_000_000)
    engine.handle(AddressesApplied((1, 2)), 3_700_000_000)
    engine.handle(AdvertArrived(1, 200, PEER, SECOND), 6 * SECOND)
    return b"".join(engine.frames())


def run(path: Path, *words: str) -> Result:
    return CliRunner().invoke(command, [str(path), *words])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "alpha.rec"
    path.write_bytes(file_octets(header(), frames()))
    return path


def test_the_same_again(file: Path) -> None:
    result = run(file)
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        "alpha, holdfast 0.1.0, written 2027-01-15T08:00: SIGUSR1",
        "4 events over 6 s, decided the same again",
    ]


def test_explain_chooses_instance_and_time(file: Path) -> None:
    heads = [line for line in run(file, "--explain").output.splitlines() if " → " in line]
    assert [line.partition("  ")[2] for line in heads] == [
        "web: INIT → BACKUP", "db: INIT → BACKUP", "web: BACKUP → MASTER", "db: BACKUP → MASTER", "web: MASTER → BACKUP",
    ]  # fmt: skip
    late = run(file, "--explain", "--from", "94.5s").output
    assert late.count(" → ") == 1
    assert "because   192.0.2.9 advertises priority 200, we have 100" in late
    db = json.loads(run(file, "--explain", "--instance", "db", "--json").output)["transitions"]
    assert [(one["instance"], one["became"]) for one in db] == [("db", "BACKUP"), ("db", "MASTER")]
    assert "no state changed" in run(file, "--explain", "--from", "1s").output


def test_the_first_difference_is_shown_with_both_sides(tmp_path: Path) -> None:
    path = tmp_path / "changed.rec"
    path.write_bytes(file_octets(header(version="0.0.9"), frames().replace(b"we have 100", b"we have 101")))
    result = run(path)
    assert result.exit_code == 1
    assert "replayed by holdfast 0.1.0: where the two differ, so may what they decide" in result.output
    assert "decided otherwise at event 4" in result.output
    assert "event     an advert for web from 192.0.2.9, priority 200, interval 1 s" in result.output
    assert result.output.count("we have 101") == result.output.count("we have 100") == 1
    document = json.loads(run(path, "--json").output)
    assert (document["same"], document["difference"]["number"]) == (False, 4)
    assert len(document["difference"]["recorded"]) == len(document["difference"]["replayed"])


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (b"!<arch>\n", "can't be replayed: it is not a recording of holdfast: write one with `holdfast dump --record"),
        (b'holdfast-recording {"format":2,"version":"9.1"}\n', "replay it with holdfast 9.1"),
        (file_octets(header(), b""), "it holds nothing"),
    ],
)
def test_what_cannot_be_replayed_is_said(tmp_path: Path, octets: bytes, words: str) -> None:
    path = tmp_path / "x.rec"
    path.write_bytes(octets)
    result = run(path)
    assert result.exit_code == 1
    assert words in result.stderr
    assert result.stdout == ""


def test_wrong_words(file: Path) -> None:
    missing = run(file.parent / "none.rec")
    assert (missing.exit_code, missing.stderr.rpartition(" can't be ")[2]) == (1, "read: No such file or directory\n")
    assert "there is no instance mail in it: it has db, web" in run(file, "--instance", "mail").stderr
    unclear = run(file, "--from", "noon")
    assert (unclear.exit_code, "--from noon is no time" in unclear.stderr) == (2, True)
    assert run(file, "--from", "25:00").exit_code == 2


def test_a_file_cut_short_is_replayed_as_far_as_it_goes(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-20])
    result = run(file)
    assert result.exit_code == 0
    assert "its end is missing: what can be read of it is replayed" in result.output
    assert json.loads(run(file, "--json").output)["damage"] == "its end is missing"


def test_a_damaged_file_never_ends_in_a_traceback(file: Path) -> None:
    whole = frames()
    for at in range(0, len(whole), max(len(whole) // 250, 1)):
        octets = bytearray(whole)
        octets[at] = (octets[at] + 1 + at % 200) % 256
        file.write_bytes(file_octets(header(), bytes(octets)))
        for words in (("--explain",), ("--explain", "--json")):
            result = run(file, *words)
            assert result.exception is None or isinstance(result.exception, SystemExit), (at, result.exception)
            assert result.exit_code in (0, 1)


def test_times_of_day_are_those_before_the_writing() -> None:
    written = clock(header(), 100 * SECOND)
    assert since_ns(written, header()) == 100 * SECOND
    assert since_ns("40s", header()) == 60 * SECOND
    assert since_ns(None, header()) == 0
    hour = int(written[:2])
    later = f"{(hour + 1) % 24:02}:00"  # has not come yet that day
    assert since_ns(later, header()) < 0
