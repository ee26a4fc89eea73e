"""HTTP_GET over HTTP/1: one request for one url, and whether its answer is as it should be.

What is kept is bounded whatever comes: 64 KiB of header; of a body nothing, unless a digest (kept as its running sum)
or an expression (its first MiB) needs it. A body is never unpacked: no encoding is asked for, and what is sent anyway
counts as it came. Redirects are not followed: 302 is a status like any other.
"""

import hashlib
from functools import cache

import httptools
import msgspec

from holdfast.check.config import HttpProtocol, Regex, Url
from holdfast.check.conversation import NOTHING, Expression, ExpressionGaveUp, Outcome, Said, quoted

HEADER_BYTES = 65536
"""A header longer than this is refused."""

PLAIN_BYTES = 65536
"""Of a body that nothing depends on no more than this is awaited."""

KEPT_BYTES = 1 << 20
"""Of a body that an expression is sought in no more than this is kept."""

DIGEST_BYTES = 64 << 20
"""A body longer than this is not summed to its end."""

USER_AGENT = "KeepAliveClient"


class UrlRules(msgspec.Struct, frozen=True, kw_only=True):
    """One url made ready: what is asked, and what the answer must be."""

    request: bytes
    status: frozenset[int]
    path: str
    digest: str = ""
    regex: Regex | None = None
    expression: Expression | None = None

    @property
    def needs_body(self) -> bool:
        """Whether more than the status counts."""
        return bool(self.digest) or self.regex is not None


def url_rules(url: Url, protocol: HttpProtocol, expression: Expression | None = None) -> UrlRules:
    """`url` made ready for HTTP/1.0 or 1.1; `expression` is its compiled regex."""
    lines = [f"GET {url.path} HTTP/{protocol[:3]}", f"User-Agent: {USER_AGENT}"]
    if protocol != "1.0":  # 1.0C, and 1.1 always: one request a connection is all we make
        lines.append("Connection: close")
    lines += [f"Host: {url.host}", "", ""]
    return UrlRules(
        request="\r\n".join(lines).encode("utf-8", "surrogateescape"),
        status=_codes(url.status),
        path=url.path,
        digest=url.digest.lower(),
        regex=url.regex,
        expression=expression,
    )


@cache
def _codes(ranges: tuple[tuple[int, int], ...]) -> frozenset[int]:
    """One set for all urls that accept the same: a hundred codes are 8 KiB, and urls come by ten thousands."""
    return frozenset(code for first, last in ranges for code in range(first, last + 1))


class _RawSum:
    """The MD5 of whatever follows the header, as it came: `genhash` doesn't take a chunked body apart."""

    __slots__ = ("_head", "_sum")

    def __init__(self) -> None:
        self._sum = hashlib.md5(usedforsecurity=False)
        self._head: bytearray | None = bytearray()

    def add(self, octets: bytes) -> None:
        if self._head is None:
            self._sum.update(octets)
            return
        self._head += octets
        for end in (b"\r\n\r\n", b"\n\n"):
            place = self._head.find(end)
            if place >= 0:
                self._sum.update(self._head[place + len(end) :])
                self._head = None
                return

    def hexdigest(self) -> str:
        return self._sum.hexdigest()


class Body:
    """As much of a body as the rules need, and the verdict on it."""

    __slots__ = ("_kept", "_limit", "_raw", "_rules", "_sum", "octets")

    def __init__(self, rules: UrlRules, raw: _RawSum | None = None) -> None:
        self._rules = rules
        self._raw = raw
        self._sum = hashlib.md5(usedforsecurity=False) if rules.digest else None
        self._kept = bytearray()
        self._limit = DIGEST_BYTES if rules.digest else KEPT_BYTES if rules.regex else PLAIN_BYTES
        self.octets = 0

    def add(self, octets: bytes) -> None:
        """Take what came."""
        self.octets += len(octets)
        if self._sum is not None:
            self._sum.update(octets)
        if self._rules.regex is not None and len(self._kept) < KEPT_BYTES:
            self._kept += octets[: KEPT_BYTES - len(self._kept)]

    @property
    def enough(self) -> bool:
        """Whether more would change nothing."""
        return self.octets >= self._limit

    def verdict(self, status: int, complete: bool) -> Outcome:
        """What the answer comes to; `complete`: the whole body came."""
        rules = self._rules
        if self._sum is not None:
            if not complete:
                return Outcome(False, f"{rules.path}: {status}, but its body is longer than {DIGEST_BYTES >> 20} MiB")
            digest = self._sum.hexdigest()
            if rules.digest not in (digest, self._raw.hexdigest() if self._raw is not None else ""):
                return Outcome(False, f"{rules.path}: {status}, but the MD5 of its {self.octets} octets is {digest}")
        if rules.regex is not None and rules.expression is not None:
            where = "" if complete else f" in its first {KEPT_BYTES >> 20} MiB"
            try:
                found = rules.expression.search(bytes(self._kept))
            except ExpressionGaveUp as gave_up:
                return Outcome(False, f"{rules.path}: {status}, but the expression gave up on its body: {gave_up}")
            if found and rules.regex.no_match:
                return Outcome(False, f"{rules.path}: {status}, but its body matches{where}")
            if not found and not rules.regex.no_match:
                return Outcome(False, f"{rules.path}: {status}, but its body does not match{where}")
        return Outcome(True, f"{rules.path}: {status}")


