"""What holds for every test."""

import os
import signal

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
"""As installed: the modules of the daemons we start are compiled once, not at every start."""

signal.signal(signal.SIGINT, signal.default_int_handler)
"""Started in the background of a shell script, we would hand SIGINT down as ignored: nothing would heed a Ctrl-C."""
