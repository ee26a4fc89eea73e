"""Packages, built once for all tests."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from holdfast.lab.hosts import Lab

from .booting import Booted
from .building import build_deb, build_dist, once, shared
from .debian import Debian


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with wheel and source archive."""
    return once(shared(tmp_path_factory), "dist", build_dist)


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as made:
        yield made


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[None]:
    """A failing test shows what the daemons said."""
    try:
        return (yield)
    except Exception as failure:
        made = pyfuncitem.funcargs.get("lab")
        if isinstance(made, Lab):
            failure.add_note(made.logs())
        booted = pyfuncitem.funcargs.get("booted")
        if isinstance(booted, Booted):
            failure.add_note(booted.journal())
        raise


def on_debian() -> None:
    """Debian's packages are made and tried on Debian, as root; `make peers` brings what that needs."""
    if os.geteuid() != 0 or not Path("/etc/debian_version").exists():
        pytest.skip("needs root on Debian")


@pytest.fixture(scope="session")
def package(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Debian package."""
    on_debian()
    return once(shared(tmp_path_factory), "deb", partial(build_deb, next(dist.glob("*.tar.gz"))))


@pytest.fixture
def debian(lab: Lab) -> Debian:
    """A fresh small Debian, on a host of its own."""
    on_debian()
    return Debian(lab.host("a"))