def wrong_status(rules: UrlRules, status: int, location: bytes) -> Outcome:
    """The answer's status is none of those accepted."""
    towards = f", redirect to {quoted(location)}: not followed" if location else ""
    return Outcome(False, f"{rules.path}: {status}{towards}")


class HttpConversation:
    """One request and its answer."""

    __slots__ = ("_body", "_header_octets", "_location", "_parser", "_raw", "_rules", "_said", "_sized", "_status")

    def __init__(self, rules: UrlRules) -> None:
        self._rules = rules
        self._said: Outcome | None = None
        self._status = 0
        self._sized = False
        self._location = b""
        self._header_octets = 0
        self._body: Body | None = None
        self._raw = _RawSum() if rules.digest else None
        self._parser: httptools.HttpResponseParser | None = None

    def begin(self) -> Said:
        """The request."""
        self._parser = parser = httptools.HttpResponseParser(self)
        # servers of all ages are asked: what can be understood is
        parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_keep_alive=True, lenient_transfer_encoding=True, lenient_version=True,
            lenient_data_after_close=True, lenient_optional_lf_after_cr=True, lenient_optional_cr_before_lf=True,
            lenient_optional_crlf_after_chunk=True, lenient_spaces_after_chunk_size=True,
        )  # fmt: skip
        return self._rules.request

    def received(self, octets: bytes) -> Said:
        """Some of the answer."""
        if self._parser is None:
            return NOTHING
        if self._body is None:
            self._header_octets += len(octets)
        if self._raw is not None:
            self._raw.add(octets)
        try:
            self._parser.feed_data(octets)
        except httptools.HttpParserUpgrade:
            self.on_message_complete()
        except httptools.HttpParserError as error:
            if self._said is None:
                what = "answered" if self._body is not None or self._status else "no HTTP"
                self._said = Outcome(False, f"{self._rules.path}: {what}: {error}: {quoted(octets)}")
        if self._said is None and self._body is None and self._header_octets > HEADER_BYTES:
            self._said = Outcome(False, f"{self._rules.path}: its header is longer than {HEADER_BYTES >> 10} KiB")
        return NOTHING if self._said is None else self._end(self._said)

    def closed(self) -> Said:
        """The server said all it had to; without a length that is the end of the body."""
        if self._said is None:
            if self._body is None:
                what = "in the middle of its header" if self._header_octets else "without an answer"
                self._said = Outcome(False, f"{self._rules.path}: closed {what}")
            elif self._sized:
                came = f"{self._status}, but closed after {self._body.octets} octets of its body"
                self._said = Outcome(False, f"{self._rules.path}: {came}")
            else:
                self._said = self._body.verdict(self._status, complete=True)
        return self._end(self._said)

    def expired(self, span: str) -> Outcome:
        """Not in time."""
        if self._body is not None:
            came = f"{self._status}, but its body of {self._body.octets} octets so far did not end"
        elif self._header_octets:
            came = f"its header of {self._header_octets} octets so far did not end"
        elif self._parser is not None:
            came = "connected, but no answer"
        else:
            came = "connection not accepted"
        return self._end(Outcome(False, f"{self._rules.path}: {came} within {span}"))

    def _end(self, outcome: Outcome) -> Outcome:
        self._parser = None  # it holds us as we hold it
        return outcome

    # ---- called by the parser ---------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        """Of a header only what delimits the body counts, and where a redirect would go."""
        length = len(name)
        if length in (14, 17) and name.lower() in (b"content-length", b"transfer-encoding"):
            self._sized = True
        elif length == 8 and name.lower() == b"location":
            self._location = value[:200]

    def on_headers_complete(self) -> None:
        """The status is known."""
        parser = self._parser
        if parser is None or self._said is not None:
            return
        self._status = status = parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            return  # a provisional answer: the real one follows
        if status not in self._rules.status:
            self._said = wrong_status(self._rules, status, self._location)
        self._body = Body(self._rules, self._raw)

    def on_body(self, octets: bytes) -> None:
        """Some of the body."""
        body = self._body
        if body is None or self._said is not None:
            return
        body.add(octets)
        if body.enough:
            self._said = body.verdict(self._status, complete=False)

    def on_message_complete(self) -> None:
        """The whole answer came."""
        if self._body is None:
            self._sized = False
            self._header_octets = 0
        elif self._said is None:
            self._said = self._body.verdict(self._status, complete=True)
