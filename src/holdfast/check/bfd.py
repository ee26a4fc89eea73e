"""BFD_CHECK: whether a BFD session is Up. Not carried out yet, and it says so instead of counting as a failure."""

from holdfast.check.config import BfdCheck
from holdfast.check.conversation import Outcome


def bfd_outcome(check: BfdCheck) -> Outcome:
    """It could not be made: nothing is known of the session."""
    return Outcome(False, f"BFD_CHECK of {check.name} is not carried out yet: it decides nothing", made=False)
