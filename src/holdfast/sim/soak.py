"""Lives of random clusters, one a seed: `python -m holdfast.sim.soak` until stopped, `--seed N` one of them, told.

    python -m holdfast.sim.soak                  seeds from 0 on until stopped; ends with 1 when a promise was broken
    python -m holdfast.sim.soak --seeds 100-400  these
    python -m holdfast.sim.soak --seed 7         this one, and what happened in it
"""

import argparse
import sys
import time
from collections import Counter

from holdfast.sim.life import HOUR, Life
from holdfast.sim.promises import BrokenPromise
from holdfast.sim.scenes import SCENES

HOURS = 4.0
SCENES_A_LIFE = 12


def live(seed: int, hours: float = HOURS, scenes: int = SCENES_A_LIFE, *, leaps: bool = True) -> Life:
    """A whole life: `scenes` scenes, spread over that many hours. Raises BrokenPromise with the story as its note."""
    life = Life(seed, leaps=leaps)
    world, chance = life.world, life.chance
    end = world.begun + round(hours * HOUR)
    try:
        life.begin()
        for left in range(scenes, 0, -1):
            name, scene = chance.choice(SCENES)
            if scene(life):
                life.scenes[name] = life.scenes.get(name, 0) + 1
            share = max(end - world.now, 0) // left
            life.calm(share // 2 + chance.randrange(share + 1) // 2)
        life.calm(max(end - world.now, 0))
    except (AssertionError, BrokenPromise) as broken:
        broken.add_note(life.told())
        broken.add_note(f"\nseed {seed}; again: {command(seed, hours, scenes)}")
        raise
    return life


def command(seed: int, hours: float, scenes: int) -> str:
    """What replays a seed."""
    changed = f" --hours {hours:g}" if hours != HOURS else ""
    changed += f" --scenes {scenes}" if scenes != SCENES_A_LIFE else ""
    return f"python -m holdfast.sim.soak --seed {seed}{changed}"


class Tally:
    """What a number of lives comes to."""

    def __init__(self) -> None:
        self.lives = 0
        self.hours = 0.0
        self.leapt_hours = 0.0
        self.transitions = 0
        self.scenes: Counter[str] = Counter()

    def add(self, life: Life) -> None:
        """Count a life."""
        self.lives += 1
        self.hours += (life.world.now - life.world.begun) / HOUR
        self.leapt_hours += life.world.leapt_ns / HOUR
        self.transitions += sum(entry.kind == "instance" for entry in life.world.history)
        self.scenes.update(life.scenes)

    def line(self) -> str:
        """In words."""
        return (
            f"{self.lives} clusters, {self.hours:,.0f} h, {self.hours - self.leapt_hours:,.0f} stroke by stroke, "
            f"{sum(self.scenes.values()):,} scenes, {self.transitions:,} transitions"
        )


def main(arguments: list[str] | None = None) -> int:
    """The command; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m holdfast.sim.soak", description="lives of random clusters")
    parser.add_argument("--seed", type=int, help="this one, and what happened in it")
    parser.add_argument("--seeds", metavar="FROM-TO", default="0-", help="these [default: from 0 until stopped]")
    parser.add_argument("--hours", type=float, default=HOURS, help=f"of each life [default: {HOURS:g}]")
    parser.add_argument("--scenes", type=int, default=SCENES_A_LIFE, help=f"in each life [default: {SCENES_A_LIFE}]")
    parser.add_argument("--no-leaps", action="store_true", help="go through the calm step by step, too")
    parser.add_argument("--first", action="store_true", help="end with the first broken promise")
    wanted = parser.parse_args(arguments)
    if wanted.seed is not None:
        return one(wanted.seed, wanted.hours, wanted.scenes, not wanted.no_leaps)
    first, _, last = wanted.seeds.partition("-")
    bounds = (int(first), int(last) if last else None)
    return soak(*bounds, wanted.hours, wanted.scenes, leaps=not wanted.no_leaps, first_only=wanted.first)


def one(seed: int, hours: float, scenes: int, leaps: bool) -> int:
    """One seed and its story."""
    try:
        life = live(seed, hours, scenes, leaps=leaps)
    except (AssertionError, BrokenPromise) as broken:
        print(*broken.__notes__, sep="\n")
        print(f"\n{type(broken).__name__}: {broken}")
        return 1
    print(life.told())
    print(f"\nevery promise kept in {(life.world.now - life.world.begun) / HOUR:.2f} hours")
    return 0


def soak(first: int, last: int | None, hours: float, scenes: int, *, leaps: bool, first_only: bool) -> int:
    """One seed after the other; the failing ones are named at once, and again at the end."""
    tally, seed = Tally(), first
    failed: list[int] = []
    shown_at = begun = time.monotonic()
    try:
        while (last is None or seed <= last) and not (failed and first_only):
            try:
                tally.add(live(seed, hours, scenes, leaps=leaps))
            except (AssertionError, BrokenPromise) as broken:
                failed.append(seed)
                print(f"seed {seed}: {broken or type(broken).__name__}\n  {command(seed, hours, scenes)}", flush=True)
            seed += 1
            if time.monotonic() - shown_at > 5:
                shown_at = time.monotonic()
                print(f"{shown_at - begun:6.0f} s: {tally.line()}", flush=True)
    except KeyboardInterrupt:
        print()
    print(f"{tally.line()}; {time.monotonic() - begun:.1f} s")
    for each in failed:
        print(f"broken: {command(each, hours, scenes)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
