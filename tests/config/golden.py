"""What a golden file holds: the outcome of a check as text that people can review."""

import os
from enum import Enum
from typing import Any

import msgspec

from holdfast.config.check import Environment, check_file
from holdfast.config.disk import Disk

HERE = os.path.join(os.path.dirname(__file__), "goldens")


class PlainDisk(Disk):
    """The real files, and none of the things that differ from machine to machine."""

    def is_directory(self, path: str) -> bool:
        return False if path.startswith(("/etc/holdfast", "/usr/local/etc")) else super().is_directory(path)

    def user(self, name: str) -> tuple[int, int, tuple[int, ...]] | None:
        return (0, 0, (0,)) if name == "root" else None

    def group(self, name: str) -> int | None:
        return None

    def own_user(self) -> tuple[int, int]:
        return 0, 0


def outcome(name: str) -> str:
    """Problems, verdict and plan of `goldens/NAME.conf`."""
    path = os.path.join(HERE, f"{name}.conf")
    checked = check_file(path, environment=Environment(config_id="here"), disk=PlainDisk())
    lines = []
    for problem in checked.problems:
        sentence = f"{problem.what} | {problem.cure} | {problem.meanwhile}".replace(HERE, "DIR")
        lines.append(f"{problem.line}:{problem.column}+{problem.width} {problem.grade}: {sentence}")
    lines.append(f"verdict: {checked.verdict}")
    for row in checked.would_run["virtual_servers"]:
        lines.append(f"virtual server: {msgspec.json.encode(row).decode()}")
    lines += _differences("", checked.plan)
    return "\n".join(lines) + "\n"


def _differences(prefix: str, value: Any) -> list[str]:
    """One line a leaf, leaving out what is empty, false or zero."""
    if isinstance(value, msgspec.Struct):  # field by field: encoded, those at their default would be missing
        value = msgspec.structs.asdict(value)
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, dict):
        return [line for key, inner in value.items() for line in _differences(f"{prefix}.{key}".lstrip("."), inner)]
    if isinstance(value, list | tuple):
        return [line for index, inner in enumerate(value) for line in _differences(f"{prefix}[{index}]", inner)]
    if isinstance(value, bytes):
        return [f"{prefix} = {value.hex()}"] if value else []
    return [f"{prefix} = {value}"] if value not in (None, "", False, 0) else []


def names() -> list[str]:
    """The golden files."""
    return sorted(name.removesuffix(".conf") for name in os.listdir(HERE) if name.endswith(".conf"))


if __name__ == "__main__":
    for one in names():
        with open(os.path.join(HERE, f"{one}.txt"), "w", encoding="utf-8") as stream:
            stream.write(outcome(one))
