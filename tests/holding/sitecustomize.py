"""Every step that starts with this folder on its path waits where a test wants it, until the test goes on.

The folder ``MESEMS_HOLD`` holds a file ``step`` that names a rule and a visit. The process that computes that
step, once it has been forked from the one that watches it, says its number in ``held`` and waits until the
file ``step`` is gone.
"""

import os
import signal
import sys
import time
from pathlib import Path


def _wait() -> None:
    named = Path(os.environ["MESEMS_HOLD"], "step")
    try:
        rule, session = named.read_text(encoding="utf-8").split()
    except FileNotFoundError:
        return
    if rule in sys.argv and f"--session={session}" in sys.argv:
        before = signal.signal(
            signal.SIGINT, signal.SIG_DFL
        )  # an exception would be swallowed in a hook of a fork
        said = named.with_name("held")
        said.with_suffix(".part").write_text(str(os.getpid()), encoding="utf-8")
        said.with_suffix(".part").rename(said)
        while named.exists():
            time.sleep(0.01)
        signal.signal(signal.SIGINT, before)


os.register_at_fork(after_in_child=_wait)
