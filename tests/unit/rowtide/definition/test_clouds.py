"""Where a token and a credential may go."""

import pytest

from rowtide.definition import clouds


@pytest.mark.parametrize(
    "url",
    [
        "https://graph.microsoft.com/v1.0",
        "https://graph.microsoft.us/v1.0",
        "https://GRAPH.microsoft.com:443/v1.0",
        "https://login.microsoftonline.com",
        "http://127.0.0.1:8080/v1.0",
        "http://localhost:8080/v1.0",
        "https://[::1]:8443/v1.0",
    ],
)
def test_microsofts_clouds_and_this_machine_need_no_word(url: str) -> None:
    assert clouds.why_not(url, simulator=False) is None


@pytest.mark.parametrize(
    "url",
    [
        "https://graph.microsoft.com.example/v1.0",
        "https://graph.microsoft.com:8443/v1.0",
        "https://graph.example/v1.0",
        "https://localhost.example/v1.0",
        "https://127.0.0.1.example/v1.0",
        "https://10.0.0.5/v1.0",
    ],
)
def test_another_host_has_to_be_called_a_simulator(url: str) -> None:
    assert "simulator: true" in (clouds.why_not(url, simulator=False) or "")
    assert clouds.why_not(url, simulator=True) is None


@pytest.mark.parametrize("simulator", [False, True])
@pytest.mark.parametrize(
    "url",
    [
        "http://graph.microsoft.com/v1.0",
        "http://10.0.0.5/v1.0",
        "https://graph.microsoft.com@graph.example/v1.0",
        "https://user:secret@graph.example/v1.0",
        "https://graph.example\\@graph.microsoft.com/v1.0",
        "https://graph.microsoft.com?x=/v1.0",
        "https://graph.microsoft.com#/v1.0",
        "http://127.0.0.1:8080@graph.example/v1.0",
        "https://gr\u0430ph.microsoft.com/v1.0",
    ],
)
def test_no_spelling_leads_a_token_away_or_in_clear(url: str, simulator: bool) -> None:
    assert clouds.why_not(url, simulator) is not None
