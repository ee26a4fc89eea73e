"""TLS around another conversation (SSL_GET, or gRPC over TLS), through memory: no socket is known here.

The certificate is not verified unless `verify` is on, as in keepalived. `cert_min_days` is asked of the certificate
that was sent, verified or not.
"""

import calendar
import ssl
from itertools import pairwise

from holdfast.check.config import Tls
from holdfast.check.conversation import Conversation, Outcome, Said

_CHUNK = 16384
_DAY_S = 86400


class TlsConversation:
    """A conversation held inside TLS. `context` is ready: certificates, verification, the protocols offered (ALPN)."""

    __slots__ = ("_alpn", "_established", "_from_peer", "_inner", "_settings", "_tls", "_to_peer", "_wall_s")

    def __init__(
        self, inner: Conversation, context: ssl.SSLContext, settings: Tls, wall_s: float, alpn: str = ""
    ) -> None:
        """`wall_s` is the wall clock; `alpn` the protocol that must be agreed upon, empty: none need be."""
        self._inner = inner
        self._settings = settings
        self._wall_s = wall_s
        self._alpn = alpn
        self._established = False
        self._from_peer = ssl.MemoryBIO()
        self._to_peer = ssl.MemoryBIO()
        name = settings.server_name or None
        self._tls = context.wrap_bio(self._from_peer, self._to_peer, server_hostname=name)

    def begin(self) -> Said:
        """The first flight of the handshake."""
        return self._advance()

    def received(self, octets: bytes) -> Said:
        """Records of TLS, whole or in parts."""
        self._from_peer.write(octets)
        return self._advance()

    def closed(self) -> Said:
        """The stream ended, with or without a farewell."""
        self._from_peer.write_eof()
        said = self._advance()
        if isinstance(said, Outcome):
            return said
        if not self._established:
            return Outcome(False, "closed during the TLS handshake")
        return self._spoken(self._inner.closed()) or Outcome(False, "closed inside TLS")

    def expired(self, span: str) -> Outcome:
        """Not in time."""
        if self._established:
            return self._inner.expired(span)
        return Outcome(False, f"no TLS handshake within {span}")

    def _advance(self) -> Said:
        if not self._established:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                return self._to_peer.read()
            except ssl.SSLCertVerificationError as error:
                # the wrapped reason names the certificate's flaw: expired, wrong name, unknown issuer
                return Outcome(False, f"certificate refused: {error.verify_message}", parting=self._to_peer.read())
            except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
                return Outcome(False, "closed during the TLS handshake")
            except (ssl.SSLError, OSError) as error:
                return Outcome(False, self._broken(error), parting=self._to_peer.read())
            self._established = True
            refused = self._refusal()
            ended = self._spoken(Outcome(False, refused) if refused else self._inner.begin())
            if ended is not None:
                return ended
        return self._read()

    def _broken(self, error: OSError) -> str:
        words = tls_words(error)
        if self._alpn and "no application protocol" in words:
            return self._no_alpn()
        return f"TLS handshake failed: {words}"

    def _no_alpn(self) -> str:
        return f"the server does not offer {self._alpn} in TLS (ALPN)"

    def _refusal(self) -> str:
        """Why this peer won't do although the handshake succeeded; empty when it will."""
        if self._alpn and self._tls.selected_alpn_protocol() != self._alpn:
            return self._no_alpn()
        if self._settings.cert_min_days is None:
            return ""
        try:
            ends_s = not_after(self._tls.getpeercert(binary_form=True) or b"")
        except ValueError as error:
            return f"its certificate cannot be read: {error}"
        days = (ends_s - self._wall_s) / _DAY_S
        if days < self._settings.cert_min_days:
            left = f"ends in {days:.1f} days" if days >= 0 else f"ended {-days:.1f} days ago"
            return f"its certificate {left}, at least {self._settings.cert_min_days} were asked for"
        return ""

    def _read(self) -> Said:
        while True:
            try:
                octets = self._tls.read(_CHUNK)
            except ssl.SSLWantReadError:
                return self._to_peer.read()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                octets = b""
            except (ssl.SSLError, OSError) as error:
                return Outcome(False, f"TLS broke: {tls_words(error)}")
            ended = self._spoken(self._inner.received(octets) if octets else self._inner.closed())
            if ended is not None:
                return ended
            if not octets:
                return Outcome(False, "closed inside TLS")

    def _spoken(self, said: Said) -> Outcome | None:
        """Put what the inner conversation says into records, which wait in `_to_peer`; its end brings them along."""
        octets = said.parting if isinstance(said, Outcome) else said
        try:
            if octets:
                self._tls.write(octets)
            if isinstance(said, Outcome) and self._settings.compliant:
                self._tls.unwrap()
        except (ssl.SSLError, OSError):
            pass  # a farewell that can't be said isn't
        if isinstance(said, bytes):
            return None
        return Outcome(said.ok, said.detail, said.weight_change, self._to_peer.read(), said.made)


def tls_words(error: OSError) -> str:
    """What OpenSSL or the system complains of, without the place in somebody's source: `wrong version number`."""
    words = str(error.strerror or error)
    words = words[words.find("]") + 1 :] if words.startswith("[") else words
    words = words.rpartition(" (_ssl.c")[0] or words
    words = words.strip().lower()
    if "wrong version number" in words or "record layer failure" in words or "packet length too long" in words:
        return f"{words}: what came is no TLS"
    return words


def not_after(der: bytes) -> float:
    """When the certificate `der` ends to be valid, in seconds since 1970; ValueError when it can't be told.

    Source: RFC 5280 §4.1: Certificate{tbsCertificate{[0] version, serial, signature, issuer, validity{…, notAfter}}}.
    """
    certificate, _ = _value(der, 0, 0x30)
    tbs, _ = _value(certificate, 0, 0x30)
    at = 0
    if tbs[:1] == b"\xa0":
        _, at = _value(tbs, at, 0xA0)
    for tag in (0x02, 0x30, 0x30):  # serial number, signature algorithm, issuer
        _, at = _value(tbs, at, tag)
    validity, _ = _value(tbs, at, 0x30)
    _, at = _value(validity, 0, validity[0] if validity else 0)
    if at >= len(validity):
        raise ValueError("its validity has no end")
    tag = validity[at]
    written, _ = _value(validity, at, tag)
    text = written.decode("ascii", "replace")
    if tag == 0x17 and len(text) == 13:  # UTCTime: two digits of the year, 1950 to 2049
        text = ("20" if text[:2] < "50" else "19") + text
    if len(text) != 15 or not text[:14].isdecimal() or text[14] != "Z":
        raise ValueError(f"its validity ends at {text[:20]!r}")
    year, month, day, hour, minute, second = (int(text[a:b]) for a, b in pairwise((0, 4, 6, 8, 10, 12, 14)))
    return calendar.timegm((year, month, day, hour, minute, second))  # ValueError for a month that is none


def _value(der: bytes, at: int, tag: int) -> tuple[bytes, int]:
    """The contents of the element with `tag` that begins at `at`, and where the next one begins."""
    if at + 2 > len(der) or der[at] != tag:
        raise ValueError(f"no element {tag:#x} at octet {at}")
    length, at = der[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        if not 1 <= count <= 4 or at + count > len(der):
            raise ValueError(f"a senseless length at octet {at}")
        length, at = int.from_bytes(der[at : at + count], "big"), at + count
    if at + length > len(der):
        raise ValueError(f"the element at octet {at} is cut")
    return der[at : at + length], at + length

