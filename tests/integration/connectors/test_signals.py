"""A signal never meets the lock that it needs: a process that waits for it ends, whatever it does at that moment."""

import subprocess
import sys

WAITS_AND_ENDS = """
import os, signal, threading
from control.cli.session import stop_on_signals

for _ in range(300):
    with stop_on_signals() as stop:
        threading.Timer(0.0002, os.kill, (os.getpid(), signal.SIGTERM)).start()
        while not stop.wait(0):  # the lock of the event is held for most of each turn
            pass
"""


def test_a_signal_that_comes_while_its_own_event_is_looked_at_is_heard() -> None:
    done = subprocess.run([sys.executable, "-c", WAITS_AND_ENDS], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_signal_ends_no_process_that_handles_it_and_its_former_handler_comes_back() -> None:
    script = """
import os, signal
from connectors import signals

heard = []
with signals.handled(heard.append):
    for one in (signal.SIGTERM, signal.SIGINT):
        os.kill(os.getpid(), one)
assert heard == [signal.SIGTERM, signal.SIGINT], heard
os.kill(os.getpid(), signal.SIGTERM)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (-15, "")


def test_a_process_whose_log_is_gone_ends_too() -> None:
    script = """
import os, signal, structlog
from flows.run import EndRequest, _signals

class Gone:
    def write(self, _text):
        raise BrokenPipeError
    flush = write

structlog.configure(logger_factory=structlog.PrintLoggerFactory(file=Gone()))
request = EndRequest()
with _signals(request):
    os.kill(os.getpid(), signal.SIGTERM)
    assert request.made.wait(10)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
