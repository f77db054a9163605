"""One simulator for other people's clients, and a token for those that want to be given one."""

import asyncio
import json
import ssl
import urllib.parse
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import pytest

from tests.e2e.conftest import CLIENT, Simulator
from tests.e2e.stack import SECRET

T = TypeVar("T")


@pytest.fixture(scope="session")
def interop_simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """A simulator over TLS and without quota, for the whole folder: importing the clients is slow enough."""
    options = ("--tls", "--tier", "off", "--switch", "secret-delay-s=0")
    simulator = Simulator(tmp_path_factory.mktemp("interop"), *options)
    yield simulator
    simulator.close()


def fetch_token(ready: dict[str, str]) -> str:
    """A token of the simulator's app; ``ready`` is the simulator's ready line."""
    form = {
        "client_id": CLIENT,
        "client_secret": SECRET,
        "grant_type": "client_credentials",
        "scope": "https://graph.microsoft.com/.default",
    }
    context = ssl.create_default_context(cafile=ready["ca_file"])
    url, data = f"{ready['authority']}/any/oauth2/v2.0/token", urllib.parse.urlencode(form).encode()
    with urllib.request.urlopen(url, data, 30, context=context) as answer:
        token: str = json.load(answer)["access_token"]
    return token


@pytest.fixture(scope="session")
def access_token(interop_simulator: Simulator) -> str:
    """A token of the simulator's app."""
    return fetch_token(interop_simulator.ready)


@pytest.fixture(scope="session")
def wait_for() -> Iterator[Callable[[Awaitable[Any]], Any]]:
    """Runs coroutines on one event loop, because a client stays on the loop it was first used on."""
    with asyncio.Runner() as runner:

        async def await_it(it: Awaitable[T]) -> T:
            return await it

        yield lambda it: runner.run(await_it(it))
