"""The functions in Docker, run by the SAM CLI with the unmodified template, against `local`. `.ci/sam-local` prepares Docker for these
tests.
"""

import json
from collections.abc import Iterator

import pytest

from invocations import recorded_events
from invocations.sam_local import Api, SamLocal, bridge_address
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


@pytest.fixture
def api(world: World) -> Iterator[Api]:
    api = world.functions.start_api()
    yield api
    api.stop()


def test_start_api_answers_fynapse(world: World, api: Api) -> None:
    body = extract_body(event_id := new_id())
    url, headers = f"http://127.0.0.1:{api.port}/webhooks/fynapse", signature_headers(body, FYNAPSE_SECRET)
    assert deliver_twice(api, url, headers, body) == [(200, {"status": "received"}), (200, {"status": "duplicate"})]
    assert [message["id"] for message in world.messages()] == [f"fynapse/event/{event_id}"]


def test_start_api_answers_rightfoot(world: World, api: Api) -> None:
    url = world.functions.invoke("rightfoot-requests-webhook-url")["webhook_url"]
    body = completion_body(batch_id := new_id())
    assert deliver_twice(api, url, {}, body) == [(200, {"status": "received"}), (200, {"status": "duplicate"})]
    assert [message["id"] for message in world.messages()] == [f"rightfoot/batch/{batch_id}/completed"]


def deliver_twice(api: Api, url: str, headers: dict[str, str], body: bytes) -> list[tuple[int, dict]]:
    responses = [send_request(api.port, "POST", url, {**JSON, **headers}, body) for _ in range(2)]
    return [(response.status, json.loads(response.body)) for response in responses]
