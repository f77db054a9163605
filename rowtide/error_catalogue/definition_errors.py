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
SECRET_EMPTY: Final = Entry(
    UserError, "secret_missing", "the secret file {path} is empty", "write the secret into the file"
)
SECRET_LITERAL: Final = Entry(
    UserError, "secret_literal", "a secret must be a reference, never the secret itself", "use env:NAME or file:path"
)
NOT_AVAILABLE: Final = Entry(
    UserError, "not_available", "vault: references are not available yet", "use env:NAME or file:path"
)
