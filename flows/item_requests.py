"""Requests to single items and lists by a thread that applies people's edits: one tenant, one request at a time.

In: what deciding asks (`rowtide.deciding.pull`). Out: its answers. Rules: a request is paid for before it is sent, out
of the part of the quota that polls have; a refusal closes the gate for the whole app; nothing is repeated here, and a
write names the version that it was decided on.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

from connectors.graph import batch, list_columns
from connectors.graph.auth import TokenSource
from connectors.graph.batch import Address, ListRefused, Throttled, Unauthorized
from connectors.graph.client import Client, NoAnswer, NotSent, Reply
from flows.graph_reads import PacedGraph
from rowtide.backoff import Backoff
from rowtide.deciding.answers import Answer, NotApplied, Unknown
from rowtide.deciding.commands import LookAtItem, UpdateItem
from rowtide.deciding.item_versions import Versions
from rowtide.deciding.observation import FieldMapping
from rowtide.deciding.pull_steps import ListGone, ListSeen
from rowtide.deciding.records import ListId
from rowtide.errors import GraphRefused, GraphUnavailable, RowtideError
from rowtide.pacing import ITEM_RU, QUERY_RU, WRITE_RU

_Asked = Coroutine[Any, Any, Reply | NotSent | NoAnswer]

LIST_AFTER_S: Final = 30.0
"""Seconds until a list that refuses is asked again."""
TOKEN_AFTER_S: Final = 1.0


class ItemRequests:
    """The requests of one thread to one tenant; made, used and closed by that thread."""

    def __init__(self, tenant: PacedGraph, site_of: Callable[[str], str | None]) -> None:
        """``site_of``: the id of a list's site, None where SharePoint has the list no more; KeyError for others."""
        self._settings = tenant.settings
        self._budget = tenant.budget
        self._clock = tenant.clock
        self._site_of = site_of
        self._tokens = TokenSource(tenant.settings)
        self._runner = asyncio.Runner()
        self._client: Client | None = None
        self._backoff = Backoff()
        self._quiet_until = 0.0
        self._quiet_for = ""

    def ask(self, command: LookAtItem | UpdateItem, sync: str, mapping: FieldMapping) -> Answer:
        """The answer to a look at an item, or to a change of it."""
        site_id = self._site(command.list_id)
        if isinstance(site_id, NotApplied):
            return site_id
        if site_id is None:
            return batch.gone_with_list(command)
        if (wait := self._pay(WRITE_RU if isinstance(command, UpdateItem) else ITEM_RU)) is not None:
            return wait
        body = batch.to_body([batch.to_member(1, command, Address(site_id, sync, ""), mapping)])
        reply = self._send(lambda client: client.post("/$batch", body))
        if not isinstance(reply, Reply):
            return reply
        found = batch.to_envelope(reply.status, reply.headers, reply.body)
        if not isinstance(found, dict):
            return self._to_answer(found, reply)
        if "1" not in found:
            return Unknown("Graph's answer cannot be read")
        return self._to_answer(batch.to_reading(command, found["1"], mapping, self._settings.client_id), reply)

    def look_at_list(self, list_id: ListId) -> ListSeen | ListGone | NotApplied | Unknown:
        """The columns of a list, as they are now."""
        site_id = self._site(list_id)
        if isinstance(site_id, NotApplied):
            return site_id
        if site_id is None:
            return ListGone()
        if (wait := self._pay(QUERY_RU)) is not None:
            return wait
        reply = self._send(lambda client: client.get(list_columns.link_of(site_id, list_id)))
        if not isinstance(reply, Reply):
            return reply
        match list_columns.to_columns(reply, list_id):
            case Throttled(after_s):
                return self._throttled(after_s)
            case GraphUnavailable() as away:
                return Unknown(away.sentence)
            case GraphRefused() as refused:
                return NotApplied(LIST_AFTER_S, refused.sentence)
            case columns:
                return ListSeen({name: one.id for name, one in columns.items()})

    def clock_s(self, list_id: ListId | None = None) -> float | None:
        """How far Graph's clock is ahead of the monotonic one; ``list_id``: to be asked for where nobody knows."""
        known = self._clock.ahead_of_monotonic_s()
        if known is None and list_id is not None:
            self.look_at_list(list_id)
            known = self._clock.ahead_of_monotonic_s()
        return known

    def close(self) -> None:
        """Close every connection."""
        if self._client is not None:
            self._runner.run(self._client.close())
            self._client = None
        self._runner.close()

    def _site(self, list_id: ListId) -> str | NotApplied | None:
        try:
            return self._site_of(list_id)
        except KeyError:
            return NotApplied(LIST_AFTER_S, "the list is not in the applied definition")

    def _pay(self, units: int) -> NotApplied | None:
        # What is not answered is not asked for each entry: the others of the sync are to go on.
        quiet_s = self._quiet_until - time.monotonic()
        if quiet_s > 0:
            return NotApplied(quiet_s, self._quiet_for)
        wait_s = self._budget.take_poll(units)
        return NotApplied(wait_s, "the quota for looks is spent") if wait_s > 0 else None

    def _send(self, request: Callable[[Client], _Asked]) -> Reply | NotApplied | Unknown:
        try:
            answer = self._runner.run(self._sent(request))
        except RowtideError as error:  # there is no token
            return NotApplied(self._away(error), error.sentence)
        match answer:
            case NotSent(why):
                return NotApplied(self._away(why), why.sentence)
            case NoAnswer(why):
                self._away(why)
                return Unknown(why.sentence)
            case Reply():
                self._backoff.succeeded()
                self._clock.note(answer.headers.get("date"))
                return answer

    def _away(self, error: RowtideError) -> float:
        after_s = self._backoff.failed(error)
        self._quiet_until, self._quiet_for = time.monotonic() + after_s, error.sentence
        return after_s

    async def _sent(self, request: Callable[[Client], _Asked]) -> Reply | NotSent | NoAnswer:
        if self._client is None:  # it is made on the loop that uses it
            self._client = Client(self._settings, self._tokens)
        return await request(self._client)

    def _to_answer(self, reading: batch.Reading, reply: Reply) -> Answer:
        match reading:
            case Throttled(after_s):
                return self._throttled(after_s)
            case Unauthorized():
                self._tokens.forget(reply.token)
                return NotApplied(TOKEN_AFTER_S, "the token was refused")
            case ListRefused(_, _, sentence):
                return NotApplied(LIST_AFTER_S, sentence)
            case Versions():
                return Unknown("Graph's answer does not fit the request")
            case _:
                return reading

    def _throttled(self, after_s: float | None) -> NotApplied:
        return NotApplied(self._budget.close_gate(after_s), "Graph is throttling")
