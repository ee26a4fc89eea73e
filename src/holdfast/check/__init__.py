"""Health checks of real servers: what was asked, when to ask, and each kind's conversation, without a socket."""
