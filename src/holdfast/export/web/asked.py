"""Answers that cost a process: asked for once for all clients and kept for a while, or one at a time."""

import asyncio
import os
import sys
import time

from holdfast.control.client import AskError, RefusedError, ask_bytes

KEPT_S = 2.0
"""An answer younger than this is given again; an errand is done no oftener."""

PLAN_SHARE = 20
"""Reading the configuration takes a processor: its answer is kept for so many times what it took."""

LONGEST_KEPT_S = 60.0

LONGEST_S = 25.0

CPU_S = 20
WALL_S = 30
MEMORY_BYTES = 2 << 30
"""What reading one configuration that was sent may cost."""

LONGEST_BYTES = 16 << 20
"""The longest body of one; 100,000 lines have 3 MB."""


class FailedError(Exception):
    """It was not read to its end; the text says why."""


class Asked:
    """One such question."""

    def __init__(self, run_dir: str, command: str, share: int = 0) -> None:
        """`share`: an answer is kept for so many times what it took."""
        self._run_dir, self._command, self._share = run_dir, command, share
        self._kept_s = KEPT_S
        self._lock = asyncio.Lock()
        self._at = -LONGEST_KEPT_S
        self._answer: tuple[int, bytes | str] = (0, "")

    async def answer(self) -> tuple[int, bytes | str]:
        """Status and document: 200, or what the daemon refused with; 503 and why when it does not answer."""
        async with self._lock:
            begun = time.monotonic()
            if begun - self._at > self._kept_s:
                self._answer = await self._fetched()
                self._at = time.monotonic()
                self._kept_s = min(max(KEPT_S, self._share * (self._at - begun)), LONGEST_KEPT_S)
            return self._answer

    def stale(self) -> None:
        """Something was changed: the next answer is a new one."""
        self._at = -LONGEST_KEPT_S

    async def _fetched(self) -> tuple[int, bytes | str]:
        try:
            return 200, await asyncio.to_thread(ask_bytes, self._run_dir, {"command": self._command}, LONGEST_S)
        except RefusedError as no:
            return refusal_status(no.answer), no.answer
        except AskError as nobody:
            return 503, str(nobody)


def refusal_status(answer: bytes) -> int:
    """422 for a configuration that can't be used, with its problems; 409 for whatever else the daemon refuses."""
    return 422 if b'"problems":[{' in answer else 409


async def check_apart(body: bytes) -> bytes:
    """What `checking.py` says of a body that is known to be a Check, in a process of its own; raises FailedError."""
    limits = map(str, (CPU_S, MEMORY_BYTES, WALL_S))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "holdfast.export.web.checking", *limits, env=environment, cwd="/",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(WALL_S):
            said, _ = await child.communicate(body)
    except TimeoutError:
        raise FailedError(f"reading it took more than {WALL_S} s") from None
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode:
        how = f"ended by signal {-child.returncode}" if child.returncode < 0 else f"status {child.returncode}"
        raise FailedError(f"its reader ended early ({how}): it takes more than {CPU_S} s or {MEMORY_BYTES >> 30} GB")
    return said
