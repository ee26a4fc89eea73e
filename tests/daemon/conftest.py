from collections.abc import Iterator

import pytest

from holdfast.lab.hosts import Lab


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
        raise
