"""What can be wrong with a definition, its expressions and its secrets."""

from typing import Final

from rowtide.error_catalogue.entries import Entry
from rowtide.errors import DefinitionError, UserError

INVALID_DEFINITION: Final = Entry(DefinitionError, "invalid_definition", "{problems}", "mend it and validate")
NOT_YAML: Final = Entry(DefinitionError, "invalid_definition", "{path}:{line}: {problem}", "mend it and validate")
INVALID_EXPRESSION: Final = Entry(
    DefinitionError, "invalid_expression", "{problem}", "see the expressions of the guide"
)
INVALID_LISTS: Final = Entry(DefinitionError, "invalid_lists", "{problem}", "mend the `lists` section of the sync")
LIST_SHARED: Final = Entry(
    DefinitionError,
    "list_shared",
    "syncs.{sync}: list {title} is also sync {other}'s",
    "Give each sync lists of its own.",
)
NO_DEFINITION: Final = Entry(UserError, "no_definition", "there is no {path}", "run `rowtide init`, or name it with -c")
DEFINITION_UNREADABLE: Final = Entry(
    UserError, "no_definition", "{path} cannot be read: {problem}", "let this user read the file"
)
SECRET_MISSING: Final = Entry(UserError, "secret_missing", "the environment variable {name} is not set", "set {name}")
SECRET_UNREADABLE: Final = Entry(
    UserError, "secret_missing", "the secret file {path} cannot be read: {problem}", "let this user read the file"
)
SECRET_OPEN: Final = Entry(
    UserError,
    "secret_open",
    "the secret file {path} may be read by other users",
    "chmod 600 {path}; in Kubernetes give the secret defaultMode 0440 and the pod an fsGroup",
)
SECRET_EMPTY: Final = Entry(
    UserError, "secret_missing", "the secret file {path} is empty", "write the secret into the file"
)
SECRET_LITERAL: Final = Entry(
    UserError, "secret_literal", "a secret must be a reference, never the secret itself", "use env:NAME or file:path"
)
NOT_AVAILABLE: Final = Entry(
    UserError, "not_available", "vault: references are not available yet", "use env:NAME or file:path"
)

_MEND = "mend {file}, which is read again by itself; if it is right, `rowtide apply` with it"
CONNECTION_ABSENT: Final = Entry(
    UserError,
    "connection_differs",
    "The applied definition names {what} {name}, and {file} does not; nothing is read or written there.",
    _MEND,
)
CONNECTION_OTHER: Final = Entry(
    UserError,
    "connection_differs",
    "{file} has {what} {name} as {here}, and it was applied as {there}; nothing is read or written there.",
    _MEND,
)
CONNECTION_STORED: Final = Entry(
    UserError,
    "connection_differs",
    "The applied definition itself says how {what} {name} is reached ({keys}), which only {file} may; nothing is read "
    "or written there.",
    "see who may write table rowtide.definition, then `rowtide apply` with a definition that is right",
)
CONNECTION_SECRET: Final = Entry(
    UserError,
    "connection_differs",
    "{file} names a secret of {what} {name} that the process does not have: {why}; nothing is read or written there.",
    "give it to the process; a new environment variable needs a restart",
)
