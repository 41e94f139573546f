"""The functions in Docker, run by the SAM CLI with the unmodified template, against `local`. `.ci/sam-local` prepares Docker for these
tests.
"""

import json
from collections.abc import Iterator

import pytest

from invocations import recorded_events
from invocations.sam_local import SamLocal, bridge_address
from invocations.world import World
from stack import REPOSITORY
from webhooks import JSON, completion_body, extract_body, new_id, send_request, signature_headers

pytestmark = pytest.mark.docker

SCRATCH = REPOSITORY / "target/sam-local"
# The defaults of `local`.
FYNAPSE_SECRET = "local-fynapse-secret"


@pytest.fixture(scope="session")
def bridge() -> str | None:
    return bridge_address()


@pytest.fixture
def world(request: pytest.FixtureRequest, bridge: str | None) -> Iterator[World]:
    world = World(SCRATCH / request.node.name.replace("/", "-"), SamLocal, bridge)
    yield world
    world.stop()


@pytest.mark.parametrize("name", sorted(recorded_events.event_names(recorded_events.EVENTS)))
def test_a_recorded_event_has_the_expected_response_and_effects_in_docker(world: World, name: str) -> None:
    world.check(name)


def test_start_api_answers_both_webhooks(world: World) -> None:
    webhook_url = world.functions.invoke("rightfoot-requests-webhook-url")["webhook_url"]
    event_id, batch_id = new_id(), new_id()
    extract, completion = extract_body(event_id), completion_body(batch_id)
    signed = signature_headers(extract, FYNAPSE_SECRET)
    api = world.functions.start_api()

    def deliver(url: str, headers: dict[str, str], body: bytes) -> tuple[int, dict]:
        response = send_request(api.port, "POST", url, {**JSON, **headers}, body)
        return response.status, json.loads(response.body)

    try:
        fynapse_url = f"http://127.0.0.1:{api.port}/webhooks/fynapse"
        for expected in ("received", "duplicate"):
            assert deliver(fynapse_url, signed, extract) == (200, {"status": expected})
            assert deliver(webhook_url, {}, completion) == (200, {"status": expected})
        status, _ = deliver(fynapse_url, signature_headers(extract, "another secret"), extract)
        assert status == 403
        status, _ = deliver(f"{webhook_url}x", {}, completion)
        assert status == 403
    finally:
        api.stop()
    queued = sorted(message["id"] for message in world.messages())
    assert queued == sorted([f"fynapse/event/{event_id}", f"rightfoot/batch/{batch_id}/completed"])
