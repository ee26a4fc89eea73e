"""What a check's machine asks for. Plain, frozen data, in order."""

import msgspec


class CheckEffect(msgspec.Struct, frozen=True, tag=True):
    """Something a check asks to be done, or tells."""


class StartRun(CheckEffect, frozen=True):
    """Make the check once: conversation `stage` of its round. `run` comes back with the outcome."""

    run: int
    stage: int


class AbandonRun(CheckEffect, frozen=True):
    """Whatever comes of `run` is not wanted any more."""

    run: int


class VerdictChanged(CheckEffect, frozen=True):
    """The check counts as passed or failed from now on; `first`: it is the first verdict since the start."""

    up: bool
    detail: str
    first: bool = False


class FailureSeen(CheckEffect, frozen=True):
    """A failure that changes nothing, told where `log_all_failures` is on; `attempt` of `attempts` while it is up."""

    detail: str
    attempt: int
    attempts: int


class WeightChanged(CheckEffect, frozen=True):
    """What the check adds to the server's weight is another number now."""

    weight_change: int
