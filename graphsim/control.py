"""The control side, `/_sim/...`: what tests and people read and change outside of Graph.

In: small JSON requests without a token. Out: counters, items, rules, edits. Rules: nothing here is charged or counted
as Graph traffic; an edit is made by a named person, so that `lastModifiedBy` is not the app; a request that makes no
sense, or has a name that nobody reads, is answered 400 with one sentence; one of another page 403.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import orjson
from aiohttp import web

from graphsim import control_views
from graphsim.control_guard import ControlGuard
from graphsim.http.endpoint import Endpoint
from graphsim.http.errors import GraphError
from graphsim.lists import page_edits
from graphsim.switches import apply_switches
from graphsim.tenant import Tenant
from graphsim.webhooks import webhook_sender
from graphsim.webhooks.webhook_sender import Notifier

PREFIX = "/_sim/"
_MOST = 1e9
# What a request may name: a misspelt name would otherwise be read as a wish for the default.
_QUERIES: dict[str, frozenset[str]] = {
    "stats": frozenset({"keys"}),
    "faults": frozenset({"id"}),
    "items": frozenset({"list", "site", "deleted", "all"}),
    "table": frozenset({"list", "site", "find", "top", "order"}),
}
_KEYS: dict[str, frozenset[str]] = {
    "edit": frozenset({"list", "site", "item_id", "fields", "user", "delete", "touch", "if_version"}),
    "recycle": frozenset({"list", "site", "item_id", "action", "user"}),
    "approval": frozenset({"list", "site", "item_id", "action", "user"}),
    "clock": frozenset({"advance_s"}),
    "tokens": frozenset({"revoke", "expire_delta"}),
    "latency": frozenset({"latency_ms"}),
    "tier": frozenset({"tier"}),
    "block": frozenset({"client", "blocked"}),
    "lifecycle": frozenset({"subscription", "event"}),
}


class ControlSide:
    """Answers requests below `/_sim`; one table says what each name does."""

    def __init__(self, tenant: Tenant, endpoint: Endpoint, notifier: Notifier, guard: ControlGuard) -> None:
        self._tenant = tenant
        self._guard = guard
        self._notifier = notifier
        self._endpoint = endpoint
        faults = tenant.faults
        self._shown: dict[tuple[str, str], Callable[[dict[str, str]], Any]] = {
            ("GET", "stats"): lambda query: control_views.stats(tenant, query),
            ("DELETE", "stats"): lambda _: self._reset_stats(),
            ("GET", "faults"): lambda _: {"rules": [rule.to_json() for rule in faults.rules]},
            ("DELETE", "faults"): self._clear_faults,
            ("GET", "items"): lambda query: control_views.items(tenant, query),
            ("GET", "lists"): lambda _: control_views.lists(tenant),
            ("GET", "table"): lambda query: control_views.table(tenant, query),
            ("GET", "people"): lambda _: control_views.people(tenant),
            ("GET", "switches"): lambda _: control_views.switches(tenant),
        }
        self._done: dict[str, Callable[[Any], Any]] = {
            "faults": lambda body: {"rules": [rule.to_json() for rule in faults.add(body)]},
            "edit": lambda body: page_edits.edit(tenant, body),
            "recycle": lambda body: page_edits.recycle(tenant, body),
            "approval": lambda body: page_edits.approval(tenant, body),
            "switches": self._switch,
            "clock": self._advance,
            "tokens": self._tokens,
            "latency": self._set_latency,
            "tier": self._set_tier,
            "block": self._block,
            "lifecycle": self._lifecycle,
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer of one request: 404 for an unknown name, 400 with a sentence for a body that makes no sense.

        403 for one that comes from another page than the simulator's own.
        """
        name = request.path[len(PREFIX) :].strip("/")
        shown = self._shown.get((request.method, name))
        done = self._done.get(name) if request.method == "POST" else None
        try:
            raw = await request.read()
            refusal = self._guard.refusal(request)
            if refusal is not None:
                return _json(403, {"error": refusal})
            if done is not None:
                body = orjson.loads(raw) if raw else {}
                if name in _KEYS:
                    _check_names(body, _KEYS[name])
                answer = done(body)
            elif shown is not None:
                _check_names(request.query, _QUERIES.get(name, frozenset()))
                answer = shown(dict(request.query))
            else:
                return _json(404, {"error": f"there is no {request.method} {PREFIX}{name}"})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return _json(400, {"error": f"bad request: {error}"})
        except GraphError as error:
            return _json(error.status, {"error": error.message, "code": error.code})
        self._tenant.journal.flush()
        return await _stream(request, answer) if isinstance(answer, Iterator) else _json(200, answer)

    def _reset_stats(self) -> Any:
        self._tenant.stats.reset()
        return {"ok": True}

    def _clear_faults(self, query: dict[str, str]) -> Any:
        self._tenant.faults.clear(int(query["id"]) if "id" in query else None)
        return {"rules": [r.to_json() for r in self._tenant.faults.rules]}

    def _switch(self, body: Any) -> Any:
        apply_switches(self._tenant.switches, body)
        return control_views.switches(self._tenant)

    def _advance(self, body: Any) -> Any:
        self._tenant.clock.advance(_to_number("advance_s", body["advance_s"]))
        return {"now": self._tenant.now()}

    def _tokens(self, body: Any) -> Any:
        """`{"revoke": true}` ends all access tokens, `{"expire_delta": true}` all delta tokens given so far."""
        out: dict[str, Any] = {}
        if body.get("revoke"):
            out["revoked"] = self._tenant.tokens.revoke()
        if body.get("expire_delta"):
            # One millisecond later, because a token carries milliseconds.
            self._tenant.clock.advance(0.002)
            self._tenant.no_tokens_before = self._tenant.now()
            out["delta_expired"] = True
        return out

    def _set_latency(self, body: Any) -> Any:
        self._endpoint.latency_s = _to_number("latency_ms", body["latency_ms"]) / 1000
        return {"latency_ms": self._endpoint.latency_s * 1000}

    def _lifecycle(self, body: Any) -> Any:
        """`{"subscription": id, "event": "reauthorizationRequired"}` to its lifecycleNotificationUrl."""
        subscription = self._tenant.subscriptions.by_id[body["subscription"]]
        event = str(body.get("event", "reauthorizationRequired"))
        if event not in {"missed", "subscriptionRemoved", "reauthorizationRequired"}:
            raise ValueError(f"there is no lifecycle event '{event}'")
        if subscription.lifecycle_url is None:
            raise ValueError("this subscription has no lifecycleNotificationUrl")
        body = {"value": [webhook_sender.to_lifecycle(self._tenant, subscription, event)]}
        self._notifier.send(subscription.lifecycle_url, body)
        return {"sent": True}

    def _set_tier(self, body: Any) -> Any:
        """`{"tier": "max"}`: another quota, with windows that begin empty."""
        self._tenant.throttle.set_tier(body["tier"])
        return {"tier": self._tenant.throttle.tier}

    def _block(self, body: Any) -> Any:
        app = self._tenant.apps[body["client"]]
        app.blocked = bool(body.get("blocked", True))
        return {"client": app.client_id, "blocked": app.blocked}


def _to_number(name: str, value: Any) -> float:
    """ValueError with one sentence for what is no length of time."""
    number = float(value)
    if not 0 <= number <= _MOST:
        raise ValueError(f"'{name}' takes a number from 0 to {_MOST:g}, not '{value}'")
    return number


def _check_names(given: Iterable[str], known: frozenset[str]) -> None:
    """ValueError with one sentence for a name that the request does not know."""
    unknown = sorted(set(given) - known)
    if unknown:
        raise ValueError(f"there is no '{unknown[0]}' here; there are {', '.join(sorted(known)) or 'no names at all'}")


async def _stream(request: web.BaseRequest, portions: Iterator[bytes]) -> web.StreamResponse:
    """An answer told portion by portion; others have their turn between two."""
    response = web.StreamResponse()
    response.content_type = "application/json"
    await response.prepare(request)
    for portion in portions:
        await response.write(portion)
        await asyncio.sleep(0)
    await response.write_eof()
    return response


def _json(status: int, body: Any) -> web.Response:
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    return web.Response(status=status, body=data, content_type="application/json")
