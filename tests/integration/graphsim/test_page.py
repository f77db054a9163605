"""The page in a real browser: what a person changes there, a client sees in delta."""

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium: make deps")


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser.new_page()
        browser.close()


def test_a_person_edits_adds_and_deletes(running: Any, page: Page, eventually: Callable[..., Any]) -> None:
    simulator = running.sign_in()
    orders = simulator.make_list("By hand")
    simulator.client.post(orders + "/items", json={"fields": {"Title": "first", "RowtideKey": "k"}})
    link = simulator.client.get(orders + "/items/delta?token=latest").json()["@odata.deltaLink"]
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(simulator.ready["ui_url"])
    page.get_by_label("You are").fill("Ann Person")
    page.locator("td[data-field=Title]").click()
    page.get_by_label("Title").fill("<b>changed</b>")
    page.get_by_label("Title").press("Enter")
    expect(page.locator("tbody tr")).to_contain_text("Ann Person")
    page.get_by_role("button", name="Add an item").click()
    page.locator("#draft").get_by_label("Amount").fill("12.5")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("tbody tr")).to_have_count(2)
    changed = simulator.client.get(link + "&$expand=fields").json()
    by_id = {entry["id"]: entry for entry in changed["value"]}
    assert by_id["1"]["fields"]["Title"] == "<b>changed</b>"
    assert by_id["1"]["lastModifiedBy"]["user"]["displayName"] == "Ann Person"
    assert by_id["2"]["fields"]["Amount"] == 12.5
    simulator.client.patch(orders + "/items/2/fields", json={"Amount": 99})
    expect(page.locator("tbody")).to_contain_text("99")
    page.locator("tr[data-id='1']").get_by_role("button", name="Delete").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    latest = simulator.client.get(changed["@odata.deltaLink"]).json()["value"]
    assert [entry["id"] for entry in latest if "deleted" in entry] == ["1"]
    page.locator("td[data-field=Amount]").click()
    page.get_by_label("Amount").fill("much")
    page.get_by_label("Amount").press("Enter")
    expect(page.get_by_role("status")).to_have_text("Amount is a number")
    assert problems == []
