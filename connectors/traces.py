"""Whether the process sends traces, and to whom: what the definition and the environment say together.

In: ``run.traces`` of the definition, the standard ``OTEL_*`` variables. Out: the `Spans` of `connectors.otlp_spans`, or
None; UserError ``traces_unavailable`` where the definition asks for traces that cannot be sent. Rule (docs/design.md
section 26): where none are sent nothing of OpenTelemetry is imported.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal

import structlog

from rowtide.error_catalogue import process_errors

if TYPE_CHECKING:
    from connectors.otlp_spans import Spans

log = structlog.get_logger()

Wanted = Literal["auto", "on", "off"]

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOL: Final = "http/protobuf"


def begin(wanted: Wanted, environment: Mapping[str, str]) -> "Spans | None":
    """What sends a span for each batch; None where nobody asks for it. ``auto``: where an endpoint is named."""
    if wanted == "off" or (wanted == "auto" and not _is_asked_for(environment)):
        return None
    why = _why_not(environment)
    if why is None:
        try:
            from connectors.otlp_spans import Spans

            return Spans()
        except ModuleNotFoundError:
            why = "the packages of the extra `tracing` are not installed"
        except Exception as error:  # of a variable that cannot be read
            why = f"the OTEL_ variables cannot be used ({type(error).__name__})"
    problem = process_errors.TRACES_UNAVAILABLE(why=why)
    if wanted == "on":
        raise problem
    log.warning("no traces are sent", code=problem.code, problem=problem.unquoted, remedy=problem.remedy)
    return None


def _is_asked_for(environment: Mapping[str, str]) -> bool:
    """Whether the environment, which may be every process's of a machine, names a collector."""
    off = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    elsewhere = environment.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() != "otlp"
    return not off and not elsewhere and any(environment.get(name, "").strip() for name in ENDPOINTS)


def _why_not(environment: Mapping[str, str]) -> str | None:
    found = next((said for name in PROTOCOLS if (said := environment.get(name, "").strip())), PROTOCOL)
    return None if found == PROTOCOL else f"OTEL_EXPORTER_OTLP_PROTOCOL asks for another protocol than {PROTOCOL}"
