"""What holds for every test."""

import signal

signal.signal(signal.SIGINT, signal.default_int_handler)
"""Started in the background of a shell script, we would hand SIGINT down as ignored: nothing would heed a Ctrl-C."""
