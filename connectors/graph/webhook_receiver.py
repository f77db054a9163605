"""Answers what Graph sends to the address that a subscription names, without IO.

In: path, validation token and body of a POST. Out: the answer; the lists that have changed, and those whose
subscriptions are to be renewed. Rules (docs/facts.md section 2.2, docs/design.md section 22): the token goes back as
plain text; a notification counts only with the client state of the list that its address names, and only as a hint;
whoever sends anything else is told nothing.
"""

import time
from collections.abc import Callable, Collection
from typing import Any, Final

import orjson

from connectors.listening import HttpAnswer
from rowtide import subscriptions

_MOST_TOKEN: Final = 2048


class Receiver:
    """For any thread."""

    def __init__(
        self,
        key_of: Callable[[str], bytes | None],
        changed: Callable[[Collection[str]], None],
        to_renew: Callable[[str], None],
    ) -> None:
        """``key_of``: the webhook key of the tenant that a list is in; None for a list nobody is to be told of."""
        self._key_of = key_of
        self._changed = changed
        self._to_renew = to_renew
        self.refused = 0
        self._noticed_s: float | None = None

    def age_s(self) -> float | None:
        """Seconds since the last genuine notification; None before the first."""
        return None if self._noticed_s is None else time.monotonic() - self._noticed_s

    def answer(self, path: str, token: str | None, body: bytes) -> HttpAnswer:
        """What to answer; what it says is passed on before."""
        list_id = path.rpartition("/")[2]
        key = self._key_of(list_id)
        if key is None:
            return HttpAnswer(404)
        if token is not None:
            return HttpAnswer(200, token) if len(token) <= _MOST_TOKEN else HttpAnswer(400)
        notices = _read(body)
        if notices is None:
            return HttpAnswer(400)
        genuine = [one for one in notices if subscriptions.is_client_state(key, list_id, one.get("clientState"))]
        self.refused += len(notices) - len(genuine)
        if any("lifecycleEvent" in one for one in genuine):
            self._to_renew(list_id)
        if genuine:
            self._noticed_s = time.monotonic()
            self._changed([list_id])
        return HttpAnswer(202)


def _read(body: bytes) -> list[dict[str, Any]] | None:
    """The notifications of a body; None when it holds none."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    value = document.get("value") if isinstance(document, dict) else None
    if not isinstance(value, list):
        return None
    return [one for one in value if isinstance(one, dict)]
