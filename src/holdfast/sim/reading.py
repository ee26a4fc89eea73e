"""Configuration files of other hosts, read here: their scripts and users need not exist on this machine."""

from holdfast.config.check import Checked, Environment, check_file
from holdfast.config.disk import ElsewhereDisk


def read_elsewhere(path: str, name: str) -> Checked:
    """The check of a file that belongs to the host `name` (its lines after `@name` count)."""
    return check_file(path, environment=Environment(config_id=name), disk=ElsewhereDisk())
