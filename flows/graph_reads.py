"""Reads of Graph by the threads of a process that do not write: one loop and one client for each tenant.

In: links. Out: answers. Rule: it belongs to one thread, which makes it, uses it and closes it.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from connectors.graph.auth import TokenSource
from connectors.graph.budget import Budget
from connectors.graph.client import Client, NoAnswer, NotSent, Reply
from connectors.graph.settings import GraphSettings


@dataclass(frozen=True, slots=True)
class PacedGraph:
    """One app in one tenant, and the quota that it shares with the writer."""

    settings: GraphSettings
    budget: Budget


class GraphReads:
    """The reads of one thread, by the name of the graph."""

    def __init__(self, graphs: Mapping[str, PacedGraph]) -> None:
        self._graphs = graphs
        self._tokens = {name: TokenSource(one.settings) for name, one in graphs.items()}
        self._clients: dict[str, Client] = {}
        self._loop = asyncio.Runner()

    def get(self, graph: str, link: str) -> Reply | NotSent | NoAnswer:
        """The answer; a token that is refused is not used again."""
        answer = self._loop.run(self._get(graph, link))
        if isinstance(answer, Reply) and answer.status == 401:
            self._tokens[graph].forget(answer.token)
        return answer

    def close(self) -> None:
        """Close every connection."""
        for client in self._clients.values():
            self._loop.run(client.close())
        self._loop.close()

    async def _get(self, graph: str, link: str) -> Reply | NotSent | NoAnswer:
        if graph not in self._clients:  # it is made on the loop that uses it
            self._clients[graph] = Client(self._graphs[graph].settings, self._tokens[graph])
        return await self._clients[graph].get(link)
