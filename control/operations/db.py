"""The schema of the state database.

In: a session. Out: whether the schema was upgraded, or what is wrong with it. Rule: `upgrade` only moves forward and
may be run again at any time; `check` changes nothing.
"""

from typing import TypedDict

from control.operations.session import Session
from rowtide.actor import Actor
from state import schema


class UpgradeDocument(TypedDict):
    """Whether the schema was older than this release, or missing."""

    upgraded: bool


class SchemaDocument(TypedDict):
    """What is wrong with the state database, a sentence each."""

    findings: list[str]


def upgrade(session: Session, actor: Actor) -> UpgradeDocument:
    """Bring the schema to this release's version; creates the database when it is missing."""
    dsn = session.state_dsn(actor)
    created = schema.create_if_missing(dsn)
    upgraded = created or bool(schema.check_version(dsn))
    schema.upgrade(dsn)
    return {"upgraded": upgraded}


def check(session: Session) -> SchemaDocument:
    """What keeps this release from working with the state database."""
    return {"findings": schema.check(session.state_dsn())}
