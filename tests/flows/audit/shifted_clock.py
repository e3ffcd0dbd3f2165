"""A clock that is set from outside under Python processes that run: off the real one by the seconds in a file.

Only the time of day moves. What measures how long something lasts goes on, as on a real machine, and so do the times
that the kernel gives to files. Git, which Python starts, gets the time of that moment.
"""

import ctypes
import datetime
import gc
import os
import subprocess
import time

REAL, FILE, FOR = time.time, os.environ["SHIFTED_CLOCK"], 0.1
_read = [0.0, -1.0]


def off():
    """Seconds between the real clock and this one; the file is read anew ten times a second."""
    if time.monotonic() - _read[1] > FOR:
        with open(FILE) as file:
            _read[:] = float(file.read()), time.monotonic()
    return _read[0]


class Shifted:
    """A function of seconds that takes now where none are given; no method of a class that it is put into."""

    def __init__(self, function):
        self.function = function

    def __call__(self, seconds=None):
        return self.function(time.time() if seconds is None else seconds)


for name in ("gmtime", "localtime", "ctime"):
    setattr(time, name, Shifted(getattr(time, name)))
time.time = lambda: REAL() + off()
time.time_ns = lambda: int(time.time() * 1e9)

# Whoever imported the type has it already: its own dictionary is changed, which lies behind a read-only view.
own = gc.get_referents(datetime.datetime.__dict__)[0]
own["now"] = classmethod(lambda cls, tz=None: cls.fromtimestamp(time.time(), tz))
own["utcnow"] = classmethod(lambda cls: cls.fromtimestamp(time.time(), datetime.UTC).replace(tzinfo=None))
own["today"] = classmethod(lambda cls: cls.fromtimestamp(time.time()))
day = gc.get_referents(datetime.date.__dict__)[0]
day["today"] = classmethod(lambda cls: cls.fromtimestamp(time.time()))
for kind in (datetime.datetime, datetime.date):
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(kind))

start = subprocess.Popen.__init__


def started(self, args, *more, **options):
    words = [args] if isinstance(args, (str, bytes)) else list(args)
    if words and os.path.basename(os.fsdecode(words[0])) == "git":
        known = dict(os.environ if options.get("env") is None else options["env"])
        for who in ("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"):
            known.setdefault(who, f"{int(time.time())} +0000")
        options["env"] = known
    start(self, args, *more, **options)


subprocess.Popen.__init__ = started
