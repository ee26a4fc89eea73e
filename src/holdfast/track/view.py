"""What an operator sees of a tracker."""

import msgspec


class TrackerView(msgspec.Struct, frozen=True, kw_only=True):
    """One tracker: `up` is null until its first verdict."""

    kind: str  # script, interface, file, process, static
    name: str
    up: bool | None
    weight: int
    detail: str
    last_run: str | None = None
    runs: int = 0
    running: bool = False
    value: int | None = None  # of a file: its number; of processes: how many run
    counter: int = 0  # of a script: 0 to rise + fall - 1, up while at least rise
