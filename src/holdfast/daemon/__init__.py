"""Which machines run in which process; supervision, privileges, service manager."""
