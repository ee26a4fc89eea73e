"""What `holdfast plan` does: a file compared with the plan that runs."""

import base64
from typing import Any

import msgspec

from holdfast.config.changes import Change, changes, too_much
from holdfast.config.check import Checked, Environment, check_file
from holdfast.config.plan import VrrpPlan, covered
from holdfast.control.client import AskError, ask


class UnfitError(AskError):
    """A reload would be refused; `checked` says why."""

    def __init__(self, checked: Checked) -> None:
        path = checked.file
        super().__init__(f"{path} can't be used, and a reload would be refused: see `holdfast check {path}`")
        self.checked = checked


def look(run_dir: str | None, file: str | None) -> dict[str, Any]:
    """The document of `plan --json`; raises AskError without a daemon, UnfitError when it can't be used."""
    answer = ask(run_dir, {"command": "plan"})
    path = file or answer["file"]
    try:
        running = msgspec.msgpack.decode(base64.b64decode(answer["plan"]), type=VrrpPlan)
    except msgspec.DecodeError as wrong:
        raise AskError(f"the daemon's plan is not understood ({wrong}): are both of the same version?") from None
    environment = Environment(config_id=answer["config_id"], all_include_checks=answer["all_includes_checked"])
    checked = check_file(path, environment=environment)
    if checked.verdict == "refused":
        raise UnfitError(checked)
    found: tuple[Change, ...] = changes(running, covered(checked.plan, bytes.fromhex(answer["salt"])))
    return {
        "file": path,
        "verdict": checked.verdict,
        "changes": msgspec.to_builtins(found),
        "too_much": too_much(running, checked.plan) or None,
        "on_trial": answer["on_trial"],
    }
