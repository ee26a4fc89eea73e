"""FILE_CHECK: what the number in a tracked file says. There is no period: a change acts at once."""

from holdfast.check.config import FileCheck
from holdfast.check.conversation import Outcome

DOWN = -(2**31)
"""A product of value and weight at or below this is a failure."""

HIGHEST = 2**31 - 1


def file_outcome(check: FileCheck, value: int) -> Outcome:
    """What the file's number `value` comes to; the product is added to the server's weight, up to 2³¹ - 1."""
    if check.weight == 0:
        ok = value == 0
        return Outcome(ok, f"{check.track_file}: {value}" + ("" if ok else ", any other than 0 is a failure"))
    product = value * (-check.weight if check.reverse else check.weight)
    shown = f"{check.track_file}: {value} makes {product:+d}"
    if product <= DOWN:
        return Outcome(False, f"{shown}, a failure")
    return Outcome(True, shown, weight_change=min(product, HIGHEST))
