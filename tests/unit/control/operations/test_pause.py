"""What a hold is on."""

import pytest

from control.operations.pause import Everything, Held, OneGraph, OneSource, OneSync, named
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
    ("held", "scope", "object_"),
    [
        (OneSync("returns"), "sync", "returns"),
        (OneSource("erp"), "source", "erp"),
        (OneGraph("fabrikam"), "tenant", "fabrikam"),
        (Everything(), "all", ""),
    ],
)
def test_what_is_held_has_a_scope_and_an_object(held: Held, scope: str, object_: str) -> None:
    assert named(DEFINITION, held) == (scope, object_)


@pytest.mark.parametrize(
    ("held", "code"),
    [
        (OneSync("nothing"), "unknown_sync"),
        (OneSource("nowhere"), "unknown_source"),
        (OneGraph("nobody"), "unknown_graph"),
    ],
)
def test_what_is_not_there_is_refused(held: Held, code: str) -> None:
    with pytest.raises(UserError) as refused:
        named(DEFINITION, held)
    assert refused.value.code == code
