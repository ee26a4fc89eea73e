"""Carries a status on by what is only routine, so that the vrrp worker need not make a whole one each second."""

import struct
from base64 import b64decode
from typing import Any

from holdfast.base.time import SECOND

Row = dict[str, Any]


class Carried:
    """A whole status, and how far its routine was when it was made."""

    def __init__(self, status: Row) -> None:
        self.status = status
        self._hints: Row = status.pop("routine", None) or {"at": 0, "by_name": {}}
        self.at_s: float = self._hints["at"] / SECOND  # of the daemon's clock: when the counters stood so
        self._rows = [(row, self._hints["by_name"].get(row["name"]), _Base(row)) for row in status["instances"]]
        self._followed = all(hint is not None or _rests(row) for row, hint, _ in self._rows)

    def carry_on(self, told: Row) -> bool:
        """Bring the status to what the daemon told of its routine; False when only a whole one can tell."""
        if not self._followed or told["worker_pid"] != self.status["worker_pid"]:
            return False
        routine = told.pop("routine", None) or {"at": 0, "beats": {}, "ports": {}}
        ports = {name: _heard(words) for name, words in routine["ports"].items()}
        since_s = (routine["at"] - self._hints["at"]) / SECOND
        for row, hint, base in self._rows:
            if hint is None:
                continue
            if "beat" in hint:
                strokes = routine["beats"].get(str(hint["beat"]), -1) - hint.get("strokes", 0)
                if strokes < 0:
                    return False
                row["statistics"]["adverts_sent"] = base.sent + strokes
                base.later(row, since_s)
            elif not base.heard(row, hint, ports.get(hint["port"], {}), routine["at"], since_s):
                return False
        self.status.update(told)
        self.at_s = routine["at"] / SECOND
        return True


class _Base:
    """What the whole status said of an instance."""

    def __init__(self, row: Row) -> None:
        self.sent = row["statistics"]["adverts_sent"]
        self.received = row["statistics"]["adverts_received"]
        self.ago_s = row["last_heard"]["ago_s"] if row["last_heard"] else None
        self.takes_over_in_s = row["takes_over_in_s"]

    def later(self, row: Row, since_s: float) -> None:
        """Nothing was heard since."""
        if self.ago_s is not None:
            row["last_heard"]["ago_s"] = round(self.ago_s + since_s, 3)
        if self.takes_over_in_s is not None:
            row["takes_over_in_s"] = round(max(self.takes_over_in_s - since_s, 0), 3)

    def heard(self, row: Row, hint: Row, port: dict[int, tuple[int, int]], at: int, since_s: float) -> bool:
        """What a filter absorbed since; False when it began anew, or nothing is heard any more."""
        heard_at, count = port.get(hint["vrid"], (0, 0))
        if count < hint.get("count", 0):
            return False
        row["statistics"]["adverts_received"] = self.received + count - hint.get("count", 0)
        if heard_at == hint.get("heard_at", 0):
            self.later(row, since_s)
            return True
        ago_s = max(at - heard_at, 0) / SECOND
        row["last_heard"]["ago_s"] = round(ago_s, 3)
        row["takes_over_in_s"] = round(max(row["master_down_interval_s"] - ago_s, 0), 3)
        return True


def _rests(row: Row) -> bool:
    """Whether nothing of an instance without routine changes by itself."""
    waits = (row["takes_over_in_s"], row["preempt_in_s"], row["starts_in_s"])
    return row["state"] == "FAULT" and all(one is None for one in waits)


def _heard(words: list[str]) -> dict[int, tuple[int, int]]:
    """By VRID: when one was heard last, and how many."""
    times, counts = (struct.unpack(f"={len(octets) // 8}Q", octets) for octets in map(b64decode, words))
    return {vrid: (at, count) for vrid, (at, count) in enumerate(zip(times, counts, strict=True)) if count or at}
