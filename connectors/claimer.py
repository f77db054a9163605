"""Takes due rows out of the outbox: quota first, rows second.

In: resource units from the budget of each graph, the syncs that may deliver, news on `state.channels.DUE`. Out: `Work`
per lane, drained by the `due` input; a row that cannot be claimed stays in the outbox and absorbs changes. Rules
(docs/design.md section 6): a round is survey, allot, claim; no row is claimed without the quota to send it, and no
deletion before the mass-delete breaker has judged all that wait; nothing here waits for one tenant.
"""

import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol

from connectors.claim_room import ClaimRoom, Queue
from connectors.due_lines import DueLines
from connectors.loops import Loop
from connectors.trouble import Trouble
from rowtide.backoff import Backoff
from rowtide.deciding.outcomes import Outcome, Release
from rowtide.deciding.records import Work
from rowtide.error_catalogue import process_errors
from rowtide.errors import RowtideError
from rowtide.keys import LANES, lane_of
from rowtide.pacing import WRITE_RU
from rowtide.turns import Line, Turns
from state import channels, database, failpoints, instance, outbox, pulse
from state.database import ONE_PLAN, Link

LEASE_S = 120.0
MAX_CLAIM = 100
IDLE_POLL_S = 0.5
TRIAL_S = 1.0
"""A row that is claimed to try a list has so long to get to the writer before another one is."""


class Quota(Protocol):
    """The part of a graph's budget that claiming needs."""

    def take(self, wanted: int, least: int) -> int:
        """As many resource units as there are, up to ``wanted``; 0 when there are not even ``least``. Never waits."""

    def refund(self, units: float) -> None:
        """Give back units that were taken and not spent."""

    def quota_wait_s(self) -> float:
        """Seconds until the next row may be claimed; 0 when one may be now."""


class Breaker(Protocol):
    """The mass-delete breaker, as claiming asks it."""

    def admit(self, link: Link, syncs: Collection[str]) -> Collection[str]:
        """Of these syncs those that may carry deletions out now."""

    def may_go(self, deletes: Mapping[str, int]) -> bool:
        """Whether so many deletions of existing items that were claimed may go; if not, they are given back."""


