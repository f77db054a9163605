"""DSNs: the only place where one is read, so that no part of one can be taken for another and shown.

In: the text of a DSN. Out: `Dsn`, with what may be said of it, and the settings to connect with; or `MalformedDsn`.
Rules: libpq's own sentences quote what it cannot read, the password included, so a text in which an unescaped character
could move a part of the password into host, port or database is refused here, and the refusal quotes nothing. A server
that is not on this machine has to prove itself (``verify-full``) and is told no password (``scram-sha-256``) unless the
DSN says otherwise.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import psycopg
from psycopg import conninfo, pq

Setting = str | int

# No part has a character that would end it elsewhere than its writer meant: libpq ends the password at the first @.
_URI: Final = re.compile(
    r"postgres(?:ql)?://(?:[^@/\s]*@)?"
    r"(?:[\w.~%-]*|\[[0-9A-Fa-f:.%]+\])(?::\d*)?(?:,(?:[\w.~%-]*|\[[0-9A-Fa-f:.%]+\])(?::\d*)?)*"
    r"(?:/[^/?@:#\s]*)?(?:\?\S*)?"
)
_HOST: Final = re.compile(r"[\w.-]*|[0-9A-Fa-f:.%]+|/[^@:]*")
_PLAIN: Final = {
    "hostaddr": re.compile(r"[0-9A-Fa-f:.,%]*"),
    "sslmode": re.compile(r"disable|allow|prefer|require|verify-ca|verify-full"),
    "require_auth": re.compile(r"!?[a-z0-9-]+(,!?[a-z0-9-]+)*"),
    "target_session_attrs": re.compile(r"any|read-write|read-only|primary|standby|prefer-standby"),
    **dict.fromkeys(("gssencmode", "channel_binding", "sslcertmode"), re.compile(r"disable|allow|prefer|require")),
    "sslnegotiation": re.compile(r"postgres|direct"),
    "load_balance_hosts": re.compile(r"disable|random"),
    "dbname": re.compile(r"(?!.*(?:://|=)).*", re.DOTALL),
    **dict.fromkeys(
        ("connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count",
         "tcp_user_timeout", "sslcompression", "sslsni", "requiressl"),
        re.compile(r"-?\d{1,9}"),
    ),
    **dict.fromkeys(
        ("ssl_min_protocol_version", "ssl_max_protocol_version", "min_protocol_version", "max_protocol_version"),
        re.compile(r"(TLSv)?[0-9.]+|latest"),
    ),
}  # fmt: skip
"""Values that libpq quotes when it does not like them."""
_MOST_PORT: Final = 65535
VERIFIED: Final = "verify-full"


@dataclass(frozen=True, slots=True)
class MalformedDsn:
    """A text that is no DSN; ``problem`` ends a sentence and quotes nothing."""

    problem: str


@dataclass(frozen=True)
class Dsn:
    """A DSN's settings. Its text and its representation hold no secret."""

    _given: Mapping[str, str] = field(repr=False)

    @property
    def address(self) -> str:
        """``host:port/dbname`` for sentences and logs."""
        host = self._given.get("host") or self._given.get("hostaddr") or "localhost"
        ports = ",".join(port or "5432" for port in self._given.get("port", "").split(","))
        return f"{host}:{ports}/{self.database or ''}"

    @property
    def database(self) -> str | None:
        """The database's name; None: PostgreSQL takes the name of this machine's user."""
        return self._given.get("dbname") or self._given.get("user")

    @cached_property
    def is_local(self) -> bool:
        """Whether every server that it names is on this machine; a service file's are not known, and count as such."""
        if self._given.get("service"):
            return True
        named = {name: self._given.get(name) or _default(name) for name in ("host", "hostaddr")}
        return all(_is_loopback(host) for hosts in named.values() for host in hosts.split(","))

    @property
    def sslmode(self) -> str:
        """How the connection is encrypted, and whom it trusts."""
        return self._given.get("sslmode") or (_default("sslmode") if self.is_local else VERIFIED)

    def conninfo(self, defaults: Mapping[str, Setting], options: str, **pinned: Setting) -> str:
        """The text to connect with; ``{}`` in ``options`` are the DSN's own. ``defaults`` are what it may change."""
        given = dict(self._given)
        options = options.replace("{}", given.pop("options", "")).strip()
        settings = {**({} if self.is_local else self._suspicion()), **defaults, **given, **pinned, "options": options}
        return conninfo.make_conninfo("", **{name: str(value) for name, value in settings.items()})

    def _suspicion(self) -> dict[str, Setting]:
        # A server that knows us by our certificate asks for no password; that it is the server, is proven before.
        methods = "scram-sha-256,none" if self._given.get("sslcert") else "scram-sha-256"
        return {"sslmode": VERIFIED, "require_auth": methods}

    def of_database(self, name: str) -> str:
        """The text of this DSN for another database of the server."""
        return conninfo.make_conninfo("", **{**self._given, "dbname": name})

    def as_application(self, name: str) -> str:
        """The text of this DSN, whose sessions have this name unless it names itself."""
        return conninfo.make_conninfo(
            "", **{**self._given, "application_name": self._given.get("application_name") or name}
        )


def parse(text: str) -> Dsn | MalformedDsn:
    """The DSN of a text."""
    if re.match(r"\s*postgres(?:ql)?://", text) and not _URI.fullmatch(text):
        return MalformedDsn("a part of the URI has a character that must be percent-encoded")
    try:
        given = {name: str(value) for name, value in conninfo.conninfo_to_dict(text).items() if value is not None}
    except (psycopg.Error, ValueError):
        # libpq's own sentence quotes the text, so it is neither shown nor chained.
        return MalformedDsn("it is neither a URI nor a list of name=value")
    for name, value in given.items():
        if not _fits(name, value):
            return MalformedDsn(f"the value of {name} is not one that {name} can have")
    return Dsn(given)


def parse_or_none(text: str) -> Dsn | None:
    """The DSN of a text; None where it is malformed, for sentences that only name it."""
    found = parse(text)
    return found if isinstance(found, Dsn) else None


def _fits(name: str, value: str) -> bool:
    if name == "host":
        return all(_HOST.fullmatch(host) for host in value.split(","))
    if name == "port":
        return all(re.fullmatch(r"\d{0,5}", port) and int(port or 0) <= _MOST_PORT for port in value.split(","))
    return name not in _PLAIN or _PLAIN[name].fullmatch(value) is not None


def _default(name: str) -> str:
    """What libpq takes from the environment, or by itself, where a DSN says nothing."""
    found = next((one for one in pq.Conninfo.get_defaults() if one.keyword == name.encode()), None)
    return "" if found is None or found.val is None else found.val.decode()


def _is_loopback(host: str) -> bool:
    if host in ("", "localhost") or host.startswith("/"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
