"""The turns that pairs of one sync took lately: which of them are to be held, because both sides insist.

In: edits that are to be applied. Out: why one is not. Called by `flows.pulled_entry`, from one thread. Rules
(docs/design.md section 19): `rowtide.deciding.ping_pong` decides; what is older than its window is forgotten, and so is
a pair once it is held: what a person lets go begins anew.
"""

from collections import OrderedDict
from datetime import datetime

from rowtide.deciding import ping_pong
from rowtide.deciding.ping_pong import Turns
from rowtide.deciding.taken import Apply, PullRules
from rowtide.error_catalogue import row_errors
from rowtide.errors import RowError


class PairTurns:
    """Of one sync, by row key."""

    def __init__(self) -> None:
        self._turns: OrderedDict[str, tuple[datetime, Turns]] = OrderedDict()

    def judge(self, apply: Apply, rules: PullRules, now: datetime) -> RowError | None:
        """Why the pair is held from now on; None: the edit may be applied."""
        self._forget(now)
        key = apply.key
        if key is None:
            return None
        _, before = self._turns.pop(key, (now, {}))
        turns = ping_pong.with_edit(before, apply, rules.mapping, now)
        name = ping_pong.contended(turns, now)
        if name is not None:
            minutes = int(ping_pong.WITHIN.total_seconds() // 60)
            return row_errors.PING_PONG(field=name, times=ping_pong.MOST, minutes=minutes)
        if turns:
            self._turns[key] = now, turns
        return None

    def _forget(self, now: datetime) -> None:
        while self._turns and now - next(iter(self._turns.values()))[0] > ping_pong.WITHIN:
            self._turns.popitem(last=False)
