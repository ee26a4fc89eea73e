"""How the adverts of one instance are authenticated: `authentication`, `auth_hmac`, and where their keys come from."""

import posixpath
import stat

import msgspec

from holdfast.base.problem import Grade
from holdfast.base.time import SECOND, Nanoseconds
from holdfast.config import values
from holdfast.config.context import Context
from holdfast.config.findings import Condition, Trouble
from holdfast.config.tree import Node
from holdfast.vrrp.config import AuthHmac, AuthMode, AuthType, HmacKey

SHORTEST, LONGEST = 32, 64
"""How many octets a key of `auth_hmac` has."""

CREDENTIALS = "CREDENTIALS_DIRECTORY"
"""Where systemd puts the credentials of a service (systemd.exec(5))."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What an instance says of it, as far as it is read."""

    name: str
    block: Node | None  # authentication
    lines: dict[str, Node]  # its lines
    hmac: Node | None  # auth_hmac
    version: int
    ipv6: bool
    strict: bool
    starts_as_master: bool
    interval_ns: Nanoseconds


class Authentication(msgspec.Struct, frozen=True, kw_only=True):
    """What comes of it; `faults` keep the instance in FAULT, for without what was asked both hosts would be master."""

    auth_type: AuthType = AuthType.NONE
    auth_pass: bytes = b""
    auth_hmac: AuthHmac | None = None
    faults: tuple[str, ...] = ()


def read_authentication(asked: Asked, context: Context) -> Authentication:
    """The authentication of an instance; what is wrong with it is told."""
    if asked.hmac is not None:
        if asked.block is not None:
            _tell(context, asked.block, f"{asked.name}: authentication beside auth_hmac", "keep one of the two",
                  "auth_hmac is used, as in keepalived")  # fmt: skip
        return _Signed(asked, asked.hmac, context).read()
    return _legacy(asked, context)


def _tell(context: Context, node: Node, what: str, cure: str, meanwhile: str, *, grade: Grade = Grade.ERROR,
          word: int = 0, phrase: str = "", condition: Condition = Condition.GENERAL) -> None:  # fmt: skip
    context.tell(node, Trouble(what, cure, meanwhile, grade, word, condition, phrase))


def _legacy(asked: Asked, context: Context) -> Authentication:
    name, node = asked.name, asked.block
    kind, password = asked.lines.get("auth_type"), asked.lines.get("auth_pass")
    without = Authentication()
    if node is None or (kind is None and password is None):
        return without
    if asked.strict or asked.version == 3:
        why = "strict mode" if asked.strict else "VRRP version 3"
        phrase = "Strict mode does" if asked.strict else "VRRP version 3 does"
        _tell(
            context, node, f"{name}: {why} has no authentication", "remove the block", "adverts go without",
            grade=Grade.WARNING, phrase=f"({name}) {phrase} not support authentication. Ignoring.",
        )  # fmt: skip
        return without
    if kind is None:
        _tell(context, node, f"{name}: auth_pass without auth_type", "write auth_type PASS", "adverts go without",
              grade=Grade.WARNING, condition=Condition.NONE)  # fmt: skip
        return without
    if password is None or not password.value.rstrip(b"\0"):
        _tell(context, kind, f"{name}: auth_type without auth_pass", "write auth_pass", "adverts go without")
        return without
    if kind.value != "AH":
        return Authentication(auth_type=AuthType.PASS, auth_pass=password.value)
    if asked.ipv6:
        _tell(context, kind, f"{name}: there is no AH for IPv6", "remove the block", "adverts go without")
        return without
    if asked.starts_as_master:
        _tell(context, kind, f"{name}: AH can't start as MASTER", "write state BACKUP", "BACKUP is taken",
              grade=Grade.WARNING,
              phrase=f"({name}) Initial state master is incompatible with AH authentication - clearing")  # fmt: skip
    return Authentication(auth_type=AuthType.AH, auth_pass=password.value)


