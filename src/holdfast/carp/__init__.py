"""CARP, the protocol of OpenBSD, FreeBSD and ucarp: its wire format."""
