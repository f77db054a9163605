"""Searches the lists of each sync, before it delivers, for items that Rowtide did not make.

In: the syncs that run, their lists. Out: `known`, the syncs that may deliver; a sync with such a list is paused with
the reason. Rule: `run` refuses what `apply` refuses, because a list may have been filled by hand since.
"""

import threading
from collections.abc import Callable

import structlog

from connectors.graph.foreign_items import QUERY_RU, find_foreign_items
from connectors.graph.settings import GraphSettings
from flows.applied_view import View
from rowtide.backoff import Backoff
from rowtide.error_catalogue import sync_errors
from rowtide.errors import RowtideError

log = structlog.get_logger()

LOOK_S = 0.2
"""Seconds between two looks whether a sync has begun to run."""

Charge = Callable[[str, float], None]
Pause = Callable[[str, str, str], None]


class ListGuard:
    """One thread a process; a sync is examined once for each time it begins to run."""

    def __init__(
        self, view: Callable[[], View], settings: dict[str, GraphSettings], charge: Charge, pause: Pause
    ) -> None:
        self._view = view
        self._settings = settings
        self._charge = charge
        self._pause = pause
        self._known: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rowtide-list-guard", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End soon."""
        self._stop.set()

    def known(self, sync: str) -> bool:
        """Whether the sync's lists were searched since it last began to run."""
        return sync in self._known

    def _run(self) -> None:
        backoff = Backoff()
        while not self._stop.is_set():
            view = self._view()
            self._known &= view.running
            left = sorted(view.running - self._known)
            wait_s = LOOK_S
            try:
                for sync in left:
                    self._examine(view, sync)
                backoff.succeeded()
            except RowtideError as error:
                wait_s = backoff.failed(error)
                if backoff.is_news:
                    log.warning("lists unread", code=error.code, problem=error.sentence)
            self._stop.wait(wait_s)

    def _examine(self, view: View, sync: str) -> None:
        titles = view.catalog.lists.get(sync, {})
        graph = view.catalog.syncs[sync].graph
        lists = {ref.id: ref.site_id for ref in titles.values()}
        self._charge(graph, QUERY_RU * len(lists))
        found = find_foreign_items(self._settings[graph], lists)
        if not found:
            self._known.add(sync)
            return
        title = next(title for title, ref in titles.items() if ref.id in found)
        item = found[titles[title].id]
        why = sync_errors.FOREIGN_ITEMS(title=title, item_id=item)
        self._pause(sync, why.code, why.sentence)
