"""What database administrators, operators and the owners of lists do between commits, on a world that runs.

In: a `World`, a seeded generator. Out: the world, changed as by a person; what must not stay is left open there. Rule:
an act that finds nothing to act on does nothing and says so (False); none waits for the product to take notice.
"""

import random
from collections.abc import Callable

from tests.e2e.crash.acts import operators, owners, servers, tables
from tests.e2e.crash.world import World

Act = Callable[[World, random.Random], bool]

ACTS: dict[str, Act] = {
    act.__name__: act
    for act in (
        tables.truncate_and_reload, tables.truncate, tables.lose_a_column, tables.swap_by_rename, tables.recreate,
        tables.unpublish, tables.unpublish_for_a_moment, tables.publish_inserts_only, tables.move_to_a_schema,
        tables.convert, tables.vacuum_full, tables.change_identity, tables.delete_most,
        servers.kill_the_source, servers.kill_the_state, servers.lead_astray, servers.start_a_copy,
        servers.restore_the_source, servers.restore_the_lists,
        operators.pause, operators.pause_for_a_moment, operators.apply_again, operators.rename_a_sync,
        operators.rename_a_list, operators.change_the_shards, operators.another_slot, operators.read_the_lists,
        operators.compare, operators.change_it_beside_another,
        owners.add_an_item, owners.edit_an_item, owners.delete_an_item, owners.take_a_key_away,
        owners.rename_in_sharepoint, owners.delete_a_list, owners.change_a_columns_kind, owners.copy_an_item,
        owners.mark_a_list, owners.make_a_column_anew, owners.lose_the_keys, owners.empty_a_list,
    )
}  # fmt: skip
