"""People who change the shop's customers in SharePoint, and what became of each edit.

In: the shop's source, the simulator's control side, a seed. Out: edits by named persons, `PeopleTally`. Rules: an edit
has arrived when the row says so; e-mail addresses are changed by them alone, so that every edit arrives; two customers
of this file's own, which no act of the workload picks, are where both sides change one field at once.
"""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from demo.simulator import SimulatorControl
from rowtide.errors import RowtideError
from rowtide.keys import ROWTIDE_KEY, rowtide_key

PEOPLE = ("Ada Lovelace", "Grace Hopper", "Katherine Johnson", "Radia Perlman")
CUSTOMERS, LIST = "customers", "Customers"
BY_POLICY, BY_A_PERSON = -1, 0
"""Ids of the two customers whose one field both sides change at once; the workload begins with 1."""
ADDED_EACH = 5
"""Of so many acts one adds a customer."""
SHOWN = 3
"""Arrivals that are told one by one."""

_CONTESTED = """
INSERT INTO customers (id, name, email, region, segment, since, notes)
VALUES (%s, 'Contested & Sons Ltd', 'policy@example.com', 'EU', 'Small business', DATE '2024-02-29', 'Calm so far.'),
       (%s, 'Undecided Optics AB', 'person@example.com', 'US', 'Small business', DATE '2025-07-01', NULL)
"""


@dataclass(slots=True)
class PeopleTally:
    """What they have done so far; ``seconds``: from each edit until its row said so."""

    made: int = 0
    arrived: int = 0
    seconds: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Edit:
    what: str
    began: float
    item_id: str = ""


def add_contested(connection: psycopg.Connection) -> int:
    """Add the two customers of which both sides will change one field at once; how many there are."""
    return connection.execute(_CONTESTED, [BY_POLICY, BY_A_PERSON]).rowcount


class People:
    """They edit one after the other until `leave`; `tally` goes on until every edit has arrived, or `stop`."""

    def __init__(
        self, dsn: str, simulator: SimulatorControl, seed: int, note: Callable[[str], None], pause_s: float = 1.0
    ) -> None:
        self.tally = PeopleTally()
        self._dsn = dsn
        self._simulator = simulator
        self._random = random.Random(f"people {seed}")
        self._note = note
        self._pause_s = pause_s
        self._pending: dict[str, _Edit] = {}
        self._items: dict[str, tuple[str, str]] = {}
        self._left, self._stopped = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="people", daemon=True)

    def start(self) -> None:
        """Begin to edit."""
        self._items = {
            row["fields"][ROWTIDE_KEY]: (row["id"], str(row["fields"].get("Title")))
            for row in self._simulator.fetch_items()
            if row["list"] == LIST and row["fields"].get(ROWTIDE_KEY)
        }
        self._thread.start()

    def leave(self) -> None:
        """Make no further edit."""
        self._left.set()

    @property
    def all_arrived(self) -> bool:
        """Whether they have gone, and everything that they typed is in PostgreSQL."""
        return self._left.is_set() and not self._pending

    def stop(self, timeout_s: float = 10.0) -> None:
        """Leave, and wait for nothing."""
        self._left.set()
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def contest(self, customer: int, column: str, name: str, in_list: str, in_table: str) -> None:
        """Both sides change one field of one customer at once."""
        item_id, _ = self._items[rowtide_key(CUSTOMERS, str(customer))]
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            self._simulator.edit(LIST, {name: in_list}, PEOPLE[0], item_id)
            statement = sql.SQL("UPDATE customers SET {} = %s WHERE id = %s").format(sql.Identifier(column))
            connection.execute(statement, [in_table, customer])

    # --- their thread -----------------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            with psycopg.connect(self._dsn, autocommit=True, application_name="rowtide-demo-people") as connection:
                due = time.monotonic()
                while not self._stopped.wait(0.05) and not self.all_arrived:
                    if time.monotonic() >= due and not self._left.is_set():
                        due = time.monotonic() + self._random.uniform(0.5, 1.5) * self._pause_s
                        self._edit()
                    self._look(connection)
        except (psycopg.Error, RowtideError):
            return  # the demo is ending, or says itself what has ended

    def _edit(self) -> None:
        person = self._random.choice(PEOPLE)
        self.tally.made += 1
        mail = f"{person.partition(' ')[0].lower()}.{self.tally.made}@example.org"
        if self.tally.made % ADDED_EACH == 0:
            name = f"Walk-in customer {self.tally.made}"
            fields = {
                "Title": name, "Email": mail, "Region": "EU", "Segment": "Small business", "Active": True,
                "CustomerSince": "2026-11-29T00:00:00Z",
            }  # fmt: skip
            self._pending[mail] = _Edit(f"{person} added {name}", time.monotonic())
            self._simulator.edit(LIST, fields, person)
            return
        item_id, name = self._items[self._random.choice(self._free())]
        self._pending[mail] = _Edit(f"{person} gave {name} another address", time.monotonic(), item_id)
        self._simulator.edit(LIST, {"Email": mail}, person, item_id)

    def _free(self) -> list[str]:
        """Customers of whom no edit is on its way, but for those of whom both sides change one field."""
        contested = {rowtide_key(CUSTOMERS, str(one)) for one in (BY_POLICY, BY_A_PERSON)}
        on_their_way = {edit.item_id for edit in self._pending.values()}
        return sorted(
            key for key, (item_id, _) in self._items.items() if key not in contested and item_id not in on_their_way
        )

    def _look(self, connection: psycopg.Connection) -> None:
        """Which edits are in PostgreSQL by now."""
        if not self._pending:
            return
        query = "SELECT email FROM customers WHERE email = ANY (%s)"
        for (mail,) in connection.execute(query, [list(self._pending)]).fetchall():
            edit = self._pending.pop(mail)
            seconds = time.monotonic() - edit.began
            self.tally.arrived += 1
            self.tally.seconds.append(seconds)
            if self.tally.arrived <= SHOWN or (" added " in edit.what and self.tally.arrived <= 3 * SHOWN):
                self._note(f"people: {edit.what} in SharePoint; {seconds:.1f} s later it is in PostgreSQL")
