"""`rowtide doctor`: what would keep Rowtide from working.

In: the definition. Out: findings as a table, with a remedy each (exit 3 when there is something to mend). Rule: what is
looked at is control.operations.doctor's.
"""

import typer

from control.cli import options, output, session
from control.operations import doctor as operations

_MARKS = {"ok": "ok", "warning": "warning", "failure": "FAILURE"}


def doctor(config: options.Config = options.CONFIG, as_json: options.Json = False) -> None:
    """Find what would keep it from working.

    Looks at versions, state database, sources and tenants; exit code 3 when there is something to mend.
    """
    found = operations.run_checks(session.start_session(config))
    if as_json:
        output.document(found)
    else:
        output.table(
            ["part", "check", "level", "finding", "remedy"],
            [
                [one["part"], one["name"], _MARKS[one["level"]], one["sentence"], one["remedy"]]
                for one in found["checks"]
            ],
        )
    if any(one["level"] != "ok" for one in found["checks"]):
        raise typer.Exit(output.FINDINGS)
