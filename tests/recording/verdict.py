"""Whether recorded answers are such as Graph gives: the endpoints this project knows, and the schema of each.

In: the directory that the recorders of a run have filled. Out: problems, one sentence each, with request and test.
Called at the end of a run by `tests/conftest.py`. Rules: entities are held against the JSON Schema of Graph's
published CSDL (`tests/integration/graphsim/lists_v1.0.schema.json`) and, for the two outside its slice, against the
models of msgraph-sdk; the envelopes (pages, `$batch`) against docs/facts.md sections 1 to 3; nothing is exempt: an
endpoint that is not in the table is a problem, unless it is refused, and then the answer must be an OData error.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

_TESTS = Path(__file__).parents[1]
_SCHEMAS = (
    _TESTS / "integration" / "graphsim" / "lists_v1.0.schema.json",
    _TESTS / "interop" / "permissions_v1.0.schema.json",
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What a call that succeeds answers: an entity, pages of them (`many`), or nothing (no `entity`)."""

    status: int
    entity: str | None = None
    many: bool = False


_SITE = "/sites/{site}"
_LISTS = _SITE + "/lists"
_LIST = _LISTS + "/{list}"
_ITEMS = _LIST + "/items"
_ITEM = _ITEMS + "/{item}"
_COLUMNS = _LIST + "/columns"
_APPLICATION = "/applications/{application}"
ENDPOINTS: dict[tuple[str, str], Endpoint] = {
    ("GET", "/sites"): Endpoint(200, "site", many=True),
    ("GET", _SITE): Endpoint(200, "site"),
    ("GET", _LISTS): Endpoint(200, "list", many=True),
    ("POST", _LISTS): Endpoint(201, "list"),
    ("GET", _LIST): Endpoint(200, "list"),
    ("PATCH", _LIST): Endpoint(200, "list"),
    ("DELETE", _LIST): Endpoint(204),
    ("GET", _COLUMNS): Endpoint(200, "columnDefinition", many=True),
    ("POST", _COLUMNS): Endpoint(201, "columnDefinition"),
    ("GET", _COLUMNS + "/{column}"): Endpoint(200, "columnDefinition"),
    ("PATCH", _COLUMNS + "/{column}"): Endpoint(200, "columnDefinition"),
    ("DELETE", _COLUMNS + "/{column}"): Endpoint(204),
    ("GET", _ITEMS): Endpoint(200, "listItem", many=True),
    ("POST", _ITEMS): Endpoint(201, "listItem"),
    ("GET", _ITEMS + "/delta"): Endpoint(200, "listItem", many=True),
    ("GET", _ITEM): Endpoint(200, "listItem"),
    ("PATCH", _ITEM): Endpoint(200, "listItem"),
    ("DELETE", _ITEM): Endpoint(204),
    ("GET", _ITEM + "/fields"): Endpoint(200, "fieldValueSet"),
    ("PATCH", _ITEM + "/fields"): Endpoint(200, "fieldValueSet"),
    ("GET", _ITEM + "/versions"): Endpoint(200, "listItemVersion", many=True),
    ("GET", _ITEM + "/versions/{version}"): Endpoint(200, "listItemVersion"),
    ("GET", _ITEM + "/versions/{version}/fields"): Endpoint(200, "fieldValueSet"),
    ("POST", _ITEM + "/versions/{version}/restoreVersion"): Endpoint(204),
    ("GET", "/subscriptions"): Endpoint(200, "subscription", many=True),
    ("POST", "/subscriptions"): Endpoint(201, "subscription"),
    ("GET", _LIST + "/subscriptions"): Endpoint(200, "subscription", many=True),
    ("GET", "/subscriptions/{subscription}"): Endpoint(200, "subscription"),
    ("PATCH", "/subscriptions/{subscription}"): Endpoint(200, "subscription"),
    ("DELETE", "/subscriptions/{subscription}"): Endpoint(204),
    ("POST", "/subscriptions/{subscription}/reauthorize"): Endpoint(204),
    ("GET", _APPLICATION): Endpoint(200, "application"),
    ("POST", _APPLICATION + "/addPassword"): Endpoint(200, "passwordCredential"),
    ("POST", _APPLICATION + "/removePassword"): Endpoint(204),
    ("POST", _APPLICATION + "/addKey"): Endpoint(200, "keyCredential"),
    ("POST", _APPLICATION + "/removeKey"): Endpoint(204),
    **{
        (method, scope + "/permissions" + tail): made
        for scope in (_SITE, _LIST)
        for method, tail, made in (
            ("GET", "", Endpoint(200, "permission", many=True)),
            ("POST", "", Endpoint(201, "permission")),
            ("GET", "/{permission}", Endpoint(200, "permission")),
            ("PATCH", "/{permission}", Endpoint(200, "permission")),
            ("DELETE", "/{permission}", Endpoint(204)),
        )
    },
}

