"""What runs in which process.

The vrrp worker: elections, trackers and addresses, and nothing that takes time. The lvs worker: health checks and the
table of virtual servers.
"""

import gc
import os
import signal
import socket
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from errno import ENOENT
from typing import TYPE_CHECKING, Protocol

import msgspec

from holdfast.config.plan import Scheduling, VrrpPlan
from holdfast.daemon.options import Options
from holdfast.daemon.recording import recorded_failure
from holdfast.edge.channel import Channel, ToWorker
from holdfast.edge.loop import Loop
from holdfast.edge.pulse import Pulse
from holdfast.edge.worker import VrrpWorker
from holdfast.engine.messages import LogLine
from holdfast.kernel import process
from holdfast.kernel.errors import KernelRefused
from holdfast.kernel.namespaces import in_network
from holdfast.lvs.config import AUTO, NFTABLES
from holdfast.vrrp.messages import Level

if TYPE_CHECKING:
    from holdfast.edge.services import BalancerPort

SERVICES_FILE = "services"
"""In RUN_DIR: which virtual servers of the kernel are ours, for the next run."""

EXIT_FATAL = 1
EXIT_CONFIG = 2
EXIT_PERMISSION = 4


def schedule(wanted: Scheduling) -> list[process.Refusal]:
    """Give this process the scheduling the operator asked for; what was refused."""
    refusals = []
    if wanted.cpu_affinity:
        refusals.append(process.set_affinity(wanted.cpu_affinity))
    if wanted.rt_priority:
        refusals.append(process.set_realtime(wanted.rt_priority, wanted.rt_time_limit_us))
    elif wanted.nice:
        refusals.append(process.set_nice(wanted.nice))
    if wanted.no_swap:
        refusals.append(process.lock_memory())
    return [refusal for refusal in refusals if refusal is not None]


def run_vrrp_worker(octets: bytes, options: Options, end: socket.socket, pulse: Pulse, parent: int) -> int:
    """The vrrp worker's whole life, in the process just forked; its exit status."""
    plan = msgspec.msgpack.decode(octets, type=VrrpPlan)
    names = plan.settings.process_names
    process.set_name(names.get("vrrp", "keepalived_vrrp" if options.compatible else "holdfast_vrrp"))
    loop = Loop()
    wakeup = _signals(loop)
    worker: VrrpWorker | None = None

    def on_message(message: object, fd: int | None) -> None:
        if worker is not None:
            worker.on_message(message, fd)

    def on_closed() -> None:
        if worker is not None:
            worker.leave("the supervisor is gone")

    channel = Channel(end, ToWorker, loop, on_message, on_closed)
    if not process.die_with_parent(parent):
        return EXIT_FATAL
    try:
        worker = VrrpWorker(plan, loop, channel, pulse)
        worker.interfaces.log_addresses = options.log_addresses
        worker.addresses.release_all = options.release_vips
        worker.parts.run_bfd = options.run_bfd
        wakeup.append(worker)
        for refusal in schedule(plan.settings.scheduling):
            channel.put(LogLine(Level.WARNING, refusal.text()))
        with recorded_failure(worker.engine, options, KernelRefused):
            worker.start()
    except KernelRefused as refused:
        channel.send(LogLine(Level.ERROR, str(refused)))
        return EXIT_PERMISSION
    with recorded_failure(worker.engine, options):
        worker.run()
    worker.close()
    orphaned = channel.gone
    channel.close()
    if orphaned:
        from holdfast.daemon.orphan import last_duties

        last_duties(worker.plan, options)
    return 0


