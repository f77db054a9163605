"""The demo's rowtide.yaml: all three tables, sharded orders, a row filter, every kind.

In: where things are: DSN files, the simulator's ready line, the tier. Out: the text of a commented definition. Rule: it
is what `rowtide init` would write for these tables after a person has looked it over, so that whoever opens it learns
the format.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from control.operations.template import Draft, FieldDraft, SyncDraft, definition_text
from demo.options import TIERS
from demo.shop.schema import SEGMENTS, STATUSES

SITE = "contoso.sharepoint.com:/sites/operations"
CLIENT_ID = "11111111-1111-4111-8111-111111111111"
TENANT_ID = "22222222-2222-4222-8222-222222222222"
QUOTA_SHARE = 0.8

SYNCS: Sequence[SyncDraft] = (
    SyncDraft(
        name="customers",
        table="public.customers",
        list_title="Customers",
        fields=(
            FieldDraft("name", "Title"),
            FieldDraft("email", "Email", "text"),
            FieldDraft("region", "Region", "text"),
            FieldDraft("segment", "Segment", "choice", choices=SEGMENTS),
            FieldDraft("credit_limit", "CreditLimit", "number"),
            FieldDraft("active", "Active", "boolean"),
            FieldDraft("since", "CustomerSince", "dateTime", "dateOnly"),
            FieldDraft("notes", "Notes", "note"),
        ),
    ),
    SyncDraft(
        name="orders",
        table="public.orders",
        list_title="Orders",
        lists='{by: region, map: {EU: "Orders EU", US: "Orders US"}, default: "Orders Other"}',
        where="status <> 'draft'",
        fields=(
            FieldDraft("order_no", "Title"),
            FieldDraft("status", "Status", "choice", choices=STATUSES),
            FieldDraft("amount", "Amount", "number"),
            FieldDraft("express", "Express", "boolean"),
            FieldDraft("placed_at", "PlacedAt", "dateTime"),
            FieldDraft("due_on", "DueOn", "dateTime", "dateOnly"),
            FieldDraft("remark", "Remark", "note"),
        ),
    ),
    SyncDraft(
        name="order_lines",
        table="public.order_lines",
        list_title="Order lines",
        fields=(
            FieldDraft("product", "Title"),
            FieldDraft("sku", "Sku", "text"),
            FieldDraft("order_id", "OrderNumber", "number"),
            FieldDraft("line_no", "LineNumber", "number"),
            FieldDraft("quantity", "Quantity", "number"),
            FieldDraft("unit_price", "UnitPrice", "number"),
            FieldDraft("gift", "Gift", "boolean"),
            FieldDraft("ship_on", "ShipOn", "dateTime", "dateOnly"),
            FieldDraft("weight_kg", "WeightKg", "number"),
            FieldDraft("instructions", "Instructions", "note"),
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Places:
    """Where the demo's parts are. The three secrets are files; ``window_s`` is the simulator's quota window."""

    directory: Path
    source_dsn: Path
    state_dsn: Path
    client_secret: Path
    base_url: str
    authority: str
    ca_file: str
    listen: str
    window_s: int = 60


def text(places: Places, tier: str, quota: bool = True) -> str:
    """The definition; ``quota`` False for a simulator that keeps none."""
    return definition_text(
        Draft(
            syncs=SYNCS,
            state_dsn=f"file:{places.state_dsn}",
            recovery_dir=str(places.directory / "recovery"),
            listen=places.listen,
            source="shop",
            source_dsn=f"file:{places.source_dsn}",
            slot="rowtide_shop",
            publication="rowtide_shop",
            tenant_id=TENANT_ID,
            client_id=CLIENT_ID,
            client_secret=f"file:{places.client_secret}",
            licences=TIERS[tier],
            quota_share=QUOTA_SHARE,
            site=SITE,
            simulator={
                "base_url": places.base_url,
                "authority": places.authority,
                "ca_file": places.ca_file,
                "rate_window": f"{places.window_s}s",
                **({} if quota else {"quota": "off"}),
            },
        )
    )