_LINK = {"type": "string", "pattern": "^https?://[^/<>]+/v1\\.0/"}
_PAGE: dict[str, Any] = {
    "type": "object",
    "required": ["@odata.context", "value"],
    "properties": {
        "@odata.context": {"type": "string", "pattern": "/v1\\.0/\\$metadata#"},
        "@odata.count": {"type": "integer"},
        "@odata.nextLink": _LINK,
        "value": {"type": "array"},
    },
    "additionalProperties": False,
}
_DELTA_PAGE = {
    **_PAGE,
    "properties": {**_PAGE["properties"], "@odata.deltaLink": _LINK},
    "oneOf": [{"required": ["@odata.nextLink"]}, {"required": ["@odata.deltaLink"]}],
}
_BATCH = {
    "type": "object",
    "required": ["responses"],
    "properties": {
        "responses": {
            "type": "array",
            "maxItems": 20,
            "items": {
                "type": "object",
                "required": ["id", "status"],
                "properties": {
                    "id": {"type": "string"},
                    "status": {"type": "integer", "minimum": 200, "maximum": 599},
                    "headers": {"type": "object", "additionalProperties": {"type": "string"}},
                    "body": {},
                },
                "additionalProperties": False,
            },
        }
    },
    "additionalProperties": False,
}


@cache
def _definitions() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path in _SCHEMAS:
        found |= json.loads(path.read_text(encoding="utf-8"))["$defs"]
    return found


@cache
def _validator(entity: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"#/$defs/{entity}", "$defs": _definitions()})


def _mismatches(validator: Draft202012Validator, value: Any) -> list[str]:
    return [f"{error.json_path}: {error.message}"[:300] for error in validator.iter_errors(value)]


def problems_of(answer: dict[str, Any]) -> list[str]:
    """What is wrong with one recorded answer, or one element of a collection."""
    if answer["kind"] == "text":
        return ["the body is no JSON: " + answer["body"][:100]]
    body, status = answer["body"], answer["status"]
    if answer["template"] == "/$batch" and isinstance(body, dict) and "responses" in body:
        expected = [] if status in (200, 424) else [f"a batch is never answered {status}"]
        return expected + _mismatches(Draft202012Validator(_BATCH), body)
    if status >= 400:
        return _mismatches(_validator("odataError"), body)
    endpoint = ENDPOINTS.get((answer["method"], answer["template"]))
    if endpoint is None:
        return ["Graph has no such endpoint in the table of tests/recording/verdict.py"]
    if status != endpoint.status:
        return [f"success is {endpoint.status} here, not {status}"]
    return _entity_problems(answer, endpoint, body)


def _entity_problems(answer: dict[str, Any], endpoint: Endpoint, body: Any) -> list[str]:
    if endpoint.entity is None:
        return [] if body is None else ["there is a body where there is none in Graph"]
    if endpoint.many and answer["kind"] == "answer":
        page = _DELTA_PAGE if answer["template"].endswith("/delta") else _PAGE
        return _mismatches(Draft202012Validator(page), body)
    wrong = _mismatches(_validator(endpoint.entity), body)
    if endpoint.entity == "fieldValueSet":
        wrong += _field_problems(body)
    elif isinstance(body, dict) and "fields" in body:
        wrong += _field_problems(body["fields"])
    if answer["template"].endswith("/delta") and isinstance(body, dict) and "deleted" in body:
        wrong += [f"a deleted entry has no {name}" for name in ("fields", "eTag") if name in body]
    return wrong


def _field_problems(fields: Any) -> list[str]:
    """Fields are open to the schema; docs/facts.md section 1.1 says that several values come with their type."""
    if not isinstance(fields, dict):
        return ["fields is no object"]
    many = [name for name, held in fields.items() if isinstance(held, list)]
    return [f"field {name} has several values and no type" for name in many if name + "@odata.type" not in fields]


def read(directory: Path) -> Iterator[dict[str, Any]]:
    """Everything recorded."""
    for path in sorted(directory.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)


def find_problems(directory: Path) -> list[str]:
    """One sentence for each distinct problem: request, what is wrong, the test in which it was first seen."""
    found: dict[str, str] = {}
    for answer in read(directory):
        if "trouble" in answer:
            wrong, request = [f"the recorder could not read it: {answer['trouble']}"], "an answer"
        else:
            wrong = problems_of(answer)
            request = f"{answer['method']} {answer['template']} -> {answer['status']}"
        for sentence in wrong:
            found.setdefault(f"{request}: {sentence}", answer["test"])
    return [f"{sentence} (first seen in {test or 'no test'})" for sentence, test in found.items()]
