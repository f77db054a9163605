"""The decision for a claimed row, whichever ways its sync goes: the one door for deliver.

In: as in rowtide.deciding.push. Out: the same; what a person did in a sync of two ways ends as a `HandOver`. Rule
(docs/design.md section 19): what is handed over is written to the inbox in the settle's own transaction;
a claim that is only to look writes nothing.
"""

from dataclasses import replace
from datetime import datetime

from rowtide.deciding import hand_over, push
from rowtide.deciding.answers import Answer
from rowtide.deciding.hand_over import AskVersions, TwoWayPlan
from rowtide.deciding.in_flight import InFlight, Rules
from rowtide.deciding.item_versions import Versions
from rowtide.deciding.outcomes import Complete, HandOver, Outcome
from rowtide.deciding.records import Work


def first(work: Work, rules: Rules, now: datetime) -> InFlight | AskVersions | Outcome | Complete:
    """The first command for a claimed row, or its outcome when nothing has to be asked of Graph."""
    if not rules.two_ways:
        return push.first(work, rules, now)
    return _plain(hand_over.first(work, rules, now, work.only_look), rules)


def after(
    in_flight: InFlight | AskVersions, answer: Answer | Versions, rules: Rules, now: datetime
) -> InFlight | AskVersions | Outcome:
    """The next command of a claim, or its outcome, now that its last command was answered."""
    if not rules.two_ways:
        assert isinstance(in_flight, InFlight), "only a sync of two ways asks for versions"
        assert not isinstance(answer, Versions), "what was not asked for is not answered"
        return push.after(in_flight, answer, rules, now)
    plan = _plain(hand_over.after(in_flight, answer, rules, now, in_flight.known.work.only_look), rules)
    assert not isinstance(plan, Complete), "a row is completed before its first command"
    return plan


def _plain(plan: TwoWayPlan, rules: Rules) -> InFlight | AskVersions | Outcome | Complete:
    """The plan; what is handed over as a list shows it, like everything else in the inbox."""
    if not isinstance(plan, HandOver) or plan.entry is None:
        return plan
    return replace(plan, entry=replace(plan.entry, fields=dict(rules.mapping.wire_fields(plan.entry.fields))))
