"""Links that Graph gives: whether one may be followed with our token, and whether a row of pages comes to an end.

In: the configured base URL, links as they stand in answers. Out: a yes or no; `GraphUnavailable` for a link that is
not followed. Rules: a link is a stranger's word: only one below the base URL gets our token, as it is written;
whoever follows links follows a bounded number, and none twice.
"""

from dataclasses import dataclass
from typing import Final

from rowtide.error_catalogue import graph_errors
from rowtide.errors import GraphUnavailable

MOST_PAGES: Final = 30_000_000
"""A list holds at most so many items: a round of more pages has no end."""


def is_below(base_url: str, link: str) -> bool:
    """Whether the link is below the base URL: same scheme, host and port, and a path that goes on from its path."""
    return link.startswith(f"{base_url}/")


class Paging:
    """The pages of one collection, in constant memory: a circle is noticed by a link that comes again.

    The remembered link is a later one each time that the number of pages doubles, so that a circle of any length is
    met within three times the pages that lead into it and round it.
    """

    def __init__(self, base_url: str, most_pages: int = MOST_PAGES) -> None:
        self._base_url = base_url
        self._most_pages = most_pages
        self._pages = 0
        self._remembered: object = None
        self._next_memory = 1

    def problem_of(self, link: object) -> GraphUnavailable | None:
        """Why the link of the page just read is not to be followed; None: it may be."""
        self._pages += 1
        if not isinstance(link, str) or not is_below(self._base_url, link):
            return graph_errors.GRAPH_LINK_ELSEWHERE(base_url=self._base_url)
        if link == self._remembered or self._pages >= self._most_pages:
            return graph_errors.GRAPH_PAGES_ENDLESS(pages=self._pages)
        if self._pages == self._next_memory:
            self._remembered = link
            self._next_memory *= 2
        return None


@dataclass(slots=True)
class _RowOfPages:
    """The links of one round. A page that was not kept is read again, and brings the same link."""

    name: object
    paging: Paging
    judged: tuple[object, str] | None = None
    problem: GraphUnavailable | None = None

    def problem_of(self, page: object, link: str) -> GraphUnavailable | None:
        if self.judged != (page, link):
            self.judged, self.problem = (page, link), self.paging.problem_of(link)
        return self.problem


class Rounds:
    """The rounds in which lists are read, each a row of pages that comes to an end."""

    def __init__(self) -> None:
        self._rounds: dict[object, _RowOfPages] = {}

    def problem_of(
        self, reading: object, name: object, page: object, link: str, is_last: bool, base_url: str
    ) -> GraphUnavailable | None:
        """Why the link behind the page is not to be kept: it leads away, or the round does not end.

        ``reading``: what is read, ``name``: its round, ``page``: which page of it; anything that tells them apart.
        """
        round_ = self._rounds.get(reading)
        if round_ is None or round_.name != name:
            round_ = self._rounds[reading] = _RowOfPages(name, Paging(base_url))
        problem = round_.problem_of(page, link)
        if is_last:
            del self._rounds[reading]
        ends = is_last and problem is not None and problem.code == graph_errors.GRAPH_PAGES_ENDLESS.code
        return None if ends else problem
