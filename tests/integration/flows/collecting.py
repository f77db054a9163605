"""A simulator with lists, a state database, and collectors between them.

In: people's edits. Out: what is in the inbox, and how far each list is read. Called by the tests of `flows.collector`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from psycopg.rows import dict_row

from connectors.graph.budget import Budget
from connectors.graph.settings import GraphSettings
from flows.collector import Collector
from flows.graph_reads import PacedGraph
from rowtide.definition.model import BreakerDefinition
from rowtide.polling import PollBounds, PolledList
from state import collecting
from state.collecting import ListCursor
from state.database import Connection
from tests.e2e.conftest import Simulator
from tests.integration.reconcile.bench import eventually

SYNC = "orders"


@dataclass
class CollectBench:
    """Lists of one sync; ``list_ids`` by title."""

    simulator: Simulator
    settings: GraphSettings
    dsn: str
    conn: Connection
    site_id: str
    list_ids: Mapping[str, str]
    readers: list[Collector] = field(default_factory=list)

    def polled(self, *titles: str) -> list[PolledList]:
        """What a collector is told of these lists."""
        names, bounds = frozenset({"Title", "Amount"}), PollBounds(0.2, 60.0)
        return [
            PolledList(self.list_ids[title], self.site_id, SYNC, names, bounds, 7, BreakerDefinition())
            for title in titles
        ]

    @contextmanager
    def collecting(self, *titles: str) -> Iterator[Collector]:
        """A collector of these lists, while the block runs."""
        collector = collector_of(self.settings, self.dsn, self.polled(*titles))
        collector.start()
        try:
            yield collector
        finally:
            collector.stop()

    def edit(self, title: str, item_id: str | None = None, user: str = "Anna", **fields: Any) -> str:
        """A person's edit, or a new item; the item's id."""
        given = {"list": title, "user": user, "fields": fields}
        done = self.simulator.edit(**given) if item_id is None else self.simulator.edit(**given, item_id=item_id)
        return str(done["id"])

    def delete(self, title: str, item_id: str) -> None:
        """A person deletes an item."""
        self.simulator.edit(list=title, item_id=item_id, delete=True, user="Anna")

    def entries(self, title: str) -> dict[str, dict[str, Any]]:
        """The inbox of a list, by item."""
        with self.conn.cursor(row_factory=dict_row) as cursor:
            query = "SELECT * FROM rowtide.inbox WHERE list_id = %s"
            found = cursor.execute(query, [self.list_ids[title]]).fetchall()
        return {one["item_id"]: one for one in found}

    def told(self, title: str) -> dict[str, str]:
        """Of each entry its title, or how it was deleted."""
        return {
            item_id: ("inferred" if one["inferred"] else "deleted") if one["deleted"] else one["fields"]["Title"]
            for item_id, one in self.entries(title).items()
        }

    def cursor(self, title: str) -> ListCursor | None:
        """How far a list is read."""
        return collecting.read(self.conn).get(self.list_ids[title])

    def read(self, title: str) -> None:
        """The list is asked now, and all that there is to read of it is read."""
        collecting.hint(self.conn, [self.list_ids[title]])
        eventually(lambda: self._is_read(title), f"list {title} is read")

    def _is_read(self, title: str) -> bool:
        one = self.cursor(title)
        return one is not None and not (one.hinted or one.full or one.midway or one.link is None)

    def pair(self, title: str, *item_ids: str) -> None:
        """Live pairs of rows with the items' numbers, an hour old."""
        for item_id in item_ids:
            self.conn.execute(
                """
                INSERT INTO rowtide.ledger (sync, key, list_id, item_id, etag, version, base, mapping_version, era, lsn,
                                            ordinal, xid, state, updated_at)
                VALUES (%s, %s, %s, %s, '"g,1"', 1, '{}', 7, 1, 0, 0, 0, 'live', now() - interval '1 hour')
                """,
                [SYNC, item_id, self.list_ids[title], item_id],
            )

    def switch(self, **values: Any) -> None:
        """Set switches of the simulator."""
        self.simulator.ask("switches", {name.replace("_", "-"): value for name, value in values.items()})


def collector_of(settings: GraphSettings, dsn: str, polled: list[PolledList]) -> Collector:
    """A collector of these lists."""
    return Collector(dsn, lambda _: polled, {settings.name: PacedGraph(settings, Budget(settings))})


def collect_until_read(settings: GraphSettings, dsn: str, polled: list[PolledList]) -> None:
    """A process that collects until every list is read once and at rest, or until it is killed."""
    from state import database

    with database.connect(dsn, "tests") as conn:
        collector = collector_of(settings, dsn, polled)
        collector.start()

        def at_rest() -> bool:
            found = collecting.read(conn)
            return len(found) == len(polled) and not any(one.full or one.midway for one in found.values())

        eventually(at_rest, "the lists are read")
        collector.stop()
