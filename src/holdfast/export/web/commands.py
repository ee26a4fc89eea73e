"""What may be changed by the web: the bodies of the requests, and who may send them."""

import hmac
import os
import stat
import time
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Path = Annotated[str, Meta(min_length=1, max_length=1000)]
Span = Annotated[float, Meta(gt=0, le=86400.0)]

SHORTEST_TOKEN = 16
MISSES = 10
MISSES_S = 10.0
"""So many wrong tokens in so many seconds, and for so long none is looked at."""


class Switch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`holdfast switch`: hand INSTANCE over, held until released or `for_s` has passed."""

    instance: Name
    direction: Literal["here", "away"]
    for_s: Span | None = None
    force: bool = False
    dry_run: bool = False


class Release(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`holdfast release`: the election is free again."""

    instance: Name


class Reload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`holdfast reload`: read the configuration again; with `confirm_s` it returns unless confirmed."""

    confirm_s: Span | None = None


class Confirm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`holdfast reload --confirm`'s second word: keep what runs."""


class Server(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`holdfast server`: another weight for a real server; 0 drains it, null gives its own back."""

    service: Name
    server: Name
    weight: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None


class Check(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`holdfast check`: every problem of a configuration that is sent. What it includes is sent with it, by path."""

    text: str
    file: Path = "/etc/keepalived/keepalived.conf"
    included: Annotated[dict[Path, str], Meta(max_length=1000)] = {}


BODIES: dict[str, type[msgspec.Struct]] = {
    "switch": Switch, "release": Release, "reload": Reload, "confirm": Confirm, "server": Server,
}  # fmt: skip
"""The commands by name: the same words as on the local socket."""


def request(command: str, octets: bytes) -> dict[str, Any]:
    """What to ask the daemon; raises msgspec.ValidationError or DecodeError, whose text says where and what."""
    body = msgspec.json.decode(octets, type=BODIES[command])
    asked = {key: value for key, value in msgspec.to_builtins(body).items() if value is not None or key == "weight"}
    return {"command": command, **asked, "by": "the web"}


class RefusedError(Exception):
    """The request may not change anything: the HTTP status, and why."""

    def __init__(self, status: int, error: str, cure: str) -> None:
        super().__init__(error)
        self.status, self.error, self.cure = status, error, cure


class Guard:
    """Knows who may change something: whoever shows the token in the file. It is read anew each time."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._misses: list[float] = []

    def check(self, authorization: str) -> None:
        """Raises RefusedError unless `authorization` is `Bearer TOKEN`."""
        if not self.path:
            raise RefusedError(403, "nothing can be changed here", "name a file: --web-token-file, web_token_file")
        now = time.monotonic()
        self._misses = [at for at in self._misses if now - at < MISSES_S]
        if len(self._misses) >= MISSES:
            raise RefusedError(429, "too many wrong tokens", f"try again in {MISSES_S:g} s")
        token = self._token()
        scheme, _, shown = authorization.partition(" ")
        right = hmac.compare_digest(shown.strip().encode("utf-8", "surrogateescape"), token)
        if scheme.lower() != "bearer" or not right:
            if shown:
                self._misses.append(now)
            raise RefusedError(401, "a token is needed", "send the header `Authorization: Bearer TOKEN`")

    def _token(self) -> bytes:
        cure = f"put at least {SHORTEST_TOKEN} characters into it, and `chmod 600` it"
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                mode = os.fstat(fd).st_mode
                token = os.read(fd, 4096).strip() if stat.S_ISREG(mode) else b""
            finally:
                os.close(fd)
        except OSError as failed:
            raise RefusedError(503, f"cannot read {self.path}: {failed.strerror}", cure) from None
        if mode & 0o077:
            raise RefusedError(503, f"{self.path} can be read by others", cure)
        if len(token) < SHORTEST_TOKEN:
            raise RefusedError(503, f"the token in {self.path} is too short", cure)
        return token
