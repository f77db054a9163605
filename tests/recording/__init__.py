"""The recording proxy of the tests: every distinct answer of a simulator is held against Graph's published schema.

In: the environment variable `DIRECTORY` (set by `tests/conftest.py` for the whole run, so inherited by workers of
xdist and by every process a test starts). Out: `simulator_module`, the module to run in place of ``graphsim``.
Called by whatever starts a simulator for a test. Rule: outside of a test run (soak, perf) no proxy stands in the way.
"""

import os

DIRECTORY = "ROWTIDE_TEST_ANSWERS"


def simulator_module() -> str:
    """``graphsim``, or the proxy that starts it and takes the same arguments."""
    return "tests.recording" if os.environ.get(DIRECTORY) else "graphsim"
