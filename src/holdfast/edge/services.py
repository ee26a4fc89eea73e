"""The virtual servers in the kernel: what is wanted is compared with what is there, and only differences are sent.

Which services are ours is told by the plan, and by a list that a run leaves in its run directory: after a crash they
are found again and go on with their connections, and those the configuration no longer has are removed. Services of
neither are somebody else's and left alone.
"""

import contextlib
import os
from collections.abc import Iterable, Sequence
from typing import Protocol

from holdfast.base.ipvs import Counts, DestinationKey, Operation, Service, ServiceKey, Table
from holdfast.edge.connection_sync import SyncPort
from holdfast.kernel.errors import KernelRefused
from holdfast.lvs.table import difference, keys_text, read_keys


class TablePort(Protocol):
    """What is asked of the kernel; `kernel.ipvs.IpvsSocket` is it."""

    def services(self) -> dict[ServiceKey, Service]:
        """Every service that is there."""
        ...

    def table(self, keys: Iterable[ServiceKey] | None = None) -> Table:
        """Those of `keys` that are there, with their servers."""
        ...

    def apply(self, steps: Sequence[Operation]) -> list[int]:
        """Carry out steps in order; an errno each."""
        ...

    def flush(self) -> None:
        """Remove everything."""
        ...

    def forget(self) -> None:
        """Nothing of ours is left: what was there to hold it goes too."""
        ...

    def refusal(self, step: Operation, errno: int) -> KernelRefused:
        """What the kernel said to a step, with a cure."""
        ...


class BalancerPort(TablePort, SyncPort, Protocol):
    """What the lvs worker asks of the kernel: the table, what is one a namespace, and counts."""

    def service_counts(self) -> dict[ServiceKey, Counts]:
        """What was counted for every service, where the kernel counts that."""
        ...

    def server_counts(self, key: ServiceKey) -> dict[DestinationKey, Counts]:
        """What was counted for the servers of one service."""
        ...


class Memory:
    """The list of our services, kept in a file that is replaced atomically. "" keeps none."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._written: frozenset[ServiceKey] | None = None

    def read(self) -> frozenset[ServiceKey]:
        """What the last run left; nothing when there is no list that can be read."""
        if not self.path:
            return frozenset()
        try:
            with open(self.path, encoding="utf-8", errors="replace") as file:
                return read_keys(file.read())
        except OSError:
            return frozenset()

    def write(self, keys: frozenset[ServiceKey]) -> str:
        """Keep `keys` for the next run; "" or why that failed. Nothing is written when they are the same as before."""
        if not self.path or keys == self._written:
            return ""
        beside = f"{self.path}.new"
        try:
            with open(beside, "w", encoding="utf-8") as file:
                file.write(keys_text(keys))
            os.replace(beside, self.path)
        except OSError as failed:
            with contextlib.suppress(OSError):
                os.unlink(beside)
            reason = os.strerror(failed.errno or 0).lower()
            return f"cannot write {self.path}: {reason}; after a crash, services may be left in the kernel's table"
        self._written = keys
        return ""

    def forget(self) -> None:
        """Nothing of ours is left."""
        self._written = None
        if self.path:
            with contextlib.suppress(OSError):
                os.unlink(self.path)


class Services:
    """Brings the kernel's table to what is wanted. Every method gives lines for the log about what failed.

    `failing` holds the services that are not as wanted; `repair` tries them again.
    """

    def __init__(self, kernel: TablePort, memory: Memory) -> None:
        self._kernel = kernel
        self._memory = memory
        self._wanted: Table = {}
        self._actual: Table = {}  # our services as the kernel has them
        self.failing: set[ServiceKey] = set()

    @property
    def keys(self) -> frozenset[ServiceKey]:
        """The services that are wanted."""
        return frozenset(self._wanted)

    def begin(self, wanted: Table, *, flush: bool = False) -> list[str]:
        """Take the table over. `flush` removes everything first, whoever made it.

        KernelRefused when the table can't be read.
        """
        remembered = self._memory.read()
        if flush:
            self._kernel.flush()
        else:
            self._actual = self._kernel.table(wanted.keys() | remembered)
        told = [
            f"{key.text()} was there already, made by somebody else: it is taken over with its connections"
            for key in self._actual
            if key not in remembered
        ]
        return told + self._bring(wanted, self._actual.keys() - wanted.keys())

    def want(self, changed: Table, gone: Iterable[ServiceKey] = ()) -> list[str]:
        """These services are to be so, those of `gone` not at all; others stay as they are.

        What is as it should be costs no call of the kernel.
        """
        gone = [key for key in gone if key not in changed]
        wanted = self._wanted | changed
        for key in gone:
            wanted.pop(key, None)
        return self._bring(wanted, gone, changed)

    def replace(self, wanted: Table) -> list[str]:
        """The whole table, after a reload."""
        return self._bring(wanted, self._wanted.keys() - wanted.keys())

    def repair(self) -> list[str]:
        """Try again what failed."""
        failing = {key: self._wanted[key] for key in self.failing if key in self._wanted}
        gone = [key for key in self.failing if key not in self._wanted]
        return self._bring(self._wanted, gone, failing) if self.failing else []

    def end(self, *, leave: bool = False) -> list[str]:
        """Remove our services, and with them their servers. `leave` (`-I`): they go on, and are remembered."""
        if leave:
            return []
        told = self.replace({})
        if not self.failing:
            self._memory.forget()
            self._kernel.forget()
        return told

    def _bring(self, wanted: Table, gone: Iterable[ServiceKey], changed: Table | None = None) -> list[str]:
        """Remember, apply, and after errors look again; `changed` is what may differ (None: all)."""
        gone = list(gone)
        self._wanted = wanted
        told = [line] if (line := self._memory.write(frozenset(wanted) | frozenset(gone))) else []
        considered = wanted if changed is None else changed
        steps = difference(considered, self._actual, gone)
        failed = self._apply(steps)
        if failed:  # somebody else had a hand in the table: look what is there, and try once more
            self._look(failed)
            again = {key: considered[key] for key in failed if key in considered}
            steps = difference(again, self._actual, [key for key in gone if key in failed])
            outcomes = self._kernel.apply(steps)
            refused = [(step, errno) for step, errno in zip(steps, outcomes, strict=True) if errno]
            told += [str(self._kernel.refusal(step, errno)) for step, errno in refused]
            failed = {step.key for step, _ in refused}
            self._look({step.key for step in steps})
        self.failing = (self.failing - set(considered) - set(gone)) | failed
        left = [key for key in gone if key in self._actual]
        last = self._memory.write(frozenset(wanted) | frozenset(left))
        return [*told, last] if last and last not in told else told

    def _apply(self, steps: Sequence[Operation]) -> set[ServiceKey]:
        """Carry out `steps`; the services where something failed. What went well is noted."""
        if not steps:
            return set()
        outcomes = self._kernel.apply(steps)
        failed = {step.key for step, errno in zip(steps, outcomes, strict=True) if errno}
        for key in {step.key for step in steps} - failed:
            pool = self._wanted.get(key)
            if pool is None:
                self._actual.pop(key, None)
            else:
                self._actual[key] = pool
        return failed

    def _look(self, keys: set[ServiceKey]) -> None:
        """Read from the kernel what it has of `keys`."""
        try:
            there = self._kernel.table(keys)
        except KernelRefused:
            there = {}
        for key in keys:
            self._actual.pop(key, None)
        self._actual.update(there)
