"""Faults of Rowtide itself that one of its threads met; each thread goes on, and the log has the traceback."""

from typing import Final

from rowtide.error_catalogue.entries import Entry
from rowtide.errors import RowtideError

_REPORT: Final = "please report it; see the log"

CLAIMING_FAILED: Final = Entry(RowtideError, "claiming_failed", "Claiming rows failed ({error}).", _REPORT)
CONFIRMER_FAILED: Final = Entry(RowtideError, "confirmer_failed", "Confirming the slot failed ({error}).", _REPORT)
RECONCILE_FAILED: Final = Entry(RowtideError, "reconcile_failed", "the reconcile met an unexpected {error}", _REPORT)
