"""holdfast: high availability and load balancing for Linux."""

import sys
from typing import Any

__version__ = "0.1.0"

if "typing_extensions" not in sys.modules:
    # msgspec prefers it to typing when it is there, though since Python 3.11 typing has all it asks for:
    # 8 ms of every start and a megabyte of every process
    _modules: dict[str, Any] = sys.modules
    _modules["typing_extensions"] = None
    import msgspec  # noqa: F401

    del _modules["typing_extensions"]
