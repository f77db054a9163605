"""The writers of a process, as its flow sees them: claims in flight go in, outcomes come out by lane.

In: `InFlight` claims of a lane. Out: outcomes, sorted into one mailbox for each lane; the step instance that has the
lane empties it. Rule: a lane is ``graph:number``, so that one writer sends everything of a graph.
"""

import threading
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from functools import partial

from connectors.graph.writer import Writer
from connectors.loops import Beside
from rowtide.deciding.in_flight import InFlight
from rowtide.deciding.outcomes import Outcome
from rowtide.keys import lane_name

GRACE_S = 1.0
"""Seconds that writes under way have when the process ends. The next claim looks at what is unanswered by then."""


class WriterLanes:
    """Starts and stops the writers. The delivering step calls `submit` and `completed`."""

    def __init__(self, writers: Mapping[str, Writer]) -> None:
        self._writers = writers
        self._lock = threading.Lock()
        self._mailboxes: dict[str, deque[Outcome]] = defaultdict(deque)

    def start(self) -> None:
        """Start every writer."""
        for writer in self._writers.values():
            writer.start()

    def stop(self) -> None:
        """End every writer, all at once, so that they share the grace; `left` then has the outcomes."""
        ends = {name: Beside("rowtide-stop", partial(writer.stop, GRACE_S)) for name, writer in self._writers.items()}
        for graph, end in ends.items():
            self._sort(graph, end.result())

    def submit(self, lane: str, begun: Sequence[InFlight]) -> None:
        """Hand claims under way to the writer of the lane's graph."""
        self._writers[_graph(lane)].submit(begun)

    def completed(self, lane: str) -> list[Outcome]:
        """Outcomes of the lane since the last call."""
        graph = _graph(lane)
        with self._lock:
            self._sort(graph, self._writers[graph].poll())
            mailbox = self._mailboxes[lane]
            done = list(mailbox)
            mailbox.clear()
        return done

    def left(self) -> list[Outcome]:
        """Outcomes that no step has fetched, for when the flow has ended."""
        return [outcome for mailbox in self._mailboxes.values() for outcome in mailbox]

    def _sort(self, graph: str, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            desired = outcome.work.desired
            self._mailboxes[lane_name(graph, desired.sync, desired.key)].append(outcome)


def _graph(lane: str) -> str:
    return lane.rpartition(":")[0]
