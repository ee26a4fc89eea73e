"""What the reader of a capture knows beside it: passwords and keys, so that authentication can be judged."""

import msgspec

from holdfast.base.address import Address, parse

FORM = (
    '{"vrrp_auth_pass": "…", "vrrp_auth_ah_key": "…", "auth_hmac_keys": [{"id": 1, "key_hex": "…"}], '
    '"carp_password": "…", "carp_virtual_address": "192.0.2.77"}'
)


class Secrets(msgspec.Struct, frozen=True, kw_only=True):
    """Passwords and keys; None or () where none was given."""

    auth_pass: bytes | None = None
    ah_key: bytes | None = None
    hmac_keys: tuple[tuple[int, bytes], ...] = ()  # (key id, key); an id may come twice, for two senders
    carp_password: bytes | None = None
    carp_addresses: tuple[Address, ...] = ()


class _Key(msgspec.Struct):
    id: int
    key_hex: str
    key_ascii: str = ""


class _Written(msgspec.Struct, forbid_unknown_fields=True):
    vrrp_auth_pass: str | None = None
    vrrp_auth_ah_key: str | None = None
    auth_hmac_keys: tuple[_Key, ...] = ()
    carp_password: str | None = None
    carp_virtual_address: str | tuple[str, ...] = ()


def read_secrets(octets: bytes) -> Secrets:
    """The secrets in a JSON document of the form `FORM`; each is optional. ValueError says what is wrong with it."""
    try:
        written = msgspec.json.decode(octets, type=_Written)
        keys = tuple((key.id, bytes.fromhex(key.key_hex)) for key in written.auth_hmac_keys)
        named = written.carp_virtual_address
        addresses = tuple(parse(one) for one in ((named,) if isinstance(named, str) else named))
    except (msgspec.DecodeError, ValueError) as wrong:
        raise ValueError(f"{wrong}: the form is {FORM}") from None
    return Secrets(
        auth_pass=_octets(written.vrrp_auth_pass),
        ah_key=_octets(written.vrrp_auth_ah_key),
        hmac_keys=keys,
        carp_password=_octets(written.carp_password),
        carp_addresses=addresses,
    )


def _octets(text: str | None) -> bytes | None:
    return None if text is None else text.encode()
