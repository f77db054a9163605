"""How azure-identity's requests travel: an answer is read up to a bound, within a time as a whole.

In: the options of a credential. Out: azure-core's transport. Rule: whoever answers in the place of a login fills no
memory, and nobody waits for an answer that comes drop by drop.
"""

import io
import time
from typing import Any, Final

from azure.core.pipeline.transport import RequestsTransport
from requests import PreparedRequest, Response, Session
from requests.adapters import HTTPAdapter
from requests.exceptions import ConnectionError as Unreadable
from urllib3.exceptions import HTTPError

MOST_BYTES: Final = 1 << 20
"""No answer of a login is read further than this, decompressed; they have a few kilobytes."""
_PART: Final = 1 << 16


def make_transport(within_s: float, **options: Any) -> RequestsTransport:
    """A transport whose answers are read ``within_s`` seconds; ``options`` as azure-core takes them."""
    session = Session()
    session.mount("https://", _Bounded(within_s))
    # Its own session, as azure-core mounts its adapters on those that it owns.
    return RequestsTransport(session=session, session_owner=False, **options)


class _Bounded(HTTPAdapter):
    def __init__(self, within_s: float) -> None:
        super().__init__()
        self._within_s = within_s

    def send(self, request: PreparedRequest, *args: Any, **options: Any) -> Response:
        """The answer with its whole body."""
        until = time.monotonic() + self._within_s
        response = super().send(request, *args, **{**options, "stream": True})
        body = io.BytesIO()
        try:
            for part in response.raw.stream(_PART, decode_content=True):
                if body.tell() + len(part) > MOST_BYTES or time.monotonic() > until:
                    raise Unreadable(f"its answer has more than {MOST_BYTES >> 20} MiB, or takes too long")
                body.write(part)
        except HTTPError as error:
            raise Unreadable(error) from error
        finally:
            response.close()
        body.seek(0)
        response.raw = body
        return response
