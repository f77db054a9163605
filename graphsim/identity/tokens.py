"""Access tokens: only those issued here, and still alive, open `/v1.0`.

In: an app and the time. Out: opaque text; back from it, the app or a 401. Rule: a token says nothing by itself, so a
client can neither read nor forge one.
"""

import random
from dataclasses import dataclass

from graphsim.http.errors import unauthenticated
from graphsim.identity.app_registrations import App


@dataclass(slots=True)
class Token:
    """Whom an access token stands for, and until when."""

    app: App
    expires: float


class Tokens:
    """The access tokens that open `/v1.0`."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._tokens: dict[str, Token] = {}

    def issue(self, app: App, now: float, life_s: float) -> str:
        """A new token for the app; expired ones are swept out when there are many."""
        if len(self._tokens) > 10_000:
            self._tokens = {text: token for text, token in self._tokens.items() if token.expires > now}
        text = f"sim.{self._rng.getrandbits(256):064x}.{self._rng.getrandbits(256):064x}"
        self._tokens[text] = Token(app, now + life_s)
        return text

    def restore(self, text: str, app: App, expires: float) -> None:
        """Makes a token from before the restart valid again."""
        self._tokens[text] = Token(app, expires)

    def check(self, header: str | None, now: float) -> App:
        """The app of an `Authorization` header; GraphError 401 without a living bearer token."""
        if not header:
            raise unauthenticated("Access token is empty.")
        scheme, _, text = header.partition(" ")
        token = self._tokens.get(text.strip()) if scheme.lower() == "bearer" else None
        if token is None:
            raise unauthenticated("IDX12741: the access token is not one that this authority issued.")
        if token.expires <= now:
            raise unauthenticated("Lifetime validation failed, the token is expired.")
        return token.app

    def revoke(self) -> int:
        """Ends all tokens at once; how many there were."""
        count = len(self._tokens)
        self._tokens.clear()
        return count
