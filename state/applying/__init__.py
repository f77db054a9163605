"""Entries of the inbox are taken to be applied, and end: the state database's half of the puller.

In: which sync, whose lease; keys to reserve; the `PullEnd` of each entry. Out: `Lease`s with what is known of their
rows; ledger, conflicts, inbox and outbox as the end says. Called by whoever holds the source's advisory lock of the
sync. Rules (docs/design.md section 3): locks in the order inbox, outbox, ledger; of a pair whose outbox row is leased
or uncertain no entry is taken; leases are void as those of claims are (`state.outbox.void_leases`).
"""

from state.applying.ending import Told as Told
from state.applying.ending import record_end as record_end
from state.applying.ending import reserve as reserve
from state.applying.taking import Lease as Lease
from state.applying.taking import TakeRequest as TakeRequest
from state.applying.taking import take as take
