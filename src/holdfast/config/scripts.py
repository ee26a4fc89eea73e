"""Which program a script line means, as whom it runs, and whether that is safe. Source: keepalived.conf(5), scripts."""

import posixpath
import stat

import msgspec

from holdfast.base.command import Command
from holdfast.base.problem import Grade
from holdfast.base.time import SECOND, Nanoseconds
from holdfast.config.disk import Disk, Status
from holdfast.config.findings import Condition, Trouble
from holdfast.config.values import RawScript


class Identity(msgspec.Struct, frozen=True):
    """As whom a script runs; None keeps the daemon's own."""

    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] = ()


class Resolved(msgspec.Struct, frozen=True):
    """A script after all checks: `command` is None when it is disabled.

    `reference_runs`: whether keepalived 2.4.3 would run it too; it disables paths that lead through a symbolic link.
    """

    command: Command | None
    troubles: tuple[Trouble, ...] = ()
    reference_runs: bool = False


class Scripts:
    """Settles scripts, each path once. `secure` is `enable_script_security`."""

    def __init__(self, disk: Disk, *, secure: bool = False, keep_links: bool = False, all_groups: bool = False) -> None:
        self.disk = disk
        self.secure = secure
        self.keep_links = keep_links
        self.all_groups = all_groups
        self.default = Identity()
        self.default_missing = False  # security is on and there is no user to run as
        self.directories: tuple[str, ...] = ()  # where relative paths begin: the configuration's directory, then ours
        self._known: dict[tuple[tuple[str, ...], int | None], tuple[str, tuple[Trouble, ...], bool, bool]] = {}

    def identity(self, words: tuple[str, ...]) -> tuple[Identity | None, tuple[Trouble, ...]]:
        """The identity `USER [[:]GROUP]` names; None when there is no such user or group."""
        found = self.disk.user(words[0])
        if found is None:
            return None, (
                Trouble(
                    f"there is no user {words[0]!r}",
                    f"make it (adduser --system {words[0]}) or name another",
                    "the script is not run",
                    token=words[0],
                    phrase=f"Unable to set uid/gid for script '{words[0]}'",
                ),
            )
        uid, gid, groups = found
        supplementary = groups if self.all_groups or (len(words) > 1 and words[1].startswith(":")) else ()
        name = words[1].lstrip(":") if len(words) > 1 else ""
        if name:
            number = self.disk.group(name)
            if number is None:
                return None, (
                    Trouble(
                        f"there is no group {name!r}",
                        f"make it (addgroup --system {name}) or name another",
                        "the script is not run",
                        token=name,
                        phrase=f"Unable to set uid/gid for script '{words[0]}' '{name}'",
                    ),
                )
            gid = number
        return Identity(uid, gid, supplementary), ()

    def resolve(
        self, raw: RawScript, *, user: tuple[str, ...] = (), timeout_ns: Nanoseconds = 60 * SECOND
    ) -> Resolved:
        """The command of `raw` run as `user` (else its own user words, else the default)."""
        words = user or raw.user
        if words:
            who, troubles = self.identity(words)
            if who is None:
                if not user:
                    troubles = tuple(_perhaps_unquoted(trouble, raw) for trouble in troubles)
                return Resolved(None, troubles)
        elif self.default_missing:
            return Resolved(None, (_no_default(),))
        else:
            who = self.default
        key = ((raw.argv[0],), who.uid)
        if key not in self._known:
            self._known[key] = self._program(raw.argv[0], who)
        program, troubles, usable, reference_runs = self._known[key]
        if not usable:
            return Resolved(None, troubles)
        argv = (program, *raw.argv[1:])
        command = Command(argv=argv, uid=who.uid, gid=who.gid, groups=who.groups, timeout_ns=timeout_ns)
        return Resolved(command, troubles, reference_runs)

    def _program(self, written: str, who: Identity) -> tuple[str, tuple[Trouble, ...], bool, bool]:
        """Path to run, problems, whether it can be run, whether the reference runs it."""
        if written.startswith("<"):
            return self._readable(written)
        path = written if "/" in written else self._search(written)
        if not path:
            return "", (_not_found(written, "it is in no directory of PATH"),), False, False
        relative: tuple[Trouble, ...] = ()
        if not path.startswith("/"):
            path = self._absolute(path)
            relative = (_relative(written, path),)
        real = self.disk.real_path(path)
        try:
            status = self.disk.status(real)
        except OSError as error:
            return "", (_not_found(written, error.strerror or "it can't be read"),), False, False
        if not stat.S_ISREG(status.st_mode):
            return "", (_not_found(written, "it is not a regular file"),), False, False
        if not _may_run(status, who, self.disk):
            what = f"mode {stat.filemode(status.st_mode)}, owner {status.st_uid}: it can't be executed by its user"
            return "", (_not_found(written, what, f"chmod +x {path}"),), False, False
        link = self._linked_directory(path)
        troubles = relative
        if self._as_root(who, status):
            loose = self._loose(path) or self._loose(real)
            if loose:
                troubles += (_insecure(written, loose, self.secure),)
                if self.secure:
                    return "", troubles, False, False
            if link:
                troubles += (_through_link(written, link, real, self.secure),)
        return (path if self.keep_links else real), troubles, True, not (link and self._as_root(who, status))

    def _readable(self, written: str) -> tuple[str, tuple[Trouble, ...], bool, bool]:
        path = written[1:].strip()
        return f"<{path}", (), True, False

    def _as_root(self, who: Identity, status: Status) -> bool:
        uid = who.uid if who.uid is not None else self.disk.own_user()[0]
        return uid == 0 or (status.st_uid == 0 and bool(status.st_mode & stat.S_ISUID))

    def _search(self, name: str) -> str:
        for directory in self.disk.search_path():
            path = f"{directory}/{name}"
            try:
                status = self.disk.status(path)
            except OSError:
                continue
            if stat.S_ISREG(status.st_mode) and status.st_mode & 0o111:
                return path
        return ""

    def _absolute(self, path: str) -> str:
        """A relative path, from the first directory that has it."""
        for directory in self.directories:
            whole = posixpath.normpath(f"{directory}/{path}")
            try:
                self.disk.status(whole)
            except OSError:
                continue
            return whole
        return posixpath.normpath(f"{self.directories[0] if self.directories else ''}/{path}")

    def _linked_directory(self, path: str) -> str:
        """The first directory of `path` that is a symbolic link, or ""."""
        pieces = path.strip("/").split("/")
        for count in range(1, len(pieces)):
            part = "/" + "/".join(pieces[:count])
            try:
                if stat.S_ISLNK(self.disk.status(part, follow=False).st_mode):
                    return part
            except OSError:
                return ""
        return ""

    def _loose(self, path: str) -> tuple[str, Status] | None:
        """The first component of `path` that others than root could change."""
        pieces = path.strip("/").split("/")
        for count in range(len(pieces) + 1):
            part = "/" + "/".join(pieces[:count])
            try:
                status = self.disk.status(part)
            except OSError:
                return None
            mode = status.st_mode
            sticky = stat.S_ISDIR(mode) and mode & stat.S_ISVTX
            writable = mode & stat.S_IWOTH or (mode & stat.S_IWGRP and status.st_gid != 0)
            if status.st_uid != 0 or (writable and not sticky):
                return part, status
        return None


