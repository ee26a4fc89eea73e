"""What two dumps of one configuration must have in common: every line, but for what moves or is nobody else's affair."""

import re

MOVES = (
    "alive", "num failed checkers", "RS set", "Up", "Has run", "Retries iterations", "quorum_state_up", "Current weight",
    "effective weight", "Last ran", "Last status", "Failed URL", "fd_out", "fd_in", "thread_", "sands_", "local state",
    "remote state", "local discriminator", "remote discriminator", "local diag", "remote diag", "last_seen", "last seen",
    "remote min", "remote detect", "remote tx", "local tx", "local detection", "remote detection",
)  # fmt: skip
"""The lines whose values are those of a moment, or of a process."""

LEFT_OUT = ("Failed URL", "Virtualhost", "Virtual host")
SHORTENED = ("Regex options", "Enable SNI", "thread_", "fd_")


def shape(dump: str, begins: str) -> list[str]:
    """The lines from the one that holds `begins`, values that move left out."""
    lines = dump.splitlines()
    start = next(number for number, line in enumerate(lines) if begins in line)
    return [_line(line) for line in lines[start:] if not line.strip().startswith(LEFT_OUT)]


def _line(line: str) -> str:
    words = line.strip()
    if words.startswith(SHORTENED):
        return next(begin for begin in SHORTENED if words.startswith(begin))
    if words.startswith(MOVES):
        return line.split("=")[0]
    return re.sub(r" EFF WEIGHT = \d+", "", line)
