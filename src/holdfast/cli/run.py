"""`holdfast run`: from words to the daemon's options. The daemon lives in this process: little is imported."""

import os
from collections.abc import Sequence

from holdfast.cli.parsing import Option, Takes, read_options
from holdfast.control.messages import RUN_DIR_VARIABLE
from holdfast.daemon.options import Options

OPTIONS = (
    Option("file", "f", Takes.ARGUMENT, "FILE", "the configuration [default: /etc/keepalived/keepalived.conf]"),
    Option("run-dir", "", Takes.ARGUMENT, "DIR", "control socket, pid files, state [default: /run/holdfast]"),
    Option("config-id", "", Takes.ARGUMENT, "ID", "which @ID lines are ours [default: host name to its first dot]"),
    Option("namespace", "s", Takes.ARGUMENT, "NAME", "live in this network namespace (goes before net_namespace)"),
    Option("web", "", Takes.ARGUMENT, "ADDR:PORT", "serve page, metrics and API there, such as 127.0.0.1:9650"),
    Option("web-token-file", "", Takes.ARGUMENT, "FILE", "who knows the token in FILE may give commands by the web"),
    Option("log-json", "", Takes.NOTHING, "", "a JSON object a log line"),
    Option("log-file", "", Takes.ARGUMENT, "FILE", "log to FILE, not to standard error"),
    Option("syslog", "", Takes.NOTHING, "", "log to syslog, not to standard error"),
    Option("verbose", "v", Takes.NOTHING, "", "log more; twice: still more"),
)
"""What `holdfast run` takes."""


def read(words: Sequence[str]) -> Options | None:
    """The options in `words`; None when they need the help page or an explanation."""
    options, others, wrong = read_options(OPTIONS, words)
    if others or wrong:
        return None
    return settle({}, options)


def settle(values: dict[str, str | int | bool | None], options: Sequence[tuple[Option, str | None]] = ()) -> Options:
    """The daemon's options, from values by name and options read."""
    values = dict(values)
    for option, argument in options:
        if option.takes is Takes.ARGUMENT:
            values[option.name] = argument
        else:
            values[option.name] = int(values.get(option.name) or 0) + 1
    log_file = str(values.get("log-file") or "")
    syslog = bool(values.get("syslog"))
    return Options(
        config_file=str(values.get("file") or Options().config_file),
        config_id=str(values.get("config-id") or ""),
        run_dir=str(values.get("run-dir") or os.environ.get(RUN_DIR_VARIABLE) or Options().run_dir),
        net_namespace=str(values.get("namespace") or ""),
        web=str(values.get("web") or ""),
        web_token_file=os.path.abspath(str(values["web-token-file"])) if values.get("web-token-file") else "",
        log_console=not (log_file or syslog),
        log_syslog=syslog,
        log_file=os.path.abspath(log_file) if log_file else "",
        log_json=bool(values.get("log-json")),
        log_detail=int(values.get("verbose") or 0),
    )


def start(options: Options) -> int:
    """Be the daemon until it ends; its exit status."""
    from holdfast.daemon.main import run

    return run(options)
