"""All lists of the tenant, found by id or by title.

In: lists as they are made, renamed and deleted. Out: `SimList`, or GraphError 404. Rules: a title is unique within its
site, whatever its case; an id is unique everywhere; a deleted list is taken apart in small steps, because freeing a
million items at once would stop everybody else.
"""

import asyncio
from collections.abc import Iterator

from graphsim.http.errors import not_found
from graphsim.lists.list_store import SimList
from graphsim.lists.sites import Site, Sites

_PAUSE_S = 0.1


class ListIndex:
    """`by_id` holds every list; `by_title` the same lists by site id and case-folded title."""

    def __init__(self, sites: Sites) -> None:
        self._sites = sites
        self.by_id: dict[str, SimList] = {}
        self.by_title: dict[tuple[str, str], SimList] = {}
        self._deleted: list[SimList] = []

    def add(self, lst: SimList) -> None:
        """Makes a list known by its id and its title."""
        self.by_id[lst.id] = lst
        self.by_title[(lst.site_id, lst.display_name.casefold())] = lst

    def remove(self, lst: SimList) -> None:
        """Forgets a list before it gets another title."""
        self.by_id.pop(lst.id, None)
        self.by_title.pop((lst.site_id, lst.display_name.casefold()), None)

    def delete(self, lst: SimList) -> None:
        """Forgets a list for ever; `free_deleted` gives its memory back."""
        self.remove(lst)
        self._deleted.append(lst)

    async def free_deleted(self) -> None:
        """Takes deleted lists apart, a little at a time, until it is cancelled."""
        while True:
            await asyncio.sleep(_PAUSE_S)
            while self._deleted:
                for _ in self._deleted.pop().take_apart():
                    await asyncio.sleep(0)

    def of_site(self, site: Site) -> Iterator[SimList]:
        """The lists of one site, in the order they were made."""
        return (lst for lst in self.by_id.values() if lst.site_id == site.id)

    def holder_of(self, site_id: str, title: str) -> SimList | None:
        """The list that has taken a title, in any case."""
        return self.by_title.get((site_id, title.casefold()))

    def find(self, site: Site, text: str) -> SimList:
        """The list of an id or a title within a site; GraphError 404 otherwise."""
        found = self.by_id.get(text) or self.by_id.get(text.lower()) or self.holder_of(site.id, text)
        if found is None or found.site_id != site.id:
            raise not_found("The specified list was not found")
        return found

    def find_anywhere(self, text: str, site: str | None = None) -> SimList:
        """For the control side: the first list of an id, title or name, in any site or in the one given."""
        for lst in self.by_id.values():
            if text.casefold() in {lst.id, lst.display_name.casefold(), lst.name.casefold()} and (
                not site or site in {lst.site_id, self._sites.to_text(lst.site_id)}
            ):
                return lst
        raise not_found(f"there is no list '{text}'")
