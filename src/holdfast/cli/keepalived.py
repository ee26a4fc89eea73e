"""`holdfast-keepalived`: keepalived's command line with its meanings and exit statuses, to stand in for the binary."""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TextIO

import msgspec

from holdfast import __version__
from holdfast.cli.parsing import Option, Takes, read_options, usage_lines
from holdfast.daemon.options import Options

REFERENCE_VERSION = "2.4.3"
"""The release of keepalived whose behaviour this command has."""

RUN_DIR = "/run/keepalived"

_FLAG, _ARGUMENT, _OPTIONAL = Takes.NOTHING, Takes.ARGUMENT, Takes.OPTIONAL
OPTIONS = (
    Option("use-file", "f", _ARGUMENT, "FILE", "the configuration (default /etc/keepalived/keepalived.conf)"),
    Option("vrrp", "P", _FLAG, "", "only VRRP, no checkers"),
    Option("check", "C", _FLAG, "", "only checkers, no VRRP"),
    Option("no_bfd", "B", _FLAG, "", "no BFD"),
    Option("all", "", _FLAG, "", "every child process, configured or not"),
    Option("log-console", "l", _FLAG, "", "log to standard error as well"),
    Option("log-detail", "D", _FLAG, "", "log more; twice: still more"),
    Option("log-facility", "S", _ARGUMENT, "([0-7]|local[0-7]|user|daemon)", "syslog facility (default daemon)"),
    Option("log-file", "g", _OPTIONAL, "FILE", "log to FILE as well (default keepalived.log in TMPDIR)"),
    Option("flush-log-file", "", _FLAG, "", "flush the log file after each line"),
    Option("no-syslog", "G", _FLAG, "", "no syslog"),
    Option("umask", "u", _ARGUMENT, "MASK", "umask of created files, a number"),
    Option("release-vips", "X", _FLAG, "", "remove addresses on leaving MASTER even if not set by us"),
    Option("dont-release-vrrp", "V", _FLAG, "", "leave addresses, routes and rules in place at the end"),
    Option("dont-release-ipvs", "I", _FLAG, "", "leave the IPVS table in place at the end"),
    Option("dont-respawn", "R", _FLAG, "", "stop when a child dies, do not restart it"),
    Option("dont-fork", "n", _FLAG, "", "stay in the foreground"),
    Option("dump-conf", "d", _FLAG, "", "log the configuration as understood"),
    Option("pid", "p", _ARGUMENT, "FILE", "pid file of the parent; its directory becomes the run directory"),
    Option("vrrp_pid", "r", _ARGUMENT, "FILE", "pid file of the VRRP process"),
    Option("genhash", "T", _FLAG, "", "be genhash (must be the first option)"),
    Option("checkers_pid", "c", _ARGUMENT, "FILE", "pid file of the checker process"),
    Option("address-monitoring", "a", _FLAG, "", "log every address added to or removed from this host"),
    Option("bfd_pid", "b", _ARGUMENT, "FILE", "pid file of the BFD process"),
    Option("snmp", "x", _FLAG, "", "SNMP"),
    Option("snmp-agent-socket", "A", _ARGUMENT, "FILE", "socket of the SNMP master agent"),
    Option("namespace", "s", _ARGUMENT, "NAME", "run in this network namespace (overrides the configuration)"),
    Option("core-dump", "m", _FLAG, "", "leave a core when ending abnormally"),
    Option("core-dump-pattern", "M", _OPTIONAL, "PATTERN", "the same, and set the kernel's pattern"),
    Option("all-config", "e", _FLAG, "", "a missing configuration file is an error"),
    Option("config-id", "i", _ARGUMENT, "ID", "which lines beginning with @ are ours (default: the node's name)"),
    Option("signum", "", _ARGUMENT, "NAME", "number of a signal: STOP RELOAD DATA STATS STATS_CLEAR JSON TDUMP"),
    Option("ignore-sigint", "", _FLAG, "", "SIGINT does nothing"),
    Option("config-test", "t", _OPTIONAL, "LOG_FILE", "check the configuration and end"),
    Option("perf", "", _OPTIONAL, "WHAT", "profiling, of debug builds"),
    Option("debug", "", _OPTIONAL, "WHAT", "debugging, of debug builds"),
    Option("no-mem-check", "", _FLAG, "", "memory checks, of debug builds"),
    Option("version", "v", _FLAG, "", "the version"),
    Option("help", "h", _FLAG, "", "this text"),
)

