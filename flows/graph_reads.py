"""Reads of Graph by the threads of a process that do not write: one client for each tenant.

In: links. Out: answers. Rule: it belongs to one event loop, on which it is used and closed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from connectors.clocks import AnswerClock
from connectors.graph.auth import TokenSource
from connectors.graph.budget import Budget
from connectors.graph.client import MOST_BYTES, Client, Method, NoAnswer, NotSent, Reply
from connectors.graph.settings import GraphSettings


@dataclass(frozen=True, slots=True)
class PacedGraph:
    """One app in one tenant, the quota that it shares with the writer, and Graph's clock by what it answers."""

    settings: GraphSettings
    budget: Budget
    clock: AnswerClock = field(default_factory=AnswerClock)


class GraphReads:
    """The reads of one loop, by the name of the graph."""

    def __init__(self, graphs: Mapping[str, PacedGraph]) -> None:
        self._graphs = graphs
        self._tokens = {name: TokenSource(one.settings) for name, one in graphs.items()}
        self._clients: dict[str, Client] = {}

    async def get(self, graph: str, link: str, most_bytes: int = MOST_BYTES) -> Reply | NotSent | NoAnswer:
        """The answer, of so many bytes at most; a token that is refused is not used again."""
        return self._judged(graph, await self._client(graph).get(link, most_bytes))

    async def send(self, graph: str, method: Method, path: str, body: bytes | None) -> Reply | NotSent | NoAnswer:
        """The answer to a request that changes something which is no item: a subscription."""
        return self._judged(graph, await self._client(graph).send(method, path, body))

    def _client(self, graph: str) -> Client:
        if graph not in self._clients:  # it is made on the loop that uses it
            self._clients[graph] = Client(self._graphs[graph].settings, self._tokens[graph])
        return self._clients[graph]

    def _judged(self, graph: str, answer: Reply | NotSent | NoAnswer) -> Reply | NotSent | NoAnswer:
        if isinstance(answer, Reply):
            self._graphs[graph].clock.note(answer.headers.get("date"))
            if answer.status == 401:
                self._tokens[graph].forget(answer.token)
        return answer

    async def close(self) -> None:
        """Close every connection."""
        for client in self._clients.values():
            await client.close()
