"""The daemon from its first line to its last: options in, exit status out."""

import os
import resource
import signal
import socket
import sys

import msgspec

from holdfast import __version__
from holdfast.config.plan import Settings, VrrpPlan, plan_lines
from holdfast.daemon import place
from holdfast.daemon.building import Built, build_now
from holdfast.daemon.options import Options
from holdfast.kernel.errors import KernelRefused
from holdfast.vrrp.messages import Level

EXIT_FATAL = 1
EXIT_CONFIGURATION = 2
EXIT_PERMISSION = 4
EXIT_NO_CONFIGURATION = 6


def run(options: Options) -> int:
    """Run the daemon in this process (or, not in the foreground, in one that this leaves behind); its exit status."""
    from holdfast.daemon.privileges import missing_line
    from holdfast.edge.logs import open_log

    try:
        os.makedirs(options.run_dir, mode=0o755, exist_ok=True)
    except OSError as refused:
        return _say(f"cannot make the run directory {options.run_dir}: {refused.strerror}; choose one with --run-dir")
    log = open_log(options)
    lacking = missing_line()
    if lacking:
        log.say_error(lacking)
        log.close()
        return EXIT_PERMISSION
    if not os.path.exists(options.config_file) and not _is_pattern(options.config_file):
        log.say_error(f"{options.config_file} does not exist: write one, or name another with -f")
        log.close()
        return EXIT_NO_CONFIGURATION
    built = build_now(options, _load_the_rest)
    from holdfast.daemon.listeners import ListenerPlan

    for problem in built.problems:
        log.problem(problem)
    if not built.plan:
        reason = built.failure or f"{options.config_file} cannot run as it is"
        log.say_error(f"{reason}; see the problems above, or run `holdfast check {options.config_file}`")
        log.close()
        return built.exit_status or EXIT_FATAL
    terminal = -1
    settings = msgspec.msgpack.decode(built.plan, type=ListenerPlan).settings
    try:
        options = place.settle(options, settings)
    except KernelRefused as refused:
        log.say_error(str(refused))
        log.close()
        return EXIT_FATAL
    log.suffix = place.log_suffix(options, settings)
    if options.compatible and (missing := missing_interface(built.plan)):
        log.say_error(f"{missing} does not exist: make it, or say dynamic_interfaces in global_defs to wait for it")
        log.close()
        return EXIT_CONFIGURATION
    if options.core_dump:
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    if options.dump_config:
        for line in plan_lines(msgspec.msgpack.decode(built.plan, type=VrrpPlan)):
            log.say(Level.INFO, line)
    if not options.foreground:
        terminal, started = _daemonise()
        if terminal < 0:
            return started
    status = _supervise(options, built, log, terminal)
    log.close()
    return status


def _load_the_rest() -> None:
    """Load what supervisor and worker will need while the builder reads: they share what is loaded before the fork."""
    import holdfast.daemon.supervise  # noqa: F401


class Placed(msgspec.Struct, frozen=True):
    """Where an instance runs."""

    name: str
    interface: str = ""
    base: str = ""


class Places(msgspec.Struct, frozen=True):
    """The part of a plan that says where its instances run."""

    settings: Settings = Settings()
    instances: tuple[Placed, ...] = ()


def missing_interface(octets: bytes) -> str:
    """The first instance whose interface is not there, unless that may be (`dynamic_interfaces`); "" when all are.

    keepalived then ends with status 2; `holdfast run` starts and waits in FAULT for the interface to appear.
    """
    places = msgspec.msgpack.decode(octets, type=Places)
    if places.settings.dynamic_interfaces:
        return ""
    there = {name for _, name in socket.if_nameindex()} | {""}
    needed = [(one.name, one.base or one.interface) for one in places.instances]
    return next((f"({name}) interface {interface}" for name, interface in needed if interface not in there), "")


def _say(line: str) -> int:
    sys.stderr.write(f"holdfast: {line}\n")
    return EXIT_FATAL


def _is_pattern(path: str) -> bool:
    return any(character in path for character in "*?[{")


def _daemonise() -> tuple[int, int]:
    """Leave the terminal: a descriptor for `_let_go` in the daemon, (-1, exit status) in the process first started."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    if pid := os.fork():
        os.close(writer)
        os.waitpid(pid, 0)
        return -1, 0 if os.read(reader, 1) else EXIT_FATAL
    os.setsid()
    if os.fork():
        os._exit(0)
    os.chdir("/")
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(reader)
    return writer, 0


def _let_go(terminal: int) -> None:
    """Tell the process that was started that the daemon stands: it may end."""
    if terminal >= 0:
        os.write(terminal, b"+")
        os.close(terminal)


def _supervise(options: Options, built: Built, log: object, terminal: int) -> int:
    from holdfast.control.server import ControlServer
    from holdfast.daemon.listeners import Listeners
    from holdfast.daemon.service import AlreadyRunning, Service
    from holdfast.daemon.supervise import SIGNALS, Supervisor
    from holdfast.edge.clock import monotonic_ns
    from holdfast.edge.logs import Log
    from holdfast.edge.loop import Loop
    from holdfast.kernel import process

    assert isinstance(log, Log)
    loop = Loop()
    # whoever reads the pid file may signal at once: nothing is lost, and nothing ends us, until there are ears for it
    signal.pthread_sigmask(signal.SIG_BLOCK, (*SIGNALS, signal.SIGINT))
    try:
        service = Service(options)
    except AlreadyRunning as running:
        log.say_error(str(running))
        return EXIT_FATAL
    except OSError as refused:
        place = refused.filename or options.run_dir
        log.say_error(f"no pid file {place}: {refused.strerror}; choose another place with --run-dir (or -p)")
        return EXIT_FATAL
    listeners = Listeners(options, built.plan, loop, log)
    names = listeners.settings.process_names
    process.set_name(names.get("parent", "keepalived" if options.compatible else "holdfast"))
    supervisor = Supervisor(options, loop, log, service, listeners)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (*SIGNALS, signal.SIGINT))
    supervisor.plan = built.plan
    control_path = os.path.join(options.run_dir, "control.sock")
    try:
        supervisor.control = ControlServer(control_path, supervisor.on_request, loop)
    except OSError as refused:
        log.say_error(f"no commands can be given: {control_path}: {refused.strerror or refused}")
    log.say_start(built.problems)
    told = f"holdfast {__version__}, pid {os.getpid()}, {os.path.abspath(options.config_file)}"
    before = "; the run before did not end in an orderly way" if listeners.journal.unfinished() else ""
    supervisor.note("started", told + before)
    listeners.witness.load(built.plan)
    listeners.start(monotonic_ns())
    supervisor.watchers.load(built.plan, first=True)
    supervisor.companions.load(built.plan)

    def begin(now: int) -> None:
        if supervisor.stopping_at is not None:
            return
        if options.run_checkers:
            supervisor.balancing.take_plan(built.balancer)
        if options.run_vrrp and listeners.has_instances:
            supervisor.start_worker(now)
        else:
            service.ready("virtual servers" if supervisor.balancing.running else "nothing to run")

    listeners.run_startup_script(begin, monotonic_ns())
    _let_go(terminal)
    try:
        return supervisor.run()
    finally:
        if supervisor.control is not None:
            supervisor.control.close()
        service.close()