class Claimer:
    """Claims in one background thread of the process. `own` a lane, then `take` its works; `finished` makes room."""

    def __init__(
        self,
        dsn: str,
        owner: str,
        quotas: Mapping[str, Quota],
        deliverable: Callable[[], Mapping[str, Mapping[str, int]]],
        lists: Callable[[], Mapping[str, Mapping[str, str]]],
        list_waits: Callable[[str], Mapping[str, float]],
        refresh: Callable[[Collection[str]], None],
        prepare: Callable[[Link, Sequence[str]], None],
        breaker: Breaker,
    ) -> None:
        """``deliverable``: by graph the syncs that may deliver, with their weights.

        ``list_waits``: of a graph, by list that fails the seconds until it may be tried with one row.
        ``refresh`` is told of syncs with rows that wait to be read from their source; nothing here reads them.
        ``prepare`` is done for these syncs before they are surveyed.
        """
        self._dsn = dsn
        # After a failover the records may be older than the lists: nothing is claimed before that is looked at.
        self._link = Link(dsn, "rowtide due", ONE_PLAN, begin=instance.confirm)
        self._owner = owner
        self._quotas = quotas
        self._deliverable = deliverable
        self._lists = lists
        self._list_waits = list_waits
        self._refresh = refresh
        self._prepare = prepare
        self._breaker = breaker
        self._due = DueLines()
        self._turns = {graph: Turns() for graph in quotas}
        self._lanes: set[int] = set()
        self._queues: dict[int, deque[Work]] = {lane: deque() for lane in range(LANES)}
        self._room = ClaimRoom()
        self._tried: dict[str, float] = {}  # by list that fails, when a row of it was claimed a moment ago
        self._failed: list[str] = []  # tokens of claims that are to be undone, if they were made at all
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = Loop(failpoints.LOOP_DUE, self._run, self._stop)
        self._listener = Loop(failpoints.LOOP_DUE_LISTEN, self._listen, self._stop)
        self.problem: RowtideError | None = None

    def start(self) -> None:
        """Begin to claim."""
        self._thread.start()
        self._listener.start()

    def own(self, lane: int) -> None:
        """Claim rows of this lane from now on."""
        self._lanes.add(lane)
        self._wake.set()

    def take(self, lane: int) -> list[Work]:
        """Everything claimed for the lane since the last call; never blocks."""
        queue = self._queues[lane]
        return [queue.popleft() for _ in range(len(queue))]

    def finished(self, works: Iterable[Work]) -> None:
        """These works were settled, released or parked: there is room for others."""
        self._room.give_back(works)
        self._wake.set()

    def look_again(self, sync: str) -> None:
        """Rows of the sync may go now that could not go before."""
        self._due.news(frozenset({sync}))
        self._wake.set()

    def unsent(self) -> list[Outcome]:
        """Releases of works that were claimed and not taken: nothing was sent for them."""
        return [Release(work, 0.0, unknown=False) for lane in self._queues for work in self.take(lane)]

    @property
    def in_flight(self) -> int:
        """Rows claimed by this process and not settled yet."""
        return self._room.in_flight

    def stop(self) -> None:
        """End the threads; works that were claimed and never sent are handed back as known not applied."""
        self._stop.set()
        self._wake.set()
        self._thread.join(1.0)
        self._link.close()

    def _run(self) -> None:
        trouble = Trouble("claiming waits", "claiming goes on")
        while not self._stop.is_set():
            self._wake.clear()
            try:
                self._thread.turn()
                if self._failed:
                    self._link.run(lambda connection: outbox.take_back(connection, self._owner, self._failed))
                    self._failed.clear()
                again, idle_s = self._round()
                self.problem = None
                trouble.succeeded()
            except Exception as error:
                self._thread.count(error)
                name = type(error).__name__
                self.problem = error if isinstance(error, RowtideError) else process_errors.CLAIMING_FAILED(error=name)
                again, idle_s = False, IDLE_POLL_S
                pulse.wait(self._stop, trouble.failed(self.problem, error))
            if not again:
                pulse.wait(self._wake, idle_s)

    def _round(self) -> tuple[bool, float]:
        """Claim for each tenant. Whether to look again at once; if not, for how many seconds there is nothing to do."""
        graphs = {graph: syncs for graph, syncs in self._deliverable().items() if syncs}
        named = sorted(sync for syncs in graphs.values() for sync in syncs)
        self._prepare(self._link, named)
        self._due.survey(self._link, named)
        if to_read := self._due.to_read():
            self._refresh(to_read)
        again, waits = False, [self._due.wait_s()]
        for graph, weights in graphs.items():
            if due := self._without_failing_lists(graph, self._due.of(weights)):
                again |= self._claim(graph, due, weights)
                waits.append(self._quotas[graph].quota_wait_s())
        return again, min((wait_s for wait_s in waits if wait_s > 0), default=0.0)

    def _without_failing_lists(self, graph: str, due: Mapping[Line, int]) -> Mapping[Line, int]:
        """The lines without those for lists that fail; of a list that may be tried, one row, on its way for a while."""
        waits, now = self._list_waits(graph), time.monotonic()
        self._tried = tried = {list_id: at for list_id, at in self._tried.items() if at > now - TRIAL_S}
        if not waits:
            return due
        lists, left = self._lists(), dict(due)
        for line in due:
            list_id = lists.get(line.sync, {}).get(outbox.title_of(line.waits_for) or "")
            if list_id is None or list_id not in waits:
                continue
            if waits[list_id] > 0 or list_id in tried:
                del left[line]
            else:
                tried[list_id] = now
                left[line] = 1
        return left

    def _claim(self, graph: str, due: Mapping[Line, int], weights: Mapping[str, int]) -> bool:
        """Claim what the tenant's turns say; whether there may be more to do for it at once."""
        left = self._room.left_for(graph, due)
        due = {line: rows for line, rows in due.items() if left[Queue.of(line)] > 0}
        room = min(MAX_CLAIM, self._room.left(graph))
        if room <= 0 or not due or not self._lanes:
            return False
        quota = self._quotas[graph]
        granted = quota.take(room * WRITE_RU, WRITE_RU)
        limit = granted // WRITE_RU
        if limit == 0:
            quota.refund(granted)
            return False
        claimed = outbox.Claimed([])
        token = uuid.uuid4().hex
        try:
            try:
                if rows := self._admitted(_cut(self._turns[graph].allot(due, limit, weights), left)):
                    claimed = self._link.run(lambda connection: self._lease(connection, graph, rows, token))
                    if not self._breaker.may_go(claimed.deletes):
                        claimed = outbox.Claimed([])
                        self._failed.append(token)
                    elif not claimed.is_cut:  # then there is more in each line than it gave
                        self._due.took(rows, claimed.works)
            finally:
                quota.refund(granted - WRITE_RU * len(claimed.works))
            self._hand_on(graph, claimed)
            return True
        except Exception:
            self._failed.append(token)
            raise

    def _admitted(self, rows: Mapping[Line, int]) -> dict[Line, int]:
        """The rows without the deletions that the breaker holds back, or has not judged yet."""
        deleting = {line.sync for line in rows if line.waits_for == outbox.REMOVAL}
        held = deleting.difference(self._breaker.admit(self._link, deleting)) if deleting else set()
        for sync in held:
            self._due.drop_deletes(sync)
        return {line: rows[line] for line in rows if line.sync not in held or line.waits_for != outbox.REMOVAL}

    def _lease(
        self, connection: database.Connection, graph: str, rows: Mapping[Line, int], token: str
    ) -> outbox.Claimed:
        most_bytes = self._room.left_bytes(graph)
        request = outbox.ClaimRequest(rows, self._owner, token, LEASE_S, self._lists(), most_bytes)
        return outbox.claim(connection, request)

    def _hand_on(self, graph: str, claimed: outbox.Claimed) -> None:
        """Queue the works in their lanes."""
        self._room.take(graph, claimed.works, claimed.size_bytes)
        for work in claimed.works:
            self._queues[self._owned_lane(work)].append(work)

    def _owned_lane(self, work: Work) -> int:
        """The row's lane, or, where another process has that one, a lane of our own."""
        lane = lane_of(work.desired.sync, work.desired.key)
        return lane if lane in self._lanes else min(self._lanes)

    def _listen(self) -> None:
        """Wake the claiming thread whenever changes were staged."""
        backoff = Backoff()
        while not self._stop.is_set():
            try:
                with database.connect(self._dsn, "rowtide listen") as connection, database.translated():
                    channels.listen(connection, channels.DUE)
                    backoff.succeeded()
                    while not self._stop.is_set():
                        self._listener.turn()
                        for one in connection.notifies(timeout=1.0, stop_after=1):
                            self._due.news(channels.from_payload(one.payload))
                            self._wake.set()
            except RowtideError as error:
                pulse.wait(self._stop, backoff.failed(error))  # the slow poll goes on meanwhile


def _cut(rows: Mapping[Line, int], left: Mapping[Queue, int]) -> dict[Line, int]:
    """The rows of each line, as far as there is room for its queue; higher classes first."""
    room, found = dict(left), {}
    for line in sorted(rows, key=lambda line: line.priority):
        queue = Queue.of(line)
        found[line] = min(rows[line], room[queue])
        room[queue] -= found[line]
    return {line: count for line, count in found.items() if count}
