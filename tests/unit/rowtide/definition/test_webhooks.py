"""``webhooks`` of a tenant: where Graph reaches us, and a key that is a reference."""

import pytest
from pydantic import ValidationError

from rowtide.definition.model import CONNECTION_KEYS, WebhooksDefinition


@pytest.mark.parametrize(
    "url", ["https://rowtide.example/hooks", "https://rowtide.example:8443/a/b", "http://127.0.0.1:9"]
)
def test_an_address_that_may_be_told_of_changes(url: str) -> None:
    assert WebhooksDefinition(url=url, key="env:KEY").url == url


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("http://rowtide.example/hooks", "env:KEY"),
        ("https://rowtide.example/hooks?a=1", "env:KEY"),
        ("ftp://rowtide.example", "env:KEY"),
        ("https://rowtide.example/hooks", "the key itself"),
    ],
)
def test_one_that_may_not(url: str, key: str) -> None:
    with pytest.raises(ValidationError):
        WebhooksDefinition(url=url, key=key)


def test_it_is_in_the_processs_own_file_alone() -> None:
    assert "webhooks" in CONNECTION_KEYS["graph"]
