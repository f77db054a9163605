"""A thread that reads lists in rounds, beside the rows of a process that delivers.

In: what a subclass does in a round. Out: nothing. Rule: a round that fails ends nothing; it is said once, and the next
one waits longer with each failure.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping

from connectors.trouble import Trouble
from flows.graph_reads import GraphReads, PacedGraph
from rowtide.error_catalogue.entries import Entry
from rowtide.errors import RowtideError
from state.database import Link


class GraphRounds(ABC):
    """One thread a process; each tenant has one client, which lives as long as the thread."""

    def __init__(
        self, name: str, state_dsn: str, graphs: Mapping[str, PacedGraph], failed: Entry[RowtideError]
    ) -> None:
        """``name``: of the thread and its session; ``failed``: what an unexpected error of a round is called."""
        self._graphs = graphs
        self._link = Link(state_dsn, f"rowtide {name}")
        self._failed_round = failed
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"rowtide-{name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End soon; what is under way is done again by the next process."""
        self._stop.set()

    @abstractmethod
    def _round(self, reads: GraphReads) -> float:
        """Do what is to be done now; the seconds until the next round."""

    def _run(self) -> None:
        trouble = Trouble("lists are not read", "lists are read again", thread=self._thread.name)
        reads = GraphReads(self._graphs)
        while not self._stop.is_set():
            try:
                wait_s = self._round(reads)
                trouble.succeeded()
            except Exception as error:
                name = type(error).__name__
                problem = error if isinstance(error, RowtideError) else self._failed_round(error=name)
                wait_s = trouble.failed(problem, error)
            self._stop.wait(wait_s)
        reads.close()
        self._link.close()