SIGNALS = {
    "STOP": signal.SIGTERM,
    "RELOAD": signal.SIGHUP,
    "DATA": signal.SIGUSR1,
    "STATS": signal.SIGUSR2,
    "STATS_CLEAR": signal.SIGRTMAX - 1,
    "JSON": signal.SIGRTMIN + 2,
    "TDUMP": signal.SIGRTMAX,
}
"""The signals by the names `--signum` knows."""

FACILITIES = {"user": 1, "daemon": 3, **{f"local{n}": 16 + n for n in range(8)}, **{str(n): 16 + n for n in range(8)}}
"""Syslog facilities by the names `-S` knows (syslog(3))."""

WITHOUT_EFFECT = {
    "all": "a process without configuration would have nothing to do",
    "snmp": "SNMP is not yet carried out",
    "snmp-agent-socket": "SNMP is not yet carried out",
    "core-dump-pattern": "the kernel's core pattern is left as it is",
    "perf": "it belongs to debug builds",
    "debug": "it belongs to debug builds",
    "no-mem-check": "it belongs to debug builds",
}
"""Options that are known and do nothing here, and why."""


class Asked:
    """What the command line came to."""

    def __init__(self) -> None:
        self.values: dict[str, object] = {}
        self.detail = 0
        self.test = False
        self.test_log: str | None = None
        self.wrong = False  # worth exit status 5 in a configuration test


def version_text() -> str:
    """What `-v` prints. Tools read `--enable-json` in the options, of the first line the second of three words."""
    system = os.uname()
    return (
        f"Keepalived v{REFERENCE_VERSION} (holdfast-{__version__})\n\n"
        f"holdfast {__version__} in place of keepalived {REFERENCE_VERSION}\n"
        f"Running on {system.sysname} {system.release} {system.version}\n\n"
        "configure options: --enable-json --enable-dbus --disable-bfd --disable-snmp\n\n"
        "Config options:  NFTABLES LVS REGEX VRRP VRRP_AUTH JSON OLD_CHKSUM_COMPAT DBUS\n"
    )


def usage_text() -> str:
    """What `-h` prints."""
    return "\n".join(["Usage: holdfast-keepalived [OPTION...]", *usage_lines(OPTIONS)]) + "\n"


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


def _without_effect(asked: Asked, option: Option) -> None:
    shown = f"-{option.letter}" if option.letter else f"--{option.name}"
    _say(f"{shown} ({option.name}): {WITHOUT_EFFECT[option.name]}; going on without it")
    if option.name == "core-dump-pattern":
        asked.values["core_dump"] = True


def _log_file(asked: Asked, argument: str) -> None:
    directory = os.environ.get("TMPDIR", "")
    directory = directory if directory.startswith("/") else "/tmp"
    asked.values["log_file"] = os.path.abspath(argument) if argument else os.path.join(directory, "keepalived.log")


def _log_facility(asked: Asked, argument: str) -> None:
    facility = FACILITIES.get(argument)
    if facility is None:
        _say(f"Invalid log facility '{argument}': use 0 to 7, local0 to local7, user or daemon; staying with daemon")
        asked.wrong = True
        return
    asked.values["log_facility"] = facility


def _umask(asked: Asked, argument: str) -> None:
    base = 16 if argument[:2] in ("0x", "0X") else 8 if argument.startswith("0") else 10
    try:
        mask = int(argument, base)
    except ValueError:
        mask = -1
    if not 0 <= mask <= 0o777:
        _say(f"Invalid umask '{argument}': use a number from 0 to 0777; staying with 0177")
        asked.wrong = True
        return
    asked.values["umask"] = mask


def _pid_file(name: str) -> Callable[[Asked, str], None]:
    def settle(asked: Asked, argument: str) -> None:
        asked.values[name] = os.path.abspath(argument)
        if name == "parent_pid_file":
            asked.values["run_dir"] = os.path.dirname(os.path.abspath(argument))

    return settle


def _config_test(asked: Asked, argument: str) -> None:
    asked.test, asked.test_log = True, argument or None


def _log_detail(asked: Asked, argument: str) -> None:
    asked.detail += 1


def _value(name: str, fixed: object = None) -> Callable[[Asked, str], None]:
    def settle(asked: Asked, argument: str) -> None:
        asked.values[name] = argument if fixed is None else fixed

    return settle


