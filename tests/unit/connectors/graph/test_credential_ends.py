"""When a credential ends, as far as anybody says so."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from connectors.graph.settings import GraphSettings
from graphsim.identity.certificates import make_authority
from rowtide.definition.model import GraphDefinition

GRAPH = {"tenant_id": "72f988bf-86f1-41af-91ab-2d7cd011db47", "client_id": "1b2c3d4e-0000-4000-8000-000000000001"}


def settings(**credential: str) -> GraphSettings:
    return GraphSettings.from_section("contoso", GraphDefinition.model_validate({**GRAPH, "credential": credential}))


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("ROWTIDE_TEST_SECRET", "a secret of this test")
    return "env:ROWTIDE_TEST_SECRET"


def test_a_secrets_last_day_is_the_files(secret: str) -> None:
    assert settings(client_secret=secret, expires="2027-03-31").credential_ends == datetime(2027, 3, 31, tzinfo=UTC)
    assert settings(client_secret=secret).credential_ends is None


def test_a_certificate_says_so_itself(tmp_path: Path) -> None:
    pem = tmp_path / "app.pem"
    pem.write_bytes(make_authority(["contoso.example"]).ca_pem)
    pem.chmod(0o600)
    ends = settings(certificate=f"file:{pem}").credential_ends
    assert ends is not None
    assert ends > datetime.now(UTC)
    pem.write_bytes(b"no certificate")
    assert settings(certificate=f"file:{pem}").credential_ends is None


@pytest.mark.parametrize("credential", [{"certificate": "file:/x"}, {"client_secret": "env:X", "expires": "soon"}])
def test_what_nobody_can_mean_is_refused(credential: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="expires"):
        GraphDefinition.model_validate({**GRAPH, "credential": {"expires": "2027-03-31", **credential}})
