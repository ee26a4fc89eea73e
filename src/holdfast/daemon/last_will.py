"""Resigning for a worker that could not: priority 0 for every master, its addresses and routes off, apart."""

import os
import select

import msgspec

from holdfast.config.plan import VrrpPlan
from holdfast.edge.addresses import Addresses
from holdfast.edge.adverts import Adverts
from holdfast.edge.interfaces import Interfaces
from holdfast.edge.routes import Routes
from holdfast.engine.faults import primary_address
from holdfast.kernel.errors import KernelRefused
from holdfast.kernel.netlink import MonitorSocket, NetlinkSocket
from holdfast.vrrp.config import RESIGN
from holdfast.vrrp.machine import Standing

PATIENCE_S = 5.0


AH_STEP = 1000
"""How far above the last number known of a dead worker its farewell is counted: it may have sent a few since."""


def release(octets: bytes, masters: list[str], ah_number: int = 0) -> str:
    """Fork a process that resigns for `masters` and removes every address of the plan; "" or what went wrong.

    `ah_number`: the highest sequence number of AH the worker was known to have used.
    """
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            _release(octets, masters, ah_number)
            status = 0
        except BaseException as failed:
            os.write(2, f"holdfast: releasing addresses failed: {failed}\n".encode())
        finally:
            os._exit(status)
    pidfd = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    ended = bool(poll.poll(PATIENCE_S * 1000))
    os.close(pidfd)
    if not ended:
        os.kill(pid, 9)
    _, status = os.waitpid(pid, 0)
    return "" if status == 0 else "The dead worker's addresses could not be released: remove them with `ip address`"


def _release(octets: bytes, masters: list[str], ah_number: int) -> None:
    plan = msgspec.msgpack.decode(octets, type=VrrpPlan)
    netlink = NetlinkSocket()
    interfaces = Interfaces(netlink, MonitorSocket())
    known = {interface.name: interface for interface in interfaces.dump()}
    addresses = Addresses(netlink, interfaces)
    routes = Routes(netlink, interfaces, lambda fd, call: None, lambda line: None, lambda event: None)
    adverts = Adverts(lambda fd, call: None, lambda fd: None, lambda event, now: None)
    resigning = []
    for slot, config in enumerate(plan.instances, 1):
        addresses.configure(slot, config)
        routes.configure(slot, config)
        if config.name not in masters:
            continue
        standing = Standing(RESIGN, primary_address(config, known))
        try:
            adverts.ready(slot, config, standing, interfaces.index_of(config.wire))
            resigning.append((slot, RESIGN))
        except KernelRefused:
            continue  # its interface is gone: then so are its addresses
    adverts.count_from(ah_number + AH_STEP)
    adverts.send_now(resigning)
    # what an address owner owns is this host's own, and stays
    routes.sweep({slot for slot, config in enumerate(plan.instances, 1) if config.starts_as_owner})
    owned = {address.address for config in plan.instances if config.starts_as_owner for address in config.addresses}
    addresses.sweep(seen for seen in interfaces.present() if seen.address not in owned)
