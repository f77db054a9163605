"""The shop's rowtide.yaml: all three tables, one of them both ways, sharded orders, a row filter, every kind.

In: a draft that names the parts of an environment, the licences of its tenant. Out: the text of a commented
definition. Rule: it is what `rowtide init` would write for these tables after a person has looked it over, so that
whoever opens it learns the format.
"""

from collections.abc import Sequence
from dataclasses import replace

from control.operations.template import Draft, FieldDraft, SyncDraft, definition_text
from demo.shop.schema import SEGMENTS, STATUSES

QUOTA_SHARE = 0.8
"""Of the quota that the tenant gives the app, what Rowtide may take."""

SYNCS: Sequence[SyncDraft] = (
    SyncDraft(
        name="customers",
        table="public.customers",
        list_title="Customers",
        more=(
            "direction: both  # what people change in the list comes back",
            "conflicts: {policy: postgres_wins, columns: {notes: sharepoint_wins, segment: manual}}",
            "poll: 1s..5s  # how often the list is asked what people changed",
        ),
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


def shop_definition(draft: Draft, licences: int, quota: bool) -> str:
    """The definition of the shop in the environment of ``draft``; ``quota`` False for a simulator that keeps none."""
    keeps = {"rate_window": "60s"} if quota else {"rate_window": "60s", "quota": "off"}
    return definition_text(
        replace(
            draft,
            syncs=SYNCS,
            licences=licences,
            quota_share=QUOTA_SHARE,
            simulator={**draft.simulator, **keeps},
        )
    )