def _may_run(status: Status, who: Identity, disk: Disk) -> bool:
    own_uid, own_gid = disk.own_user()
    uid = who.uid if who.uid is not None else own_uid
    gid = who.gid if who.gid is not None else own_gid
    if uid == 0:
        return bool(status.st_mode & 0o111)
    if uid == status.st_uid:
        return bool(status.st_mode & 0o100)
    if gid == status.st_gid or status.st_gid in who.groups:
        return bool(status.st_mode & 0o010)
    return bool(status.st_mode & 0o001)


def _perhaps_unquoted(trouble: Trouble, raw: RawScript) -> Trouble:
    """The words after a command are user and group; who meant arguments has to quote."""
    whole = " ".join((*raw.argv, *raw.user))
    return msgspec.structs.replace(
        trouble, cure=f'name a user there is, or put quotes around command and arguments: "{whole}"'
    )


def _no_default() -> Trouble:
    return Trouble(
        "enable_script_security is on and there is no user keepalived_script",
        "name one: script_user USER",
        "the script is not run",
        phrase="Unable to set default user for script",
    )


def _not_found(written: str, why: str, cure: str = "put it there, or correct the path") -> Trouble:
    return Trouble(
        f"script {written} can't be run: {why}",
        cure,
        "it is not run",
        token=written,
        phrase=f"Script {written} cannot be accessed - {why}",
    )


def _relative(written: str, path: str) -> Trouble:
    return Trouble(
        f"the path of script {written} does not begin with /",
        f"write {path}",
        f"{path} is run",
        Grade.WARNING,
        condition=Condition.NONE,
        token=written,
    )


def _insecure(written: str, loose: tuple[str, Status], disabled: bool) -> Trouble:
    part, status = loose
    kind = "directory" if stat.S_ISDIR(status.st_mode) else "file"
    return Trouble(
        f"script {written} runs as root, but the {kind} {part} (owner {status.st_uid}, group {status.st_gid}, "
        f"mode {stat.filemode(status.st_mode)}) can be changed by others",
        f"chown root:root {part} && chmod go-w {part}, or run it as another user",
        "it is not run" if disabled else "it is run all the same",
        Grade.ERROR if disabled else Grade.WARNING,
        condition=Condition.SECURITY,
        token=written,
        phrase=f"Unsafe permissions found for script '{written}'.",
    )


def _through_link(written: str, link: str, real: str, secure: bool) -> Trouble:
    return Trouble(
        f"the path of script {written} leads through {link}, a symbolic link; keepalived 2.4.3 would not run it",
        f"write {real}",
        "it is run",
        Grade.ADVICE,
        condition=Condition.GENERAL if secure else Condition.SECURITY,
        token=written,
        phrase=f"Wrong file type found in script path '{link}'.",
    )