def run_lvs_worker(
    octets: bytes, options: Options, holds: Mapping[tuple[str, str], int], master: bool, pulse: Pulse,
    end: socket.socket, parent: int,
) -> int:  # fmt: skip
    """The lvs worker's whole life, in the process just forked; its exit status.

    `holds`: operators' weights. `master`: the instance of `lvs_sync_daemon` is MASTER.
    """
    from holdfast.config.balancer_plan import BalancerPlan
    from holdfast.edge.lvs_worker import LvsWorker
    from holdfast.edge.services import Memory
    from holdfast.kernel.check_sockets import allow_descriptors

    plan = msgspec.msgpack.decode(octets, type=BalancerPlan)
    process.set_name(plan.process_name or ("keepalived_healthcheckers" if options.compatible else "holdfast_lvs"))
    loop = Loop()
    wakeup = _signals(loop)
    workers: list[LvsWorker] = []

    def on_message(message: object, fd: int | None) -> None:
        for worker in workers:
            worker.on_message(message, fd)

    def on_closed() -> None:
        for worker in workers:
            worker.leave_services = True  # nobody decides any more: what serves goes on serving
            worker.leave("the supervisor is gone")

    channel = Channel(end, ToWorker, loop, on_message, on_closed)
    if not process.die_with_parent(parent):
        return EXIT_FATAL
    try:
        memory = Memory(os.path.join(options.run_dir, SERVICES_FILE))
        allow_descriptors()
        worker = LvsWorker(plan, loop, channel, _kernel_table(plan.lvs.backend, options, parent), memory, pulse)
        workers.append(worker)
        wakeup.append(worker)
        for refusal in schedule(plan.scheduling):
            channel.put(LogLine(Level.WARNING, refusal.text()))
        worker.start(holds, master=master)
    except KernelRefused as refused:
        channel.send(LogLine(Level.ERROR, str(refused)))
        return EXIT_PERMISSION
    worker.run()
    channel.close()
    return 0


def _kernel_table(backend: str, options: Options, parent: int) -> "BalancerPort":
    """The way to the kernel's table, which may be in another network namespace than the checks."""
    held = f"/proc/{parent}/fd/{options.ipvs_network_fd}" if options.ipvs_network_fd >= 0 else ""
    path = options.ipvs_network or held
    if backend != NFTABLES:
        from holdfast.kernel.ipvs import IpvsSocket

        try:
            with in_network(path) if path else nullcontext():
                return IpvsSocket()
        except KernelRefused as refused:
            if backend != AUTO or refused.errno != ENOENT:
                raise
    from holdfast.edge.nft_services import NftTable

    return NftTable(path)


class Leaves(Protocol):
    """A worker that can be asked to leave."""

    def leave(self, why: str) -> None:
        """End cleanly."""


def _signals(loop: Loop) -> list[Leaves]:
    """SIGTERM and SIGINT make the worker leave; the others are the supervisor's affair."""
    workers: list[Leaves] = []
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    others = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE)
    # RLIMIT_RTTIME: many instances take longer at a take-over; what hangs is ended by whoever watches the pulse
    for ignored in (*others, signal.SIGRTMIN + 2, signal.SIGRTMAX - 1, signal.SIGRTMAX, signal.SIGXCPU):
        signal.signal(ignored, signal.SIG_IGN)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def told(kept: socket.socket = writer) -> None:
        reader.recv(64)
        for worker in workers:
            worker.leave("a signal to the worker")

    loop.watch(reader.fileno(), told)
    return workers


def fork_vrrp_worker(octets: bytes, options: Options, pulse: Pulse) -> tuple[int, socket.socket]:
    """Fork the vrrp worker: its pid and the supervisor's end of the channel."""
    return fork_role("vrrp", lambda end, parent: run_vrrp_worker(octets, options, end, pulse, parent))


def fork_lvs_worker(
    octets: bytes, options: Options, holds: Mapping[tuple[str, str], int], master: bool, pulse: Pulse
) -> tuple[int, socket.socket]:
    """Fork the lvs worker: the same."""
    return fork_role("lvs", lambda end, parent: run_lvs_worker(octets, options, holds, master, pulse, end, parent))


def fork_role(role: str, run: Callable[[socket.socket, int], int]) -> tuple[int, socket.socket]:
    """Fork a process that does `run(its end of the pair, our pid)`: its pid and our end."""
    mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    parent = os.getpid()
    gc.freeze()  # what is shared with the child stays shared: the collector does not write to it
    pid = os.fork()
    if pid:
        its.close()
        return pid, mine
    status = EXIT_FATAL
    try:
        signal.set_wakeup_fd(-1)
        os.closerange(3, its.fileno())  # what the supervisor holds (its clients, its log) is not the worker's
        os.closerange(its.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
        status = run(its, parent)
    except SystemExit:
        pass
    except BaseException:
        import traceback

        text = traceback.format_exc()
        try:
            its.setblocking(True)
            its.send(msgspec.msgpack.encode([LogLine(Level.ERROR, f"The {role} worker failed: {text}")]))
        except OSError:
            os.write(2, text.encode())
        status = 70
    finally:
        os._exit(status)
