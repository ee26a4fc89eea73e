"""Operators' weights for real servers, kept in the run directory: they survive a worker that dies, and a restart."""

import os
from collections.abc import Iterable

import msgspec

FILE = "server-holds"
"""In the run directory; a JSON list of [virtual server, real server, weight]."""

MOST = 10_000
"""So many are kept; a file that holds more is not ours."""

HIGHEST_WEIGHT = 2**31 - 1

Key = tuple[str, str]


class ServerHolds:
    """Weights by the name of the virtual server and the label of the real one. Methods give what went wrong, or ""."""

    def __init__(self, run_dir: str) -> None:
        self._path = os.path.join(run_dir, FILE)
        self.weights: dict[Key, int] = {}

    def read(self) -> str:
        """Take up what the run before has left."""
        try:
            with open(self._path, "rb") as file:
                rows = msgspec.json.decode(file.read(1 << 22))
            found = {(str(service), str(server)): _weight(weight) for service, server, weight in rows[:MOST]}
        except FileNotFoundError:
            return ""
        except (OSError, ValueError, TypeError) as wrong:
            return f"{self._path} is not taken up: {wrong}; servers have their own weights"
        self.weights = found
        return ""

    def hold(self, service: str, server: str, weight: int | None) -> str:
        """A weight is held, or (None) given back."""
        if weight is None:
            self.weights.pop((service, server), None)
        elif len(self.weights) < MOST:
            self.weights[service, server] = weight
        return self._write()

    def keep_only(self, there: Iterable[Key]) -> str:
        """Forget those of servers that there are no more."""
        known = set(there)
        kept = {key: weight for key, weight in self.weights.items() if key in known}
        if kept == self.weights:
            return ""
        self.weights = kept
        return self._write()

    def _write(self) -> str:
        from holdfast.export.files import replace

        try:
            if not self.weights:
                os.unlink(self._path)
            else:
                rows = [[*key, weight] for key, weight in sorted(self.weights.items())]
                replace(self._path, msgspec.json.encode(rows), 0o644)
        except FileNotFoundError:
            return ""
        except OSError as refused:
            return f"{self._path}: {refused.strerror}; what is held now is forgotten when the daemon ends"
        return ""


def _weight(value: object) -> int:
    if not isinstance(value, int) or not 0 <= value <= HIGHEST_WEIGHT:
        raise ValueError(f"{value!r} is no weight")
    return value
