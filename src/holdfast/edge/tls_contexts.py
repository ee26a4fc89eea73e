"""TLS material of checks, read once: certificates and keys from files, one context for checks that ask the same."""

import ssl

from holdfast.check.config import Tls
from holdfast.check.tls import tls_words


class TlsContexts:
    """Contexts by what they are made of."""

    def __init__(self) -> None:
        self._contexts: dict[tuple[object, ...], ssl.SSLContext] = {}

    def context(self, settings: Tls, alpn: str = "") -> ssl.SSLContext:
        """The client's context for `settings`, offering the protocol `alpn`; ValueError with the file and the cure."""
        names = settings.verify and bool(settings.server_name)
        key = (settings.verify, names, settings.ca, settings.certificate, settings.key, settings.password, alpn)
        known = self._contexts.get(key)
        if known is None:
            known = self._contexts[key] = _context(settings, names, alpn)
        return known


def _context(settings: Tls, names: bool, alpn: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = names
    context.verify_mode = ssl.CERT_REQUIRED if settings.verify else ssl.CERT_NONE
    # many a server ends its stream without a farewell; that is no failure of a check
    context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
    if alpn:
        context.set_alpn_protocols([alpn])
    if settings.ca:
        try:
            context.load_verify_locations(settings.ca)
        except OSError as error:
            raise ValueError(f"ca {settings.ca}: {tls_words(error)}: give a file of PEM certificates") from None
    elif settings.verify:
        context.load_default_certs()
    if settings.certificate or settings.key:
        chain = settings.certificate or settings.key
        try:
            # without a password OpenSSL would ask for one on the terminal
            context.load_cert_chain(chain, settings.key or None, password=lambda: settings.password)
        except OSError as error:
            what = f"certificate {settings.certificate}, key {settings.key}"
            raise ValueError(f"{what}: {tls_words(error)}: give PEM files that belong together") from None
    return context

