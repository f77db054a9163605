"""What a file reaches of the definition in force, and what it keeps apart."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from rowtide import connections
from rowtide.connections import Reach
from rowtide.definition import model as definitions
from rowtide.errors import UserError

TENANT = {"tenant_id": "t", "client_id": "c", "credential": {"client_secret": "env:SECRET"}, "licences": 5}
FILE: dict[str, Any] = {
    "version": 1,
    "state": {"dsn": "env:STATE"},
    "postgres": {"erp": {"dsn": "env:ERP"}, "crm": {"dsn": "env:CRM", "heartbeat": "1s"}},
    "graph": {"contoso": TENANT, "fabrikam": TENANT},
    "syncs": {
        "orders": {
            "source": {"postgres": "erp", "table": "public.orders"},
            "target": {"graph": "contoso", "site": "contoso.sharepoint.com"},
            "list": "Orders",
            "fields": {"note": "Title"},
        }
    },
}
APPLIED = definitions.parse(FILE)


def reach(change: Callable[[dict[str, Any]], object], stored: dict[str, object] | None = None) -> Reach:
    """What a changed file reaches of what was applied from ``FILE``."""
    file = copy.deepcopy(FILE)
    change(file)
    document, strayed = connections.split_off(stored or APPLIED.to_json())
    applied = definitions.parse_document(document), connections.tenants_of(APPLIED), strayed
    why_away = {"env:AWAY": "the environment variable AWAY is not set"}.get
    return connections.compare(*applied, definitions.parse(file), "a.yaml on host", why_away)


def test_connections_are_the_files_and_policy_is_what_was_applied() -> None:
    def change(file: dict[str, Any]) -> None:
        file["postgres"]["erp"] = {"dsn": "file:/run/erp", "heartbeat": "30s"}
        file["graph"]["contoso"] = {**TENANT, "credential": {"client_secret": "env:OTHER"}, "licences": 9}
        file["postgres"]["new"] = {"dsn": "env:NEW"}

    found = reach(change)
    assert found.apart == {}
    assert (found.sources["erp"].dsn, found.sources["erp"].heartbeat.total_seconds()) == ("file:/run/erp", 10)
    assert (found.tenants["contoso"].credential.client_secret, found.tenants["contoso"].licences) == ("env:OTHER", 5)
    assert found.sources.keys() == {"erp", "crm"}


@pytest.mark.parametrize(
    ("change", "part", "said"),
    [
        (lambda file: file["postgres"].pop("crm"), ("source", "crm"), "names source crm, and a.yaml on host does not"),
        (lambda file: file["graph"].pop("fabrikam"), ("tenant", "fabrikam"), "names tenant fabrikam"),
        (lambda file: file["postgres"]["crm"].update(slot="other"), ("source", "crm"), "slot other, publication"),
        (lambda file: file["postgres"]["crm"].update(publication="p"), ("source", "crm"), "publication p"),
        (lambda file: file["graph"].update(fabrikam={**TENANT, "tenant_id": "u"}), ("tenant", "fabrikam"), "tenant u"),
        (lambda file: file["graph"].update(fabrikam={**TENANT, "client_id": "d"}), ("tenant", "fabrikam"), "app d"),
        (
            lambda file: file["graph"].update(fabrikam={**TENANT, "base_url": "https://graph.microsoft.us/v1.0"}),
            ("tenant", "fabrikam"),
            "a.yaml on host has tenant fabrikam as graph.microsoft.us (",
        ),
        (
            lambda file: file["graph"].update(
                fabrikam={**TENANT, "authority": "https://login.example", "simulator": True}
            ),
            ("tenant", "fabrikam"),
            "login login.example",
        ),
        (
            lambda file: file["graph"].update(fabrikam={**TENANT, "credential": {"certificate": "env:AWAY"}}),
            ("tenant", "fabrikam"),
            "the environment variable AWAY is not set",
        ),
    ],
)
def test_a_difference_keeps_its_own_part_apart_and_no_other(
    change: Callable[[dict[str, Any]], object], part: tuple[str, str], said: str
) -> None:
    found = reach(change)
    assert list(found.apart) == [part]
    [error] = found.apart.values()
    assert said in error.sentence
    assert {"erp", "contoso"} <= {*found.sources, *found.tenants}
    assert part[1] not in {*found.sources, *found.tenants}
    if part[0] == "source":
        with pytest.raises(UserError, match="crm"):
            found.source("crm")


@pytest.mark.parametrize(
    ("section", "name", "key", "part"),
    [
        ("postgres", "crm", "dsn", ("source", "crm")),
        ("postgres", "crm", "admin_dsn", ("source", "crm")),
        ("graph", "fabrikam", "base_url", ("tenant", "fabrikam")),
        ("graph", "fabrikam", "credential", ("tenant", "fabrikam")),
        ("graph", "fabrikam", "ca_file", ("tenant", "fabrikam")),
    ],
)
def test_what_is_stored_of_a_connection_is_not_read_and_keeps_it_apart(
    section: str, name: str, key: str, part: tuple[str, str]
) -> None:
    stored: Any = {**APPLIED.to_json(), "state": {"dsn": "env:ELSEWHERE"}}
    stored[section][name][key] = "file:/etc/passwd"
    found = reach(lambda file: None, stored)
    assert list(found.apart) == [part]
    assert key in found.apart[part].sentence  # type: ignore[index]
    assert "passwd" not in found.apart[part].sentence  # type: ignore[index]
