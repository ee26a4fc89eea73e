"""VRRP versions 2 and 3: configuration, wire, machine, view (RFC 3768, RFC 5798, RFC 9568)."""