SETTLE: dict[str, Callable[[Asked, str], None]] = {
    "use-file": _value("config_file"),
    "vrrp": _value("run_checkers", False),
    "check": _value("run_vrrp", False),
    "no_bfd": _value("run_bfd", False),
    "log-console": _value("log_console", True),
    "log-detail": _log_detail,
    "log-facility": _log_facility,
    "log-file": _log_file,
    "flush-log-file": _value("log_flush", True),
    "no-syslog": _value("log_syslog", False),
    "umask": _umask,
    "release-vips": _value("release_vips", True),
    "dont-release-vrrp": _value("keep_vrrp_addresses", True),
    "dont-release-ipvs": _value("keep_services", True),
    "dont-respawn": _value("respawn", False),
    "dont-fork": _value("foreground", True),
    "dump-conf": _value("dump_config", True),
    "pid": _pid_file("parent_pid_file"),
    "vrrp_pid": _pid_file("vrrp_pid_file"),
    "checkers_pid": _pid_file("checkers_pid_file"),
    "bfd_pid": _pid_file("bfd_pid_file"),
    "address-monitoring": _value("log_addresses", True),
    "namespace": _value("net_namespace"),
    "core-dump": _value("core_dump", True),
    "all-config": _value("all_includes_checked", True),
    "config-id": _value("config_id"),
    "ignore-sigint": _value("ignore_sigint", True),
    "config-test": _config_test,
}

DEFAULTS = Options(
    compatible=True,
    foreground=False,
    log_console=False,
    log_syslog=True,
    run_dir=RUN_DIR,
    parent_pid_file="/run/keepalived.pid",
    vrrp_pid_file="/run/vrrp.pid",
    checkers_pid_file="/run/checkers.pid",
    bfd_pid_file="/run/bfd.pid",
)
"""What holds when nothing is said."""


def read(words: Sequence[str], out: TextIO) -> tuple[Asked, int | None]:
    """What the words ask for; with a status, it is already done (or refused) and the program ends with that."""
    asked = Asked()
    options, others, wrong = read_options(OPTIONS, words)
    for option, argument in options:
        if option.name == "version":
            sys.stderr.write(version_text())
            return asked, 0
        if option.name == "help":
            sys.stderr.write(usage_text())
            return asked, 0
        if option.name == "signum":
            return asked, _signal_number(argument or "", out)
        if option.name == "genhash":
            _say("genhash is not yet carried out; the hash of a page: curl -s URL | md5sum")
            return asked, 1
        if option.name in WITHOUT_EFFECT:
            _without_effect(asked, option)
        else:
            SETTLE[option.name](asked, argument or "")
    if wrong:
        for line in wrong:
            _say(line)
        return asked, 1
    if others:
        _say(f"Unexpected argument(s): {' '.join(others)}")
    return asked, None


def _signal_number(name: str, out: TextIO) -> int:
    number = SIGNALS.get(name)
    if number is None:
        _say(f"Unknown sigfunc {name}: use one of {' '.join(SIGNALS)}")
        return 1
    out.write(f"{int(number)}\n")
    return 0


def options_of(asked: Asked) -> Options:
    """The daemon's options; relative paths are made whole, for a daemon's directory is /."""
    options = msgspec.structs.replace(DEFAULTS, log_detail=asked.detail, **asked.values)
    return msgspec.structs.replace(options, config_file=os.path.abspath(options.config_file))


def config_test(asked: Asked) -> int:
    """`-t`: the problems, to standard error or appended to a file; the exit status says how bad the worst is."""
    from holdfast.config.check import Environment
    from holdfast.config.reference_test import config_test as test

    values = options_of(asked)
    path = str(asked.values.get("config_file") or Options().config_file)
    place = Environment(config_id=values.config_id, all_include_checks=values.all_includes_checked)
    status, lines = test(path, environment=place)
    shown = "".join(f"{line}\n" for line in lines)
    if asked.test_log is not None:
        try:
            with open(asked.test_log, "a", encoding="utf-8", errors="surrogateescape") as log:
                log.write(shown)
            shown = ""
        except OSError as failed:
            _say(f"cannot append to {asked.test_log}: {failed.strerror}; the problems follow here")
    if shown:
        sys.stderr.flush()
        os.write(2, shown.encode("utf-8", "surrogateescape"))
    return max(status, 5) if asked.wrong else status


def start(words: Sequence[str]) -> int:
    """Do what `words` ask; the exit status."""
    asked, status = read(words, sys.stdout)
    if status is not None:
        return status
    if asked.test:
        return config_test(asked)
    from holdfast.daemon.main import run

    return run(options_of(asked))


def main() -> None:
    """The console script."""
    raise SystemExit(start(sys.argv[1:]))


if __name__ == "__main__":
    main()
