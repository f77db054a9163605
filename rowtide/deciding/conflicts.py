"""What a change on one side asks of the other, as far as a person may choose it.

In: what a sync's definition says. Out: the choices that the core decides by. Rule: a choice that is not here yet is
refused by the definition.
"""

from typing import Literal

Deletes = Literal["propagate", "ignore"]
"""What a sync may say under ``deletes``: a row that goes takes its item along, or leaves it where it is."""
