"""What becomes of servers: they die, are restored from copies, are another's.

In: a `World`, a seeded generator. Out: the world, changed; what must not stay is left open there.
"""

import random

from tests.e2e.crash.world import World


def kill_the_source(world: World, rng: random.Random) -> bool:
    """The source's server dies and comes back."""
    world.kill_server(world.source)
    return True


def kill_the_state(world: World, rng: random.Random) -> bool:
    """The state database's server dies and comes back."""
    world.kill_server(world.state)
    return True
