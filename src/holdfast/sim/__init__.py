"""The daemon's own machines in virtual time: a world of hosts and wires, its weather, and what is promised of it."""
