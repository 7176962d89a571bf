"""What Schemathesis cannot know from the OpenAPI document alone."""

import json
from base64 import urlsafe_b64decode

import schemathesis
from schemathesis import GenerationMode

JSON_GRAMMAR = {"properties": {"name": {"type": "string"}}}
VALID_GRAMMARS = {
    "json": JSON_GRAMMAR,
    "json_object": JSON_GRAMMAR,
    "json_schema": {"name": "person", "schema": JSON_GRAMMAR},
    "regex": "[a-z]+",
}


@schemathesis.hook
def before_call(context, case, kwargs):
    """Makes a request that fits the schemas one that is valid."""
    if case.meta is not None and case.meta.generation.mode != GenerationMode.POSITIVE:
        return
    # Two ids in one request must be the same, which no schema can say.
    if isinstance(case.body, dict) and "job_id" in case.body and case.headers:
        case.headers.pop("Idempotency-Key", None)
    # Which grammars compile no schema can say.
    parameters = case.body.get("parameters") if isinstance(case.body, dict) else None
    grammar = parameters.get("grammar") if isinstance(parameters, dict) else None
    if isinstance(grammar, dict) and grammar.get("type") in VALID_GRAMMARS:
        grammar["value"] = VALID_GRAMMARS[grammar["type"]]
    # A place in a list is the server's own text: only what it gave is one.
    if case.query and "cursor" in case.query and not is_place(case.query["cursor"]):
        case.query.pop("cursor")


def is_place(cursor):
    try:
        return isinstance(json.loads(urlsafe_b64decode(f"{cursor}==")), list)
    except ValueError:
        return False


@schemathesis.check
def exact_status(ctx, response, case):
    """A range such as 4XX must not hide a status: each one that it stands for is in `x-statuses`."""
    if case.method == "OPTIONS" or response.status_code == 405:
        return  # Not a method of the document.
    responses = case.operation.definition.raw["responses"]
    documented = {
        str(status)
        for name, described in responses.items()
        for status in described.get("x-statuses", [name])
    }
    assert str(response.status_code) in documented, f"{response.status_code}, not one of {sorted(documented)}"
