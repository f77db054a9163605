"""A row as log lines name it: by a keyed hash of its key, because a key is a value.

In: the sync's id and the row key, from whoever logs; the installation's secret, from whoever writes the line. Out: 16
characters, the same for one row in every line of an installation. Rules (docs/design.md section 26): the key itself is
in no text that is made of a `LogRow`; without the secret nobody finds a key by trying them all.
"""

import hashlib
import hmac
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class LogRow:
    """One row; ``repr`` shows the sync alone."""

    sync: str
    key: str = field(repr=False)

    def to_hash(self, secret: str) -> str:
        """What stands in log lines as ``key_hash``."""
        row = f"{self.sync}\0{self.key}".encode(errors="replace")
        return hmac.new(secret.encode(), row, hashlib.sha256).hexdigest()[:16]
