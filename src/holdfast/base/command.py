"""A program to run on somebody's behalf: what, as whom, for how long."""

import msgspec

from holdfast.base.time import SECOND, Nanoseconds


class Command(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A script of the configuration, ready to run: no shell is involved.

    `argv[0]` is an absolute path; `</path` (argv[0] beginning with `<`) asks only whether the file can be read.
    `uid`, `gid` and `groups` are numeric and settled when the configuration is read; None keeps the daemon's own.
    """

    argv: tuple[str, ...]
    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] = ()
    timeout_ns: Nanoseconds = 60 * SECOND

    def text(self) -> str:
        """The command line as an operator would type it."""
        return " ".join(word if word and not set(word) & set(" \t'\"\\") else repr(word) for word in self.argv)
