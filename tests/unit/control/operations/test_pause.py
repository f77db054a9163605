"""Which syncs a selection names."""

import pytest

from control.operations.pause import EverySync, OneSync, SyncSelection, SyncsOfGraph, select
from rowtide.definition import model
from rowtide.errors import UserError

SYNC = {
    "source": {"postgres": "erp", "table": "public.orders"},
    "target": {"graph": "contoso", "site": "contoso.sharepoint.com:/sites/ops"},
    "list": "Orders",
    "fields": {"order_no": "Title"},
}
GRAPH = {
    "tenant_id": "72f988bf-86f1-41af-91ab-2d7cd011db47",
    "client_id": "1b2c3d4e-0000-4000-8000-000000000001",
    "credential": {"client_secret": "env:SECRET"},
}
DEFINITION = model.parse(
    {
        "version": 1,
        "state": {"dsn": "env:STATE"},
        "postgres": {"erp": {"dsn": "env:SOURCE", "slot": "rowtide_erp", "publication": "rowtide_erp"}},
        "graph": {"contoso": GRAPH, "fabrikam": {**GRAPH, "client_id": "1b2c3d4e-0000-4000-8000-000000000002"}},
        "syncs": {
            "orders": SYNC,
            "returns": {**SYNC, "list": "Returns"},
            "parts": {**SYNC, "target": {**SYNC["target"], "graph": "fabrikam"}},  # type: ignore[dict-item]
        },
    }
)


@pytest.mark.parametrize(
    ("selection", "names"),
    [
        (OneSync("returns"), ["returns"]),
        (SyncsOfGraph("contoso"), ["orders", "returns"]),
        (SyncsOfGraph("fabrikam"), ["parts"]),
        (EverySync(), ["orders", "returns", "parts"]),
    ],
)
def test_a_selection_names_syncs(selection: SyncSelection, names: list[str]) -> None:
    assert select(DEFINITION, selection) == names


@pytest.mark.parametrize(
    ("selection", "code"), [(OneSync("nothing"), "unknown_sync"), (SyncsOfGraph("nobody"), "unknown_graph")]
)
def test_what_is_not_there_is_refused(selection: SyncSelection, code: str) -> None:
    with pytest.raises(UserError) as refused:
        select(DEFINITION, selection)
    assert refused.value.code == code
