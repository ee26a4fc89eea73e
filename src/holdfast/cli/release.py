"""`holdfast release`: the other half of `holdfast switch`."""

from holdfast.cli.switch import release_command as command

__all__ = ["command"]
