"""Crash points: processes that run with `tests.faults.armed.settings` kill themselves where they are told to.

The product has none: these settings add an app that wraps each call that leaves the process. A point is named
for the journey that makes the call and for the call, as in `submit.before-create`: all that the journey has
committed before it stands, and nothing of what would come after. TAKEONE_CRASH_FOLDER holds an empty file for
each point that is armed; the process that comes to it removes the file and kills itself.
"""
