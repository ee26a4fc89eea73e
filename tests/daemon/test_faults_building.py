"""Reading a configuration that somebody is writing at the same time."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from holdfast.config.plan import VrrpPlan
from holdfast.daemon.building import Built, _build
from holdfast.daemon.options import Options
from tests.daemon.two_hosts import CONFIGURATION


def read(path: Path, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], object]) -> Built:
    """What is built of `path` when `meanwhile` happens in each pause between two reads."""
    monkeypatch.setattr("holdfast.daemon.building.time.sleep", lambda seconds: meanwhile())
    return _build(Options(config_file=str(path)))


def test_an_empty_file_is_read_again_until_something_stands_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "keepalived.conf"
    path.write_text("")
    built = read(path, monkeypatch, lambda: path.write_text(CONFIGURATION % (160, "")))
    assert not built.empty
    assert [i.priority for i in msgspec.msgpack.decode(built.plan, type=VrrpPlan).instances] == [160]


def test_a_file_that_stays_empty_is_told_as_such_and_not_read_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "keepalived.conf"
    path.write_text("")
    pauses: list[None] = []
    built = read(path, monkeypatch, lambda: pauses.append(None))
    assert built.empty
    assert len(pauses) == 5


def test_a_file_that_is_whole_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keepalived.conf"
    path.write_text(CONFIGURATION % (160, ""))

    def never() -> None:
        raise AssertionError("it paused")

    assert not read(path, monkeypatch, never).failure
