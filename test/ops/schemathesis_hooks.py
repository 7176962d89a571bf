"""What Schemathesis cannot know from the OpenAPI document alone."""

import schemathesis
from schemathesis import GenerationMode


@schemathesis.hook
def before_call(context, case, kwargs):
    """Two ids in one valid request must be the same, which no schema can say; so a valid request has one."""
    is_valid = case.meta is None or case.meta.generation.mode == GenerationMode.POSITIVE
    if is_valid and isinstance(case.body, dict) and "job_id" in case.body and case.headers:
        case.headers.pop("Idempotency-Key", None)


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
