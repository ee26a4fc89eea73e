"""What happens to a tracker and what it asks for. Plain, frozen data."""

import msgspec


class TrackEffect(msgspec.Struct, frozen=True, tag=True):
    """Something a tracker asks to be done."""


class StartRun(TrackEffect, frozen=True):
    """Run the script once; `run` counts the runs."""

    run: int


class VerdictChanged(TrackEffect, frozen=True):
    """The tracker is up or down from now on; `detail` says by what."""

    up: bool
    detail: str
    first: bool = False  # the first verdict since the start


class RunSkipped(TrackEffect, frozen=True):
    """The previous run had not ended when its period came round again."""
