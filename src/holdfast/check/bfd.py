"""BFD_CHECK: what a BFD session says. There is no period: a change acts at once."""

from holdfast.check.config import BfdCheck
from holdfast.check.conversation import Outcome


def bfd_outcome(check: BfdCheck, up: bool | None, detail: str = "") -> Outcome:
    """What the session's verdict comes to; `up` None: nothing was told of it yet, which decides nothing."""
    if up is None:
        return Outcome(False, f"nothing is known of BFD session {check.name} yet", made=False)
    said = f" ({detail})" if detail else ""
    return Outcome(up, f"BFD session {check.name} is {'up' if up else 'down'}{said}")
