"""The `nft` program, run to its end: a script in one transaction, or a listing as JSON."""

import json
import os
import shutil
from typing import Any

from holdfast.kernel.errors import KernelRefused

_PLACES = "/usr/sbin:/sbin:/usr/local/sbin:/usr/bin:/bin"
_SAID_BYTES = 4096


class Nft:
    """Runs `nft`; it takes some 10 ms. KernelRefused when there is no such program."""

    def __init__(self) -> None:
        found = shutil.which("nft", path=f"{os.environ.get('PATH', '')}:{_PLACES}")
        if found is None:
            raise KernelRefused("balance connections with nftables", "", 2, "install the nft program: package nftables")
        self._path = found

    def script(self, lines: list[str]) -> str:
        """Carry all lines out, or none; "" or what nft said, its first line."""
        status, _, said = self._run(["-f", "-"], "\n".join((*lines, "")))
        if not status:
            return ""
        first = next((line for line in said.splitlines() if "rror" in line), said.strip() or f"it ended with {status}")
        return first.partition("Error: ")[2] or first

    def listed(self, *words: str) -> list[dict[str, Any]]:
        """What `nft -j list …` tells; nothing when there is no such object."""
        status, told, _ = self._run(["-j", "list", *words], "")
        if status:
            return []
        return list(json.loads(told).get("nftables", []))

    def shown(self, *words: str) -> str:
        """What `nft list …` prints; "" when there is no such object."""
        status, told, _ = self._run(["list", *words], "")
        return "" if status else told

    def _run(self, arguments: list[str], script: str) -> tuple[int, str, str]:
        files = [os.memfd_create(name, os.MFD_CLOEXEC) for name in ("script", "told", "said")]
        try:
            left = memoryview(script.encode())
            while left:
                left = left[os.write(files[0], left) :]
            os.lseek(files[0], 0, os.SEEK_SET)
            actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(files)]
            pid = os.posix_spawn(
                self._path, ["nft", *arguments], os.environ,
                file_actions=actions, setsigdef=_SIGNALS, setsigmask=(),
            )  # fmt: skip
            _, status = os.waitpid(pid, 0)
            texts = [os.pread(fd, os.fstat(fd).st_size, 0).decode("utf-8", "replace") for fd in files[1:]]
        finally:
            for fd in files:
                os.close(fd)
        return os.waitstatus_to_exitcode(status), texts[0], texts[1][:_SAID_BYTES]


_SIGNALS = (1, 2, 13, 15)  # those that the worker handles or ignores: HUP, INT, PIPE, TERM
