"""Random clusters that speak CARP keep every promise; a machine that is wrong is found out."""

import pytest

from holdfast.carp import machine
from holdfast.carp.config import CarpTerms, down_interval_ns
from holdfast.sim.carp_lives import live_with_carp
from holdfast.sim.promises import BrokenPromise

SEEDS = range(60)


def test_sixty_clusters_keep_every_promise() -> None:
    broken, transitions = [], 0
    for seed in SEEDS:
        try:
            life = live_with_carp(seed)
            transitions += sum(entry.kind == "instance" for entry in life.world.history)
        except (AssertionError, BrokenPromise) as reason:
            broken.append(f"seed {seed}: {reason}")
    assert not broken, "\n".join(broken)
    assert transitions > 2_000


def test_a_machine_that_waits_too_long_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_long(terms: CarpTerms, priority: int) -> int:
        return down_interval_ns(terms, priority) * 3 // 2

    monkeypatch.setattr(machine, "down_interval_ns", too_long)
    with pytest.raises(BrokenPromise, match="within the dead time"):
        live_with_carp(0)
