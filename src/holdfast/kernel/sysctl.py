"""Kernel settings under /proc/sys, changed while we need them and put back after."""

from collections.abc import Callable

from holdfast.kernel.errors import KernelRefused


class Sysctls:
    """Settings we changed, with what they were."""

    def __init__(self) -> None:
        self._before: dict[str, str] = {}

    def set(self, name: str, value: str) -> None:
        """Set `name` (`net/ipv4/conf/eth0/promote_secondaries`); KernelRefused when it cannot be."""
        path = f"/proc/sys/{name}"
        try:
            with open(path, encoding="ascii") as setting:
                before = setting.read().strip()
            if before == value:
                return
            with open(path, "w", encoding="ascii") as setting:
                setting.write(value)
        except OSError as refused:
            raise KernelRefused(f"set {name.replace('/', '.')} to {value}", "", refused.errno or 0) from None
        self._before.setdefault(name, before)

    def attempt(self, name: str, value: str, say: Callable[[str], None]) -> None:
        """Set `name`, or say why it can't be."""
        try:
            self.set(name, value)
        except KernelRefused as refused:
            say(str(refused))

    def restore(self) -> None:
        """Put everything back as it was found; what is gone meanwhile is left alone."""
        for name, before in self._before.items():
            try:
                with open(f"/proc/sys/{name}", "w", encoding="ascii") as setting:
                    setting.write(before)
            except OSError:
                continue
        self._before.clear()
