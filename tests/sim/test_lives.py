"""Hundreds of random clusters live for a thousand hours and more, and every promise is kept; mutants don't get away."""

import importlib.machinery
import importlib.util
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from holdfast.base.time import SECOND
from holdfast.sim.life import HOUR
from holdfast.sim.promises import BrokenPromise
from holdfast.sim.scenes import SCENES
from holdfast.sim.soak import Tally, command, live, main
from holdfast.sim.world import World
from tests.sim.test_world import instance, node

ROOT = Path(__file__).resolve().parents[2]
SEEDS = range(300)
HOURS_A_LIFE = 4.0
SCENES_A_LIFE = 12


def test_three_hundred_clusters_keep_every_promise_for_a_thousand_hours() -> None:
    tally, broken = Tally(), []
    for seed in SEEDS:
        try:
            tally.add(live(seed, HOURS_A_LIFE, SCENES_A_LIFE))
        except (AssertionError, BrokenPromise) as reason:
            broken.append(f"{command(seed, HOURS_A_LIFE, SCENES_A_LIFE)}: {reason}")
    assert not broken, "\n".join(broken)
    print(tally.line())
    assert tally.hours >= 1_000
    assert sum(tally.scenes.values()) > 3_000
    assert tally.transitions > 20_000
    assert tally.scenes.keys() == {name for name, _ in SCENES}
    assert all(count >= 40 for count in tally.scenes.values()), tally.scenes


@pytest.mark.parametrize("seed", range(500, 510))
def test_lives_gone_through_stroke_by_stroke(seed: int) -> None:
    life = live(seed, 0.5, 6, leaps=False)
    assert life.world.leapt_ns == 0


@pytest.mark.parametrize(
    ("names", "more", "begins_s", "interval_s"),
    [
        ("ab", {}, 3.414062500, 1),  # 3 × 1 s + 106/256 s
        ("ab", {"adver_interval_ns": SECOND // 2}, 1.707031250, 0.5),
        ("abc", {"version": 2}, 3.414062500, 1),
    ],
)
def test_an_undisturbed_cluster_for_a_hundred_hours_stroke_by_stroke(
    names: str, more: dict[str, Any], begins_s: float, interval_s: float
) -> None:
    world = World([node(name, instance(150 - 30 * number, **more)) for number, name in enumerate(names)])
    world.run(100 * HOUR)
    entered = [(e.at_ns - world.begun, e.node, e.state) for e in world.history if e.kind == "instance"]
    assert entered == [*((0, name, "BACKUP") for name in names), (round(begins_s * SECOND), "a", "MASTER")]
    for name in names[1:]:
        backup = world.hosts[name]
        assert backup.engine is not None
        backup.bring_up_to_date()
        heard = backup.engine.slots[1].counters["advert_rcvd"]
        assert heard == int((360_000 - begins_s) / interval_s) + 1
    assert world.leapt_ns == 0


def test_a_broken_promise_tells_how_to_see_it_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def take_nothing(*_: object) -> None:
        raise BrokenPromise("groups agree: not today")

    monkeypatch.setattr("holdfast.sim.life.check_settled", take_nothing)
    assert main(["--seeds", "7-8", "--hours", "1"]) == 1
    said = capsys.readouterr().out
    assert "seed 7: groups agree: not today\n  python -m holdfast.sim.soak --seed 7 --hours 1\n" in said
    assert main(["--seed", "7"]) == 1
    said = capsys.readouterr().out
    assert "the cluster starts" in said
    assert said.endswith("BrokenPromise: groups agree: not today\n")


def test_one_life_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "1", "--hours", "0.5", "--scenes", "3"]) == 0
    said = capsys.readouterr().out
    assert "MASTER: no master heard" in said
    assert "every promise kept in 0.5" in said


# ---- mutants ---------------------------------------------------------------------------------------------------------


def mutate() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("mutate", str(ROOT / "tools" / "mutate"))
    spec = importlib.util.spec_from_loader("mutate", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_the_simulation_catches_ten_mutants_of_the_machines(tmp_path: Path) -> None:
    tool = mutate()
    assert len(tool.SIMULATED) >= 10
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    said = {title: tool.outcome(tmp_path, *where, simulate=True) for title, *where in tool.SIMULATED}
    survived = {title: outcome for title, outcome in said.items() if not outcome.startswith("caught by seed")}
    assert not survived
