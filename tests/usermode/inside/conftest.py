"""Collected only inside the user-mode kernel."""

import os

from holdfast.lab.user_mode import INSIDE

collect_ignore_glob = [] if os.environ.get(INSIDE) else ["test_*.py"]
