"""Bidirectional forwarding detection (RFC 5880, RFC 5881): its wire format."""
