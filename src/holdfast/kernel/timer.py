"""A timer that wakes the loop to the microsecond (timerfd_create(2)); epoll rounds its own up to a millisecond."""

import ctypes
import os

from holdfast.base.time import SECOND, Nanoseconds
from holdfast.kernel.errors import KernelRefused

_CLOCK_MONOTONIC = 1
_TFD_NONBLOCK = os.O_NONBLOCK
_TFD_CLOEXEC = os.O_CLOEXEC
_TFD_TIMER_ABSTIME = 1


class _Itimerspec(ctypes.Structure):
    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


_libc = ctypes.CDLL(None, use_errno=True)


class Timer:
    """One timer on CLOCK_MONOTONIC, readable when it has run out."""

    def __init__(self) -> None:
        self._fd = _libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_NONBLOCK | _TFD_CLOEXEC)
        if self._fd < 0:
            raise KernelRefused("make a timer", "", ctypes.get_errno())
        self._spec = _Itimerspec()
        self._pointer = ctypes.byref(self._spec)
        self._settime = _libc.timerfd_settime
        self.armed_at: Nanoseconds | None = None

    def fileno(self) -> int:
        """What to wait on."""
        return int(self._fd)

    def arm(self, at: Nanoseconds | None) -> None:
        """Run out at `at`; None disarms. Setting the same time again costs nothing."""
        if at == self.armed_at:
            return
        self.armed_at = at
        spec = self._spec
        if at is None:
            spec.value_s = spec.value_ns = 0
        else:
            at = max(at, 1)  # zero would disarm
            spec.value_s, spec.value_ns = at // SECOND, at % SECOND
        self._settime(self._fd, _TFD_TIMER_ABSTIME, self._pointer, None)

    def clear(self) -> None:
        """Take notice that it ran out."""
        self.armed_at = None
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Give the timer back."""
        os.close(self._fd)
