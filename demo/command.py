"""`rowtide demo`, from an empty directory to the verdict.

In: `DemoOptions`. Out: the live view, a `Summary` of how it ended. Rule: whatever happens, processes are ended first
and the directory is removed last; what a SIGKILL leaves, the next demo clears.
"""

import sys
from collections.abc import Callable

from demo import workdir
from demo.interrupts import Interrupts
from demo.live_view import LiveView
from demo.options import DemoOptions
from demo.story import Story
from demo.summary import Summary, SummaryDocument
from demo.workdir import Workdir
from rowtide.error_catalogue import command_errors


def run_demo(options: DemoOptions, publish: Callable[[SummaryDocument], None]) -> Summary:
    """Run the demo; how it ended. With ``options.json`` the summary goes to ``publish`` instead of the view.

    To be called from the main thread, whose children the demo's processes are.
    """
    if options.rate <= 0:
        raise command_errors.DEMO_RATE()
    interrupts = Interrupts()
    # With --json stdout is the document's alone; the view goes to stderr.
    stream = sys.stderr if options.json else sys.stdout
    with interrupts.installed(), LiveView(stream, live=stream.isatty()) as view:

        def say(summary: Summary) -> None:
            if options.json:
                publish(summary.document())
            else:
                for line in summary.lines():
                    view.note(line)

        for path in workdir.clear_dead(options.directory):
            view.note(f"cleared what a demo that was killed had left in {path}")
        made = Workdir.make(options.directory)
        try:
            return Story(options, made, interrupts, view, say).play()
        finally:
            made.remove()
