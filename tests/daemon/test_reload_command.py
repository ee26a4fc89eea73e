"""`plan` and `reload` against a running daemon: shown, limited, confirmed, and returned by itself."""

import subprocess
import time

import msgspec
import pytest

from holdfast.lab.daemons import holdfast_command, holdfast_status
from holdfast.lab.hosts import Host, Lab, wait_until
from tests.daemon.two_hosts import VIP, Site

RUN_DIR = ("--run-dir", "/run/holdfast")


def told(host: Host, *words: str) -> str:
    return host.run(*holdfast_command(*words, *RUN_DIR))


def refused(host: Host, *words: str) -> str:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        told(host, *words)
    assert failed.value.returncode == 1
    return str(failed.value.stderr)


def priority(host: Host) -> int:
    return int(holdfast_status(host)["instances"][0]["priority"])


def test_plan_and_reload(lab: Lab) -> None:
    site = Site(lab, alone=True)
    assert told(site.a, "plan") == "nothing changes\n"
    site.a.write("keepalived.conf", site.text(site.a, 90))
    shown = told(site.a, "plan")
    assert "  ~ instance web: priority: 150 → 90\n" in shown
    assert priority(site.a) == 150  # looking changes nothing
    assert told(site.a, "reload").endswith("reloaded\n")
    assert priority(site.a) == 90

    site.a.write("keepalived.conf", site.text(site.a, 90).replace(VIP, "192.0.2.77"))
    assert "1 of 1 running addresses would go: nothing is done" in refused(site.a, "reload")
    assert site.a.holds(VIP)
    document = msgspec.json.decode(told(site.a, "reload", "--yes", "--json"))
    assert (document["reloaded"], document["too_much"]) == (True, "1 of 1 running addresses would go")
    wait_until(lambda: site.a.holds("192.0.2.77") and not site.a.holds(VIP), 5, "the address is the new one")

    site.a.write("keepalived.conf", "vrrp_instance web {\n    priority 90\n}\n")
    refused(site.a, "reload", "--yes")
    assert site.a.holds("192.0.2.77")


def test_a_reload_on_trial(lab: Lab) -> None:
    site = Site(lab, alone=True)
    assert "no reload waits" in refused(site.a, "reload", "--confirmed")
    site.a.write("keepalived.conf", site.text(site.a, 120))
    assert "returns after 60 s" in told(site.a, "reload", "--confirm", "60s")
    assert msgspec.json.decode(told(site.a, "plan", "--json"))["on_trial"] is True
    assert "a reload is on trial: it is taken back in" in told(site.a, "status")
    assert "new configuration stays" in told(site.a, "reload", "--confirmed")
    assert "no reload waits" in refused(site.a, "reload", "--confirmed")
    assert "on trial" not in told(site.a, "status")

    site.a.write("keepalived.conf", site.text(site.a, 90))
    told(site.a, "reload", "--confirm", "0.5s")
    assert " from 120 to 90" in site.first.text()
    wait_until(lambda: priority(site.a) == 120, 5, "what was confirmed last returns", step=0.05)
    assert "The reload was not confirmed: the configuration before it returns" in site.first.text()
    assert site.a.holds(VIP)
    assert "no reload waits" in refused(site.a, "reload", "--confirmed")
    events = [msgspec.json.decode(line) for line in told(site.a, "events", "--json").splitlines()]
    assert [(row["what"], row["cause"].partition(":")[0]) for row in events if row["kind"] == "reload"] == [
        ("reloaded, 1 change", "holdfast reload --confirm 1 min by root (uid 0)"),
        ("confirmed", "root (uid 0)"),
        ("reloaded, 1 change", "holdfast reload --confirm 500 ms by root (uid 0)"),
        ("returned", "The reload was not confirmed"),
    ]


def test_a_second_trial_returns_to_what_was_confirmed_last(lab: Lab) -> None:
    site = Site(lab, alone=True)
    for level, span in ((120, "60s"), (90, "0.5s")):
        site.a.write("keepalived.conf", site.text(site.a, level))
        told(site.a, "reload", "--confirm", span)
        assert f" to {level}" in site.first.text()
    wait_until(lambda: priority(site.a) == 150, 5, "neither was confirmed", step=0.05)


@pytest.mark.alone
def test_a_later_trial_moves_the_end(lab: Lab) -> None:
    site = Site(lab, alone=True)
    site.a.write("keepalived.conf", site.text(site.a, 120))
    begun = time.monotonic()
    told(site.a, "reload", "--confirm", "1s")
    told(site.a, "reload", "--confirm", "60s")
    assert time.monotonic() < begun + 1
    wait_until(lambda: time.monotonic() > begun + 1.3, 3, "the first trial's time is over", step=0.05)
    assert priority(site.a) == 120


@pytest.mark.alone
def test_a_refused_trial_does_not_bind_the_reload_after_it(lab: Lab) -> None:
    site = Site(lab, alone=True)
    site.a.write("keepalived.conf", "instance another\n" + site.text(site.a, 120))
    assert "needs a restart" in refused(site.a, "reload", "--confirm", "1s")
    begun = time.monotonic()
    site.reload(site.a, site.text(site.a, 90))
    wait_until(lambda: time.monotonic() > begun + 1.2, 3, "the trial's time is over", step=0.05)
    assert priority(site.a) == 90
    assert "not confirmed" not in site.first.text()
