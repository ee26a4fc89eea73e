"""MISC_CHECK: what a program's end says. Somebody else runs it, ends it in time, and doesn't wait for its children."""

from holdfast.check.conversation import Outcome


def misc_outcome(status: int, timed_out: bool, dynamic: bool, weight: int, words: str) -> Outcome:
    """What exit `status` (negative: a signal) of a MISC_CHECK comes to; `words` tell how it ended.

    With `misc_dynamic`, 2 to 255 pass too and add status - 2 - `weight` (the configured one), so that one such checker
    makes the server's weight status - 2.
    """
    if timed_out or status < 0:
        return Outcome(False, words)
    if status == 0:
        return Outcome(True, words)
    if dynamic and 2 <= status <= 255:
        return Outcome(True, f"{words}: weight {status - 2}", weight_change=status - 2 - weight)
    return Outcome(False, words)
