"""Which machine an instance is of: VRRP's or CARP's. Everything else in the engine is the same for both.

A router without CARP never loads its machine.
"""

from holdfast.base.time import Nanoseconds
from holdfast.vrrp import machine as vrrp
from holdfast.vrrp.config import InstanceConfig
from holdfast.vrrp.messages import Event
from holdfast.vrrp.states import Backup, Standing, State, Step


def step(config: InstanceConfig, standing: Standing, state: State, event: Event, now: Nanoseconds) -> Step:
    """One event of one instance."""
    if config.carp is not None:
        from holdfast.carp import machine as carp

        return carp.step(config, standing, state, event, now)
    return vrrp.step(config, standing, state, event, now)


def fresh_backup(config: InstanceConfig, standing: Standing, now: Nanoseconds) -> Backup:
    """Backup with a full timer of our own interval."""
    if config.carp is not None:
        from holdfast.carp import machine as carp

        return carp.fresh_backup(config, standing, now)
    return vrrp.fresh_backup(config, standing, now)
