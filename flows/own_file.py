"""The definition file of this process: the only place from which it learns how to reach anything.

In: the file as the process was started with it. Out: what it says now, and how that fits the definition in force. Rule:
the file is read again when it changes; one that cannot be read, because it is being written, say, changes nothing.
"""

import threading

import structlog

from connectors import settings
from connectors.settings import Loaded
from rowtide import connections
from rowtide.catalog import Catalog
from rowtide.connections import Reach
from rowtide.definition.model import Definition
from rowtide.errors import RowtideError

log = structlog.get_logger()


class OwnFile:
    """The file, for any thread."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._stamp = loaded.stamp
        self._compared: tuple[Catalog, Definition] | None = None
        self._reach = Reach()
        self._lock = threading.Lock()

    def reach(self, catalog: Catalog) -> Reach:
        """What of the definition in force the file reaches now."""
        with self._lock:
            self._look()
            own, compared = self._loaded.definition, self._compared
            known = compared is not None and compared[0] is catalog and compared[1] is own
            # A secret that is away may come without any change of the file.
            if not known or self._reach.apart:
                applied = (catalog.definition, catalog.tenants, catalog.strayed)
                self._reach = connections.compare(*applied, own, self._loaded.where, settings.why_away)
                self._compared = catalog, own
            return self._reach

    def _look(self) -> None:
        stamp = settings.stamp_of(self._loaded.path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._loaded = settings.load(self._loaded.path)
            log.info("definition file read again", path=str(self._loaded.path))
        except RowtideError as error:
            log.warning("definition file not read again", code=error.code, problem=error.unquoted)
