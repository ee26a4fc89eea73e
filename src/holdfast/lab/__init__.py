"""Hosts made on this machine in network namespaces, for demonstrations and tests."""
