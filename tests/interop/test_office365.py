"""Office365-REST-Python-Client, used as its documentation shows and unmodified, agrees with the simulator.

Only the address of the API is given otherwise: in the client's own table of clouds.
"""

import urllib.parse
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import Simulator

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:office365.*"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:msal.*"),
]

SITE_URL = "https://contoso.sharepoint.com/sites/ops"


@pytest.fixture(scope="module")
def client(interop_simulator: Simulator, access_token: str) -> Iterator[Any]:
    """A client whose public cloud is the simulator; requests, which it uses, learns the authority from a variable."""
    from office365 import azure_env
    from office365.graph_client import GraphClient

    clouds = azure_env._ENDPOINTS[azure_env.AzureEnvironment.Global]
    before = clouds["graph"]
    clouds["graph"] = interop_simulator.ready["base_url"].removesuffix("/v1.0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REQUESTS_CA_BUNDLE", interop_simulator.ready["ca_file"])
        yield GraphClient(token_callback=lambda: {"token_type": "Bearer", "access_token": access_token})
    clouds["graph"] = before


@pytest.fixture
def orders(client: Any) -> Any:
    """A new list with an amount."""
    site = client.sites.get_by_url(SITE_URL).execute_query()
    name = f"Orders {uuid.uuid4()}"
    made = site.lists.add(name).execute_query()
    assert made.display_name == name
    made.columns.add_number("Amount").execute_query()
    return site.lists[made.id]


def _title(item: Any) -> Any:
    return item.fields.properties.get("Title")


def test_a_site_and_its_lists(client: Any, orders: Any) -> None:
    site = client.sites.get_by_url(SITE_URL).execute_query()
    assert (site.name, site.web_url) == ("ops", SITE_URL)
    assert client.sites[site.id].get().execute_query().web_url == SITE_URL
    shown = orders.get().execute_query()
    assert shown.display_name in [one.display_name for one in site.lists.get().execute_query()]
    by_name = site.lists[shown.display_name].get().execute_query()
    assert by_name.id == shown.id
    assert {"Title", "Amount"} <= {column.name for column in orders.columns.get().execute_query()}


def test_items_are_added_read_changed_and_deleted(orders: Any) -> None:
    made = orders.items.add(Title="first", Amount=2.5).execute_query()
    assert made.id == "1"
    assert (_title(made), made.fields.properties["Amount"]) == ("first", 2.5)
    for n in range(4):
        orders.items.add(Title=f"more {n}").execute_query()
    found = orders.items.expand(["fields"]).get().execute_query()
    assert sorted(_title(item) for item in found) == ["first", "more 0", "more 1", "more 2", "more 3"]
    # The client asks by itself for a column without an index to be allowed.
    [one] = orders.items.expand(["fields"]).filter("fields/Title eq 'more 2'").get().execute_query()
    assert one.id == "4"
    paged = orders.items.expand(["fields"]).get_all(page_size=2).execute_query()
    assert len(paged) == 5

    fields = orders.items["1"].fields
    fields.set_property("Title", "changed").update().execute_query()
    assert orders.items["1"].fields.get().execute_query().properties["Title"] == "changed"
    orders.items["1"].delete_object().execute_query()
    assert "1" not in [item.id for item in orders.items.get().execute_query()]


def test_its_own_errors_are_raised(orders: Any) -> None:
    from office365.runtime.client_request_exception import ClientRequestException

    with pytest.raises(ClientRequestException) as caught:
        orders.items["999"].get().execute_query()
    assert getattr(caught.value.response, "status_code", None) == 404
    assert caught.value.code == "itemNotFound"
    with pytest.raises(ClientRequestException) as caught:
        orders.items.add(Nowhere="x").execute_query()
    assert getattr(caught.value.response, "status_code", None) == 400
    assert caught.value.code == "invalidRequest"


def test_delta(orders: Any) -> None:
    for n in range(3):
        orders.items.add(Title=f"t{n}").execute_query()
    # Version 3.3 reads no deltaLink (its `delta_token` stays None): it is taken from the response it hands over.
    answers: list[Any] = []
    query = orders.items.delta.get().after_execute(answers.append, include_response=True)
    everything = query.execute_query()
    assert sorted(item.id for item in everything) == ["1", "2", "3"]
    link = urllib.parse.urlsplit(answers[0].json()["@odata.deltaLink"])
    token = urllib.parse.parse_qs(link.query)["token"][0]
    assert list(orders.items.delta.token("latest").get().execute_query()) == []
    orders.items["2"].delete_object().execute_query()
    orders.items["3"].fields.set_property("Title", "changed").update().execute_query()
    changes = orders.items.delta.token(token).get().execute_query()
    states = {item.id: item.properties.get("deleted") for item in changes}
    assert set(states) == {"2", "3"}
    assert states["2"]
    assert not states["3"]


def test_a_batch(client: Any, orders: Any) -> None:
    for n in range(5):
        orders.items.add(Title=f"t{n}")
    client.execute_batch()
    found = orders.items.expand(["fields"]).get().execute_query()
    assert sorted(_title(item) for item in found) == [f"t{n}" for n in range(5)]
    for item in found:
        item.fields.set_property("Title", "same").update()
    client.execute_batch()
    again = orders.items.expand(["fields"]).get().execute_query()
    assert {_title(item) for item in again} == {"same"}


def test_a_batch_in_order(client: Any, orders: Any) -> None:
    """The client's `sequential` writes `dependsOn`: each item gets the id of its turn."""
    for n in range(6):
        orders.items.add(Title=f"t{n}")
    client.execute_batch(sequential=True)
    found = orders.items.expand(["fields"]).get().execute_query()
    assert {item.id: _title(item) for item in found} == {str(n + 1): f"t{n}" for n in range(6)}
