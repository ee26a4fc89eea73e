"""Who reads the pid file may signal at once: nothing is lost, and nothing ends the daemon before it can hear."""

import os
import signal
import time

from holdfast.lab.daemons import holdfast_command, source_environment
from holdfast.lab.hosts import Lab, wait_until

TEXT = "vrrp_instance a {\n interface eth0\n virtual_router_id 3\n virtual_ipaddress {\n 192.0.2.3\n }\n}\n"


def test_a_reload_asked_for_as_soon_as_there_is_a_pid_file_is_carried_out(lab: Lab) -> None:
    host = lab.host("host")
    path, run_dir = host.write("keepalived.conf", TEXT), str(host.directory / "run")
    for _ in range(3):
        daemon = host.spawn(*holdfast_command("run", "-f", path, "--run-dir", run_dir), environment=source_environment())
        end = time.monotonic() + 10
        while not os.path.exists(f"{run_dir}/holdfast.pid"):  # no pause: it is the first moment that is tried
            assert time.monotonic() < end, daemon.text()
        daemon.signal(signal.SIGHUP)
        wait_until(lambda one=daemon: "Reloaded" in one.text(), 10, "the reload")  # type: ignore[misc]
        daemon.signal(signal.SIGTERM)
        assert daemon.wait(10) == 0, daemon.text()
