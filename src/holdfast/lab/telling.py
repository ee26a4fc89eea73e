"""How a lab tells what happens: lines for people, a JSON document a line for programs."""

import json
import os
import sys
import time


class Lines:
    """Prints steps as they happen, with the time since the start; colour only on a terminal."""

    def __init__(self) -> None:
        self._colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self._begun = time.monotonic()

    def _painted(self, what: str, code: str) -> str:
        return f"\x1b[{code}m{what}\x1b[0m" if self._colour else what

    def title(self, what: str) -> None:
        """A heading."""
        print(f"\n{self._painted(what, '1')}", flush=True)

    def fact(self, kind: str, what: str, good: bool = True, **more: object) -> None:
        """One thing that has just happened."""
        mark = self._painted("✓" if good else "✗", "32" if good else "31")
        print(f"  {time.monotonic() - self._begun:6.2f} s  {mark} {what}", flush=True)

    def plain(self, what: str) -> None:
        """Something to read."""
        for line in what.splitlines() or [""]:
            print(f"            {line}".rstrip(), flush=True)


class JsonLines:
    """The same as JSON."""

    def __init__(self) -> None:
        self._begun = time.monotonic()

    def _say(self, document: dict[str, object]) -> None:
        print(json.dumps({"time_s": round(time.monotonic() - self._begun, 3)} | document), flush=True)

    def title(self, what: str) -> None:
        """A heading."""
        self._say({"event": "title", "text": what})

    def fact(self, kind: str, what: str, good: bool = True, **more: object) -> None:
        """One thing that has just happened."""
        self._say({"event": kind, "text": what, "good": good} | more)

    def plain(self, what: str) -> None:
        """Something to read."""
        self._say({"event": "text", "text": what})