class _Signed:
    """Reads one `auth_hmac` block."""

    def __init__(self, asked: Asked, node: Node, context: Context) -> None:
        self.asked, self.node, self.context = asked, node, context
        lines = [line for line in node.children or [] if line.line.value is not values.INVALID]
        self.key_lines = [line for line in lines if line.name == "key"]
        self.settings = {line.name: line for line in lines if line.name != "key"}

    def read(self) -> Authentication:
        """The block, or the reason why the instance stays in FAULT."""
        keys: dict[int, HmacKey] = {}
        unusable: set[int] = set()
        for line in self.key_lines:
            number, written = line.value
            if number in keys or number in unusable:
                self._tell(line, f"key {number} is there twice", "give each key an id of its own", "the first counts")
                continue
            secret = self._secret(line, written)
            if secret is None:
                unusable.add(number)
            else:
                keys[number] = HmacKey(id=number, secret=secret)
        active = self.settings.get("active_key")
        if active is None or active.value not in keys:
            return self._broken(active, keys, unusable)
        return Authentication(
            auth_hmac=AuthHmac(
                keys=tuple(sorted(keys.values(), key=lambda key: key.id)),
                active_key=active.value,
                mode=self._mode(),
                monotonic=self._value("anti_replay", "time") == "monotonic",
                time_window_s=self._window_s(),
            )
        )

    def _tell(self, line: Node, what: str, cure: str, meanwhile: str, grade: Grade = Grade.ERROR,
              condition: Condition = Condition.GENERAL) -> None:  # fmt: skip
        _tell(self.context, line, f"{self.asked.name}: auth_hmac: {what}", cure, meanwhile, grade=grade,
              condition=condition)  # fmt: skip

    def _value(self, name: str, default: str) -> str:
        line = self.settings.get(name)
        return default if line is None else str(line.value)

    def _broken(self, active: Node | None, keys: dict[int, HmacKey], unusable: set[int]) -> Authentication:
        if active is None:
            what, cure = "there is no active_key", "write active_key and the id of a key"
        elif active.value in unusable:
            what, cure = f"active_key {active.value} can't be used", "see what is said of that key"
        else:
            there = ", ".join(str(number) for number in sorted(keys)) or "none"
            what, cure = f"active_key {active.value}: there is no such key", f"the keys that can be used: {there}"
        meanwhile = "the instance stays in FAULT: unsigned, it and its peers would not hear each other"
        self._tell(active or self.node, what, cure, meanwhile)
        return Authentication(faults=(f"auth_hmac: {what}",))

    def _mode(self) -> AuthMode:
        line = self.settings.get("mode")
        mode = AuthMode.ENFORCE if line is None else AuthMode(line.value)
        if line is not None and self.asked.strict and mode is not AuthMode.ENFORCE:
            self._tell(line, f"strict mode wants enforce, not {mode.value}", "write mode enforce, or end strict_mode",
                       "enforce is taken")  # fmt: skip
            return AuthMode.ENFORCE
        return mode

    def _window_s(self) -> int:
        line = self.settings.get("time_window")
        if line is not None:
            return int(line.value) // SECOND
        return min(max(3 * self.asked.interval_ns // SECOND, 5), 300)

    # ---- keys -------------------------------------------------------------------------------------------------------

    def _secret(self, line: Node, written: str) -> bytes | None:
        """The octets of a key; None when they can't be had (told, without a letter of them)."""
        where = ""
        if written.startswith("file:"):
            path = self._path(line, written[5:])
            octets = None if path is None else self._from_file(line, path)
            if path is None or octets is None:
                return None
            where = f" in {path}"
        else:
            octets = written.encode("utf-8", "surrogateescape")
        if octets.startswith(b"hex:"):
            try:
                octets = bytes.fromhex(octets[4:].decode("ascii"))
            except ValueError:
                self._tell(line, f"key {line.value[0]}{where} is no hexadecimal number",
                           "after hex: write two digits an octet", "the key is left aside")  # fmt: skip
                return None
        if not SHORTEST <= len(octets) <= LONGEST:
            size = "short" if len(octets) < SHORTEST else "long"
            cure = f"{SHORTEST} to {LONGEST} are needed: echo hex:$(openssl rand -hex {SHORTEST})"
            self._tell(line, f"key {line.value[0]}{where} is too {size}: {len(octets)} octets", cure,
                       "the key is left aside")  # fmt: skip
            return None
        return octets

    def _path(self, line: Node, written: str) -> str | None:
        """A name without a slash is that of a systemd credential."""
        if "/" in written:
            return written
        directory = self.context.disk.variables().get(CREDENTIALS, "")
        if directory and written:
            return posixpath.join(directory, written)
        self._tell(line, f"key {line.value[0]}: {written or 'nothing'} is no path, and there are no credentials here",
                   f"write file:/path, or LoadCredential={written or 'NAME'}:/path in the unit",
                   "the key is left aside")  # fmt: skip
        return None

    def _from_file(self, line: Node, path: str) -> bytes | None:
        disk = self.context.disk
        try:
            octets, mode = disk.secret(path), disk.mode(path)
        except OSError as refused:
            self._tell(line, f"key {line.value[0]}: {path}: {refused.strerror or refused}",
                       "make it, or give the right path", "the key is left aside")  # fmt: skip
            return None
        ours = disk.variables().get(CREDENTIALS, "")
        if mode & 0o077 and not (ours and path.startswith(ours.rstrip("/") + "/")):
            said = stat.filemode(mode)
            self._tell(line, f"key {line.value[0]}: others can read or change {path} ({said})", f"chmod 600 {path}",
                       "the key is used all the same", Grade.WARNING, Condition.SECURITY)  # fmt: skip
        return octets.rstrip(b"\r\n")
