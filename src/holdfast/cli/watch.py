"""`holdfast status --watch`: the status as a live screen, the last events under it; a document a line for programs."""

import contextlib
import os
import select
import signal
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.drawing import Sheet
from holdfast.cli.status import draw
from holdfast.control.client import AskError, ask, ask_bytes

if TYPE_CHECKING:
    from holdfast.control.journal import Follower

REMEMBERED = 10
"""So many events are kept for the lower part of the screen."""

FEWEST = 3
"""So many lines of events are shown where there is little room."""

# xterm's control sequences: the alternate screen, no cursor, no wrapping of long lines; and back
ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
HOME, LINE_END, BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


def watch(run_dir: str | None, every_s: float, as_json: bool) -> None:
    """Show the status again and again, until interrupted. Raises AskError when no daemon answers at the start."""
    first = ask(run_dir, {"command": "status"})
    with contextlib.suppress(KeyboardInterrupt):
        if as_json:
            _stream(run_dir, every_s)
        else:
            with contextlib.suppress(OSError):  # the terminal is gone
                _live(run_dir, every_s, first)


def _stream(run_dir: str | None, every_s: float) -> None:
    """A document a line; while no daemon answers that is said on standard error, once."""
    silent = False
    signal.signal(signal.SIGTERM, _interrupt)
    due_at = time.monotonic()
    while True:
        try:
            octets = ask_bytes(run_dir, {"command": "status"})
        except AskError as reason:
            if not silent:
                click.echo(f"holdfast: {reason}; going on", err=True)
            silent = True
        else:
            silent = False
            sys.stdout.buffer.write(octets + b"\n")
            sys.stdout.buffer.flush()
        due_at = max(due_at + every_s, time.monotonic())
        time.sleep(max(due_at - time.monotonic(), 0))


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


# ---- the screen -----------------------------------------------------------------------------------------------------


def _live(run_dir: str | None, every_s: float, status: dict[str, Any] | None) -> None:
    events = Events(run_dir)
    with Screen() as screen:
        while True:
            columns, rows = screen.size()
            screen.show(frame(status, screen.trouble, events.latest(), every_s, columns, rows))
            screen.wait(every_s)
            try:
                status, screen.trouble = ask(run_dir, {"command": "status"}, timeout_s=max(every_s, 2.0)), ""
            except AskError as reason:
                status, screen.trouble = None, str(reason)


class Events:
    """The last events, as they come."""

    def __init__(self, run_dir: str | None) -> None:
        self._run_dir = run_dir
        self._rows: deque[dict[str, Any]] = deque(maxlen=REMEMBERED)
        self._follower: Follower | None = None

    def latest(self) -> list[dict[str, Any]]:
        """The last ones there are now, the oldest first; none while there is no journal."""
        from holdfast.control import journal

        if self._follower is None:
            try:
                path = journal.find(self._run_dir)
                self._follower = journal.Follower(path)
                self._rows.extend(journal.read(path)[-REMEMBERED:])
            except AskError:
                return []
        self._rows.extend(self._follower.fresh())
        return list(self._rows)


def frame(
    status: dict[str, Any] | None, trouble: str, events: list[dict[str, Any]], every_s: float, columns: int, rows: int
) -> list[str]:
    """The lines of one screen: the status, then as many of the last events as there is room for."""
    from holdfast.cli.events import draw as draw_event

    upper, lower = (Sheet(colour=_colour(), width=columns) for _ in range(2))
    if status is not None:
        draw(status, upper)
    else:
        upper.wrapped(trouble, 0, "", "red")
    wide = max((len(str(row["name"])) for row in events), default=0)
    for row in events:
        draw_event(row, lower, wide)
    foot = upper.paint(f"every {every_s:g} s; Ctrl-C ends", "faint")
    room = max(rows - 1, 1)  # the foot's line
    below = lower.lines[-max(room - len(upper.lines) - 2, FEWEST) :]
    if room < FEWEST * 3 or not below:
        below = []
    above = upper.lines
    spare = room - (len(below) + 2 if below else 0)
    if len(above) > spare:
        above = [*above[: spare - 1], upper.paint(f"… {len(above) - spare + 1} more lines: no room", "yellow")]
    lines = [*above, *(["", upper.paint("last events", "bold"), *below] if below else [])]
    return [*lines, *[""] * (room - len(lines)), foot]


def _colour() -> bool:
    return not os.environ.get("NO_COLOR")


class Screen:
    """The terminal's alternate screen; whatever ends the block, the terminal is as it was before."""

    def __init__(self) -> None:
        self.trouble = ""
        self._out = sys.stdout.fileno()
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._echo: list[Any] | None = None

    def __enter__(self) -> "Screen":
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _interrupt)
        signal.signal(signal.SIGTSTP, self._suspend)
        signal.signal(signal.SIGWINCH, lambda *_: None)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        try:
            self._enter()
        except BaseException:  # Ctrl-C at this very moment
            self._leave()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()
        signal.set_wakeup_fd(-1)
        os.close(self._reader)
        os.close(self._writer)

    def _enter(self) -> None:
        self._write(ENTER)
        with contextlib.suppress(Exception):
            import termios

            self._echo = termios.tcgetattr(0)
            quiet = termios.tcgetattr(0)
            quiet[3] &= ~termios.ECHO
            termios.tcsetattr(0, termios.TCSANOW, quiet)

    def _leave(self) -> None:
        with contextlib.suppress(OSError):
            self._write(LEAVE)
        if self._echo is not None:
            import termios

            with contextlib.suppress(OSError, termios.error):
                termios.tcsetattr(0, termios.TCSAFLUSH, self._echo)  # what was typed meanwhile is no command

    def _suspend(self, *_: object) -> None:
        """Ctrl-Z: the shell gets its own screen; after `fg` ours comes back."""
        self._leave()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._enter()

    def _write(self, text: str) -> None:
        octets = text.encode("utf-8", "replace")
        while octets:
            octets = octets[os.write(self._out, octets) :]

    def size(self) -> tuple[int, int]:
        """Columns and rows, now."""
        try:
            columns, rows = os.get_terminal_size(self._out)
        except OSError:
            return 80, 24
        return columns or 80, rows or 24

    def show(self, lines: list[str]) -> None:
        """Draw over what is there, so that nothing flickers."""
        self._write(HOME + "\r\n".join(line + LINE_END for line in lines) + BELOW)

    def wait(self, span_s: float) -> None:
        """Let `span_s` pass, or less: a terminal of another size, or one that came back, is drawn at once."""
        ready, _, _ = select.select([self._reader], [], [], span_s)
        if ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._reader, 1024)
