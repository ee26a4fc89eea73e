"""What `holdfast why --json` prints: the cause of a present state, and what would change it."""

from collections.abc import Sequence
from typing import Any

import msgspec

from holdfast.engine.node import NodeView
from holdfast.engine.why import Explanation, explain
from holdfast.engine.why_services import explain_server, explain_service, names_of, server_names

Row = dict[str, Any]


def reasons(status: Row, name: str, server: str, rows: Sequence[Row]) -> Row | None:
    """The explanation of an instance, a sync group, a virtual server, or of its `server` unless that is ""; None when
    there is none of that name."""
    groups = {str(one["name"]): one["members"] for one in status["sync_groups"]}
    single = any(one["name"] == name for one in status["instances"])
    if single or name in groups:
        if server:
            return None
        node = msgspec.convert(status, NodeView)
        members = [name] if single else groups[name]
        found = [explain(node, member, rows, status["incidents"]) for member in members]
        documents = [msgspec.to_builtins(one) for one in found if one is not None]
        return documents[0] if single else {"name": name, "kind": "group", "members": documents}
    service = next((one for one in status["virtual_servers"] if name in names_of(one)), None)
    return None if service is None else _of_service(service, server, rows)


def _of_service(service: Row, server: str, rows: Sequence[Row]) -> Row | None:
    told: Explanation | None = None
    if not server:
        told = explain_service(service, rows)
    else:
        one = next((one for one in service["real_servers"] if server in server_names(one)), None)
        told = None if one is None else explain_server(service, one, rows)
    return None if told is None else dict(msgspec.to_builtins(told))
