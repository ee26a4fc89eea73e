"""The local socket: messages, server, client."""
