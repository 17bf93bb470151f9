"""Every Python that starts with this folder on its path lives 2000 days later."""

import datetime as dt
import time

DAYS = 2000
_time, _time_ns, _localtime, _gmtime = time.time, time.time_ns, time.localtime, time.gmtime

time.time = lambda: _time() + DAYS * 86400
time.time_ns = lambda: _time_ns() + DAYS * 86400 * 10**9
time.localtime = lambda seconds=None: _localtime(time.time() if seconds is None else seconds)
time.gmtime = lambda seconds=None: _gmtime(time.time() if seconds is None else seconds)


class _Later(dt.datetime):
    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> "_Later":
        return super().now(tz) + dt.timedelta(days=DAYS)


dt.datetime = _Later  # type: ignore[misc]
