"""One batch that was sent and what came back, as logs and traces tell of it: numbers and ids, no values.

In: the claims of a batch and its `Reply` or `NoAnswer`. Out: an `Exchange`, told to whoever listens; a line for each
write that Graph refused. Rules (docs/design.md section 26): told once for each request that left us, by the writer's
thread, which waits for no listener; Graph's words are left out, its ids are kept: Microsoft finds a request by them.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from connectors.graph.answers import Claim
from connectors.graph.batch import ListRefused, Member, Reading
from connectors.graph.client import NoAnswer, Reply
from rowtide import pacing
from rowtide.deciding.answers import Rejected
from rowtide.errors import LEFT_OUT

_WORD: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Exchange:
    """A batch of ``requests``, of which ``retries`` are of rows that were tried before.

    ``status``: of the answer as a whole, None without one, and ``code`` says why; ``statuses``: how many requests of it
    were answered so. ``ru``: what it costs. The ids are ours and Graph's, and Graph's for each
    request that was refused.
    """

    graph: str
    syncs: tuple[str, ...]
    requests: int
    retries: int
    ru: int
    took_s: float
    status: int | None
    statuses: Mapping[int, int]
    code: str
    client_request_id: str
    request_id: str
    refused_request_ids: tuple[str, ...]


Told = Callable[[Exchange], None]
"""Called on the writer's thread for each batch that was sent; returns at once."""


class Exchanges:
    """The batches of one tenant's writer."""

    def __init__(self, graph: str, told: Sequence[Told]) -> None:
        self._graph, self._told = graph, told

    def tell(
        self, claims: Sequence[Claim], result: Reply | NoAnswer, members: Mapping[str, Member], began_s: float
    ) -> Exchange:
        """Tell what became of a batch; ``began_s`` by the event loop's clock."""
        done = Exchange(
            self._graph,
            tuple(sorted({claim.work.desired.sync for claim in claims})),
            len(claims),
            sum(claim.asked_again or claim.work.desired.attempts > 0 for claim in claims),
            sum(pacing.cost_of(claim.in_flight.command) for claim in claims),
            asyncio.get_running_loop().time() - began_s,
            result.status if isinstance(result, Reply) else None,
            Counter(member.status for member in members.values()),
            result.error.code if isinstance(result, NoAnswer) else "",
            result.client_request_id,
            result.headers.get("request-id", "") if isinstance(result, Reply) else "",
            tuple(filter(None, (_request_id_of(member.body) for member in members.values() if member.status >= 400))),
        )
        for told in self._told:
            told(done)
        return done


def log_exchange(done: Exchange) -> None:
    """A line of level debug for the batch."""
    _log.debug(
        "batch answered" if done.status is not None else "batch not answered",
        graph=done.graph,
        syncs=",".join(done.syncs),
        requests=done.requests,
        retries=done.retries,
        ru=done.ru,
        took_ms=round(done.took_s * 1000, 1),
        status=done.status,
        statuses=" ".join(f"{status}:{count}" for status, count in sorted(done.statuses.items())),
        code=done.code or None,
        client_request_id=done.client_request_id,
        request_id=done.request_id or None,
    )


def log_refused(claims: Sequence[Claim], readings: Sequence[Reading], done: Exchange, bodies: Sequence[Any]) -> None:
    """A line for each row that Graph refused; of level debug where the list is to blame, of which the log says more."""
    for claim, reading, body in zip(claims, readings, bodies, strict=True):
        if isinstance(reading, Rejected | ListRefused):
            say = _log.info if isinstance(reading, Rejected) else _log.debug
            request_id = _request_id_of(body) or done.request_id
            code = reading.code if _WORD.fullmatch(reading.code) else LEFT_OUT
            say(
                "refused by graph",
                **claim.in_log,
                graph=done.graph,
                list_id=claim.list_id,
                status=reading.status,
                code=code,
                client_request_id=done.client_request_id,
                request_id=request_id or None,
            )


def _request_id_of(body: Any) -> str:
    """The id that Graph names within an error; empty when it names none."""
    error = body.get("error") if isinstance(body, dict) else None
    inner = error.get("innerError", error.get("innererror")) if isinstance(error, dict) else None
    found = str(inner.get("request-id")) if isinstance(inner, dict) else ""
    return found if _WORD.fullmatch(found) else ""
