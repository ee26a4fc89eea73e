"""Captured traffic of keepalived 2.2.7 and 2.4.3, FRR 8.4.4 and ucarp 1.5.2, with every field written out.

`captures.tar.xz` has the files; `vectors.json.xz` a decoding of 297 frames of them, made by another decoder and checked
against tshark, and the passwords and keys that were in use.
"""

import json
import lzma
import tarfile
from functools import cache
from pathlib import Path
from typing import Any

from holdfast.dissect.pcap import Record, read_capture
from holdfast.dissect.secrets import Secrets, read_secrets

HERE = Path(__file__).parent


@cache
def vectors() -> dict[str, dict[str, Any]]:
    """Capture → its `secrets` and `packets` ({frame, time_s, kind, fields})."""
    decoded: dict[str, dict[str, Any]] = json.loads(lzma.decompress((HERE / "vectors.json.xz").read_bytes()))
    return decoded


@cache
def files() -> dict[str, bytes]:
    """Capture → the octets of its file."""
    with tarfile.open(HERE / "captures.tar.xz") as archive:
        return {Path(member.name).stem: opened.read() for member in archive if (opened := archive.extractfile(member))}


@cache
def records(name: str) -> tuple[Record, ...]:
    """Every frame of a capture."""
    import io

    return tuple(read_capture(io.BytesIO(files()[name])))


def secrets(name: str) -> Secrets:
    """What was in use while it was captured."""
    return read_secrets(json.dumps(vectors()[name]["secrets"]).encode())


def cases() -> list[tuple[str, dict[str, Any]]]:
    """(capture, packet) for every frame that was decoded."""
    return [(name, packet) for name, capture in vectors().items() for packet in capture["packets"]]
