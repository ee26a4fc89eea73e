"""Reads dumps the way the Prometheus exporter for keepalived does: by leading spaces, ` = `, and headings."""

import re


def read_data(text: str) -> tuple[dict[str, dict[str, object]], dict[str, dict[str, str]]]:
    """Instances and scripts of `keepalived.data`, each as its keys and lists."""
    instances: dict[str, dict[str, object]] = {}
    scripts: dict[str, dict[str, str]] = {}
    fields: dict[str, object] = {}
    script: dict[str, str] | None = None
    items: list[str] = []
    for line in text.splitlines():
        if line.startswith("------<"):
            fields, script = {}, None
        elif begun := re.fullmatch(r" VRRP Instance = (.+)", line):
            fields = instances[begun[1]] = {}
            script = None
        elif begun := re.fullmatch(r" VRRP Script = (.+)", line):
            script = scripts[begun[1]] = {}
        elif listed := re.fullmatch(r"   (Virtual IP|Virtual IP Excluded) ?(?:\(\d+\))? ?:", line):
            items = []
            fields[listed[1]] = items
        elif line.startswith("     "):
            items.append(line.strip())
        elif pair := re.fullmatch(r"   ([^ ].*?) = (.*)", line):
            items = []
            if script is not None:
                script[pair[1]] = pair[2]
            else:
                fields[pair[1]] = pair[2]
    return instances, scripts


def read_stats(text: str) -> dict[str, dict[str, int]]:
    """Instances of `keepalived.stats`, each as `section/key` → number."""
    instances: dict[str, dict[str, int]] = {}
    section = ""
    numbers: dict[str, int] = {}
    for line in text.splitlines():
        if begun := re.fullmatch(r"VRRP Instance: (.+)", line):
            numbers = instances[begun[1]] = {}
        elif begun := re.fullmatch(r"  ([A-Z][A-Za-z ]+):", line):
            section = begun[1] + "/"
        elif pair := re.fullmatch(r"  ([A-Z][a-z ]+): (\d+)", line):
            numbers[pair[1]] = int(pair[2])
        elif pair := re.fullmatch(r"    ([A-Z][A-Za-z ]+): (\d+)", line):
            numbers[section + pair[1]] = int(pair[2])
        else:
            raise AssertionError(f"not a line of the statistics: {line!r}")
    return instances
