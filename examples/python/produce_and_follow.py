"""Puts a job into BullMQ and follows its events, with nothing of tgi-pool but schemas/.

    REDIS_URL=redis://127.0.0.1:6379 python produce_and_follow.py "Why is the sky blue?"

Text goes to stdout; exit status 3 when the job ends in `error`. With JOB_ID of a job that is there, follows it again.
"""

import asyncio
import functools
import json
import os
import sys
import time
import uuid
from pathlib import Path

from bullmq import Queue
from jsonschema import Draft202012Validator
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, ConnectionError, TimeoutError
from redis.retry import Retry

REDIS_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379")
POOL = os.environ.get("TGI_POOL", "p")
SCHEMAS = Path(os.environ.get("TGI_POOL_SCHEMAS", Path(__file__).parents[2] / "schemas"))
PREFIX = f"tgi-pool:{{{POOL}}}"
PRIORITIES = {"interactive": 10, "batch": 20}
START = "0-0"


@functools.cache
def validator(schema):
    return Draft202012Validator(json.loads((SCHEMAS / f"{schema}.json").read_text()))


def check(schema, value):
    """Raises jsonschema.ValidationError when a value is not what schemas/ says."""
    validator(schema).validate(value)


async def produce(job_id, job):
    """Adds a job. The same id again is the same job, as long as its events are there."""
    check("job-id", job_id)
    check("job", job)
    queue = Queue("jobs", {"connection": REDIS_URL, "prefix": PREFIX})
    try:
        await queue.add("generate", job, {
            "jobId": job_id,
            "priority": PRIORITIES[job.get("priority", "interactive")],
            "removeOnComplete": True,
            "removeOnFail": True,
        })
    finally:
        await queue.close()


def entries(job_id):
    """Yields (event, data) of a job to its last event, across lost connections; `restart` where Redis lost some."""
    # A broken line must show here, so the client is not to connect again by itself.
    redis = Redis.from_url(REDIS_URL, decode_responses=True, socket_timeout=15, retry=Retry(NoBackoff(), 0))
    stream, cursor, event, sure = f"{PREFIX}:events:{job_id}", START, "", True
    while event not in ("end", "error"):
        try:
            if not sure and cursor == START and not redis.exists(f"{PREFIX}:jobs:{job_id}", stream):
                raise LookupError(f"job {job_id}: neither in the queue of pool {POOL} nor has it events")
            # An id names its whole past: where the last entry we have is, nothing before it is lost.
            if not sure and cursor != START and not redis.xrange(stream, cursor, cursor):
                cursor = START
                yield "restart", {}
            found = redis.xread({stream: cursor}, count=500, block=5000)
            sure = bool(found)
        except (BusyLoadingError, ConnectionError, TimeoutError):
            sure = False
            time.sleep(0.2)
            continue
        for cursor, fields in found[0][1] if found else []:
            event, data = fields["event"], json.loads(fields["data"])
            check(f"event-{event}", data)
            yield event, data
    redis.close()


def follow(job_id):
    """Prints the text of a job as it comes; returns its last event."""
    tokens = []
    for event, data in entries(job_id):
        if event == "token":
            tokens.append("" if data.get("special") else data["t"])
            print(tokens[-1], end="", flush=True)
        kept = {"restart": 0, "started": data.get("next_token", 0)}.get(event, len(tokens))
        if kept < len(tokens):
            # What is on a terminal cannot be taken back: what still holds is printed anew.
            del tokens[kept:]
            print("\n" + "".join(tokens), end="", flush=True)
    print()
    return event, data


def main():
    job_id = os.environ.get("JOB_ID", str(uuid.uuid4()))
    prompt = " ".join(sys.argv[1:])
    if prompt:
        asyncio.run(produce(job_id, {"inputs": prompt, "parameters": {"max_new_tokens": 100}}))
        print(f"JOB_ID={job_id}", file=sys.stderr)
    event, data = follow(job_id)
    if event == "error":
        print(f"{data['code']}: {data['message']}", file=sys.stderr)
    return 3 if event == "error" else 0


if __name__ == "__main__":
    sys.exit(main())
