"""Manifests and scripts that pages show: parsed, checked, and run where that can be done on one machine."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml  # type: ignore[import-untyped,unused-ignore]

from holdfast.lab.daemons import holdfast_command, source_environment
from holdfast.lab.hosts import Lab, wait_until
from tests.docs.pages import PAGES, ROOT, blocks
from tests.docs.test_pages import refusal

KUBERNETES = ROOT / "docs/how-to/kubernetes-and-containers.md"
CLOUDS = ROOT / "docs/how-to/clouds-without-multicast.md"
SCRIPTS = [(page, code.text) for page in PAGES for code in blocks(page) if code.language == "sh"]
YAML = [(page, code.text) for page in PAGES for code in blocks(page) if code.language in ("yaml", "yml")]


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    """By kind."""
    (text,) = (code.text for code in blocks(KUBERNETES) if code.language == "yaml")
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


def container(manifest: dict[str, Any]) -> dict[str, Any]:
    (only,) = manifest["DaemonSet"]["spec"]["template"]["spec"]["containers"]
    assert isinstance(only, dict)
    return only


@pytest.mark.parametrize("text", [text for _, text in YAML], ids=[f"{page.stem}-{n}" for n, (page, _) in enumerate(YAML)])
def test_every_manifest_can_be_parsed(text: str) -> None:
    assert all(document is not None for document in yaml.safe_load_all(text))


@pytest.mark.parametrize(("node", "priority"), [("node-a", 150), ("node-b", 120), ("node-c", 100)])
def test_each_node_reads_its_own_priority_from_the_manifest(
    manifest: dict[str, Any], node: str, priority: int, tmp_path: Path
) -> None:
    path = tmp_path / "keepalived.conf"
    path.write_text(manifest["ConfigMap"]["data"]["keepalived.conf"])
    done = subprocess.run(
        holdfast_command("check", "--json", "--config-id", node, str(path)), capture_output=True, check=True
    )
    document = msgspec.json.decode(done.stdout)
    assert (document["verdict"], document["problems"]) == ("ok", [])
    assert [each["priority"] for each in document["would_run"]["instances"]] == [priority]


def test_the_manifest_fits_together(manifest: dict[str, Any]) -> None:
    pod, one = manifest["DaemonSet"]["spec"]["template"]["spec"], container(manifest)
    assert refusal(" ".join(one["command"])) == ""
    assert pod["hostNetwork"] is True
    volumes = {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for mount in one["volumeMounts"]} == volumes
    names = manifest["DaemonSet"]["spec"]
    assert names["selector"]["matchLabels"].items() <= names["template"]["metadata"]["labels"].items()
    assert "limits" not in one["resources"] or "cpu" not in one["resources"]["limits"]


def test_the_capabilities_of_the_manifest_are_enough(manifest: dict[str, Any]) -> None:
    """With these and no others, and no new ones: master, and both probes answer as the page says."""
    one = container(manifest)
    kept = ",".join(["-all", *(f"+{name.lower()}" for name in one["securityContext"]["capabilities"]["add"])])
    with Lab() as lab:
        node = lab.host("node-a")
        path = node.write("keepalived.conf", manifest["ConfigMap"]["data"]["keepalived.conf"])
        words = [word.replace("$(NODE_NAME)", "node-a").replace("/etc/keepalived/keepalived.conf", path) for word in one["command"]]
        node.spawn(
            "setpriv", f"--bounding-set={kept}", f"--inh-caps={kept}", "--no-new-privs", *holdfast_command(*words[1:]),
            environment=source_environment(),
        )  # fmt: skip
        probe = one["livenessProbe"]["httpGet"]

        def answer(path: str) -> str:
            where = f"http://{probe['host']}:{probe['port']}{path}"
            return node.run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", where, check=False)

        wait_until(lambda: answer("/readyz") == "503", 10, "the backup is not ready", step=0.05)
        assert answer(probe["path"]) == "200"
        wait_until(lambda: answer("/readyz") == "200", 10, "the master is ready", step=0.05)
        assert node.holds("192.0.2.100")


@pytest.mark.parametrize("text", [text for _, text in SCRIPTS], ids=[f"{page.stem}-{n}" for n, (page, _) in enumerate(SCRIPTS)])
def test_every_script_can_be_parsed(text: str) -> None:
    done = subprocess.run(["sh", "-n"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("refusals", "status", "calls"), [(0, 0, 1), (2, 0, 3), (9, 1, 5)])
def test_the_script_that_moves_an_elastic_address(refusals: int, status: int, calls: int, tmp_path: Path) -> None:
    """Played by stand-ins for the cloud's two programs: it asks for this machine, and again when it is refused."""
    (text,) = (code.text for code in blocks(CLOUDS) if "associate-address" in code.text)
    script = tmp_path / "move-address"
    script.write_text(text)
    stand_ins = {
        "curl": 'case "$*" in *api/token) echo secret;; *secret*meta-data/instance-id) echo i-4711;; *) exit 22;; esac',
        "aws": f'echo "$*" >> {tmp_path}/calls; [ $(wc -l < {tmp_path}/calls) -gt {refusals} ]',
        "sleep": ":",
    }
    for name, body in stand_ins.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", str(script)], env=environment, capture_output=True, text=True, check=False)
    asked = (tmp_path / "calls").read_text().splitlines()
    assert (done.returncode, len(asked)) == (status, calls), done.stderr
    assert re.search(r"--instance-id i-4711 .*--allow-reassociation", asked[0])
