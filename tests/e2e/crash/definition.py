"""The definition of a history's syncs, as an administrator changes it: titles, names of syncs, the map of shards.

In: changes by acts. Out: the ``syncs:`` section, and which list a row belongs to. Rule: what a list is called in the
file and what SharePoint shows are kept apart, since people rename lists too.
"""

from dataclasses import dataclass, field

from tests.e2e.crash.shop import SHARDED

SYNC = """
  {name}:
    id: {id}
    source: {{postgres: erp, table: public.{id}}}
    target: {{graph: contoso, site: "contoso.sharepoint.com:/sites/ops"}}
    {lists}
    breaker: {breaker}
    {more}
"""
MORE = {
    "things": """where: "seq >= 0"
    fields:
      body: Title
      seq: {field: Seq, as: number}
      big: {field: Big, as: note}
      flag: {field: Flag, as: boolean}"""
}
OPEN = "{share: 1.0, rows: 1000000}"
BREAKERS = {"crates": "{share: 0.2, rows: 500}"}
"""Where a person is asked before many items go or are made anew."""
PLAIN = "fields: {body: Title, seq: {field: Seq, as: number}}"
TITLES = {
    "things/a": "Things A", "things/b": "Things B", "things": "Things Other",
    "swaps": "Swaps", "names": "Names", "lines": "Lines",
    "crates": "Crates",
}  # fmt: skip
"""Target -> title; a shard's target is named ``sync/value``."""
IDS = ("things", "swaps", "names", "lines", "crates")


@dataclass(slots=True)
class Definition:
    """What the file says."""

    titles: dict[str, str] = field(default_factory=lambda: dict(TITLES))
    shown: dict[str, str] = field(default_factory=lambda: dict(TITLES))
    names: dict[str, str] = field(default_factory=lambda: {id_: id_ for id_ in IDS})
    shards: list[str] = field(default_factory=lambda: ["a", "b"])

    def syncs(self) -> str:
        """The section of the file."""
        return "".join(
            SYNC.format(
                name=name, id=id_, lists=self._lists(id_), more=MORE.get(id_, PLAIN), breaker=BREAKERS.get(id_, OPEN)
            )
            for id_, name in self.names.items()
        )

    def _lists(self, id_: str) -> str:
        if id_ != SHARDED:
            return f"list: {self.titles[id_]}"
        shards = ", ".join(f"{value}: {self.titles[f'{id_}/{value}']}" for value in self.shards)
        return f"lists: {{by: shard, map: {{{shards}}}, default: {self.titles[id_]}}}"

    def targets(self) -> list[str]:
        """The targets that have a list."""
        return [target for target in self.titles if "/" not in target or target.split("/")[1] in self.shards]

    def list_of(self, id_: str, shard: str = "") -> str:
        """The title that SharePoint shows for the list of a row."""
        return self.shown[f"{id_}/{shard}" if shard in self.shards else id_]

    def rename(self, target: str, title: str) -> None:
        """The file gives the list another title; a list that a person has renamed keeps the person's."""
        if self.shown[target] == self.titles[target]:
            self.shown[target] = title
        self.titles[target] = title
