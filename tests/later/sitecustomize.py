"""Every step of a visit that starts with this folder on its path lives 2000 days later.

Snakemake does not: it compares the clock with the times of files, which the system gives.
"""

import datetime as dt
import sys
import time

DAYS = 2000
_time, _time_ns, _localtime, _gmtime = time.time, time.time_ns, time.localtime, time.gmtime
_strftime = time.strftime


class _Later(dt.datetime):
    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> "_Later":
        return super().now(tz) + dt.timedelta(days=DAYS)


if "step" in sys.orig_argv:
    time.time = lambda: _time() + DAYS * 86400
    time.time_ns = lambda: _time_ns() + DAYS * 86400 * 10**9
    time.localtime = lambda seconds=None: _localtime(time.time() if seconds is None else seconds)
    time.gmtime = lambda seconds=None: _gmtime(time.time() if seconds is None else seconds)
    time.strftime = lambda form, when=None: _strftime(form, time.localtime() if when is None else when)
    dt.datetime = _Later  # type: ignore[misc]
