"""The user-mode kernel boots, has what the host's kernel may lack, and says how the command ended."""

import sys

import pytest

from holdfast.lab.user_mode import run_inside

LOOK = """
import os, subprocess
subprocess.run("ip link add d0 type dummy && ip link set d0 up && ip addr add 10.0.0.1/24 dev d0", shell=True, check=True)
subprocess.run("ipvsadm -A -t 10.0.0.1:80 -s rr && ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.2 -m -w 3", shell=True, check=True)
subprocess.run("tc qdisc add dev d0 root netem loss 30%", shell=True, check=True)
print(subprocess.run(["ipvsadm", "-Sn"], capture_output=True, text=True, check=True).stdout)
print(os.environ["HOLDFAST_USER_MODE"], os.environ["ASKED"])
raise SystemExit(7)
"""


def test_a_command_runs_in_a_kernel_with_ipvs_and_netem() -> None:
    status, said = run_inside([sys.executable, "-c", LOOK], memory="256M", timeout_s=60, environment={"ASKED": "a b"})
    assert (status, said.split("\n")) == (
        7,
        ["-A -t 10.0.0.1:80 -s rr", "-a -t 10.0.0.1:80 -r 10.0.0.2:80 -m -w 3", "", "1 a b", ""],
    )


def test_a_command_that_does_not_end_is_ended() -> None:
    with pytest.raises(TimeoutError, match="begun"):
        run_inside(["sh", "-c", "echo begun; sleep 1000"], memory="256M", timeout_s=15)
