"""Words everyone shares: time, addresses, checksums, problems, commands."""
