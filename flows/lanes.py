"""The writers of a process, as its flow sees them: claims under way in, outcomes of a lane out.

In: `Progress`es of a lane. Out: outcomes, sorted into a mailbox a lane, for whichever step instance has it. Rule: a
lane is ``graph:number``, so that one writer sends what belongs together.
"""

import threading
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence

from connectors.graph.writer import Writer
from rowtide.deciding.outcomes import Outcome
from rowtide.deciding.progress import Progress
from rowtide.keys import lane_name

GRACE_S = 1.0
"""What writes under way get when the process ends; what is unanswered by then is looked at by the next claim."""


class Lanes:
    """Starts and stops the writers; `submit` and `completed` are the delivering step's."""

    def __init__(self, writers: Mapping[str, Writer]) -> None:
        self._writers = writers
        self._lock = threading.Lock()
        self._mailboxes: dict[str, deque[Outcome]] = defaultdict(deque)

    def start(self) -> None:
        """Start every writer."""
        for writer in self._writers.values():
            writer.start()

    def stop(self) -> None:
        """End every writer; `left` has what came of it."""
        for graph, writer in self._writers.items():
            self._sort(graph, writer.stop(GRACE_S))

    def submit(self, lane: str, begun: Sequence[Progress]) -> None:
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
        """Outcomes that no step has fetched; asked for when the flow has ended."""
        return [outcome for mailbox in self._mailboxes.values() for outcome in mailbox]

    def _sort(self, graph: str, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            desired = outcome.work.desired
            self._mailboxes[lane_name(graph, desired.sync, desired.key)].append(outcome)


def _graph(lane: str) -> str:
    return lane.rpartition(":")[0]
