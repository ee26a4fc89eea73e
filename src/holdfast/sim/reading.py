"""Configuration files of other hosts, read here: their scripts and users need not exist on this machine."""

from holdfast.config.balancer_plan import BalancerPlan
from holdfast.config.check import Checked, Environment, checked, read_file
from holdfast.config.disk import ElsewhereDisk


def read_elsewhere(path: str, name: str) -> Checked:
    """The check of a file that belongs to the host `name` (its lines after `@name` count)."""
    return read_both(path, name)[0]


def read_both(path: str, name: str) -> tuple[Checked, BalancerPlan]:
    """The same, and the load balancer's plan in it."""
    reading = read_file(path, Environment(config_id=name), ElsewhereDisk())
    return checked(path, reading), reading.built.balancer
