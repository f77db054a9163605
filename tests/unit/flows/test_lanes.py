"""The writers of a process end together."""

import threading

from connectors.graph.writer import Writer
from flows.lanes import WriterLanes
from rowtide.deciding.outcomes import Outcome


class MeetingWriter(Writer):
    """Ends only when all others end too: each waits for its requests at the same time."""

    def __init__(self, all_end: threading.Barrier) -> None:
        self._all_end = all_end

    def stop(self, grace_s: float = 1.0) -> list[Outcome]:
        self._all_end.wait(10.0)
        return []


def test_writers_share_the_grace_when_the_process_ends() -> None:
    """One after another, three tenants with requests under way would take three seconds."""
    all_end = threading.Barrier(3)
    lanes = WriterLanes({name: MeetingWriter(all_end) for name in ("contoso", "fabrikam", "adatum")})
    lanes.stop()
    assert not all_end.broken
    assert lanes.left() == []
