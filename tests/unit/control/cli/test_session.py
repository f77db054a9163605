"""Who types."""

import getpass
import socket

import pytest

from control.cli import session
from rowtide.actor import Actor, Authentication


def test_the_actor_is_the_user_on_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "ann")
    assert getpass.getuser() == "ann"
    assert session.actor() == Actor(f"ann@{socket.gethostname()}", Authentication.CLAIMED)
