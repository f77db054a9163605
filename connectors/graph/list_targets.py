"""Which list of a site each target of a sync has.

In: the lists wanted, the site's lists, the lists that are known of every sync. Out: for each wanted list the one that
is there, or none, and what its name needs. Rules (docs/design.md section 3), in this order: a title that is an applied
list of the same sync is that list; then the target's own list, wherever it is called; then a free list of that title;
then a new one. A list of another sync is refused, also when that sync is retired.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from connectors.graph.list_schema import FoundList, FoundSite, KeepName, RenameList, WantedList
from rowtide.error_catalogue import graph_errors
from rowtide.lists import KnownList, ListState, known_by_id


@dataclass(slots=True)
class Resolved:
    """Title as wanted -> the list that is there; ``naming``: what there is to do or to say about names."""

    lists: dict[str, FoundList] = field(default_factory=dict)
    naming: list[RenameList | KeepName] = field(default_factory=list)


def resolve(site: FoundSite, wanted: Sequence[WantedList], known: Sequence[KnownList]) -> Resolved:
    """The lists of a site's targets; GraphRefused for a list that is another sync's, or another target's."""
    here = [one for one in known if one.site_id == site.id and one.id in site.by_id]
    by_id, resolved, kept = known_by_id(known), Resolved(), dict[str, KnownList]()
    for one in wanted:
        mine = [other for other in here if other.sync == one.sync]
        named = _named(one, (other for other in mine if other.state is ListState.APPLIED))
        if named is not None:
            kept[one.title] = named
    taken = {one.id for one in kept.values()}
    for one in wanted:
        own = kept.get(one.title) or _own(one, (other for other in here if other.id not in taken))
        found = site.by_id[own.id] if own is not None else _free(site, one, by_id, taken)
        if found is None:
            continue
        taken.add(found.id)
        resolved.lists[one.title] = found
        if own is not None and own.title.casefold() != one.title.casefold():
            resolved.naming += _naming(site, one, own, found)
    return resolved


def _named(wanted: WantedList, mine: Iterable[KnownList]) -> KnownList | None:
    return next((one for one in mine if one.title.casefold() == wanted.title.casefold()), None)


def _own(wanted: WantedList, mine: Iterable[KnownList]) -> KnownList | None:
    """The list that one of these targets has had; one that rows still leave may have its title again."""
    ours = [one for one in mine if one.sync == wanted.sync]
    applied = [one for one in ours if one.state is ListState.APPLIED]
    own = next((one for one in applied if set(one.targets) & set(wanted.targets)), None)
    return own or _named(wanted, (one for one in ours if one.state is not ListState.APPLIED))


def _free(site: FoundSite, wanted: WantedList, known: dict[str, KnownList], taken: set[str]) -> FoundList | None:
    found = site.by_title(wanted.title)
    if found is None:
        return None
    holder = known.get(found.id)
    if holder is not None and holder.sync != wanted.sync:
        raise graph_errors.LIST_OF_OTHER_SYNC(title=wanted.title, sync=wanted.sync, other=holder.sync)
    if found.id in taken:
        raise graph_errors.LIST_TITLE_TAKEN(title=wanted.title, sync=wanted.sync)
    return found


def _naming(site: FoundSite, wanted: WantedList, own: KnownList, found: FoundList) -> list[RenameList | KeepName]:
    """The definition calls the list otherwise than before: so does SharePoint, unless a person did so first."""
    now, wish = found.title.casefold(), wanted.title.casefold()
    if now == wish:
        return []
    if now != own.title.casefold() or site.by_title(wanted.title) is not None:
        return [KeepName(wanted.title, found.title)]
    return [RenameList(wanted.title, found.title)]
