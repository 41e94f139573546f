"""Deliveries as the providers make them, signed here once more from their documents, by the standard library alone."""

import hashlib
import hmac
import http.client
import json
import time
import urllib.parse
import uuid
from dataclasses import dataclass

JSON = {"content-type": "application/json"}


@dataclass(frozen=True)
class Answer:
    status: int
    body: str
    headers: dict[str, str]

    @property
    def said(self) -> tuple[int, str]:
        return self.status, self.body


def call(port: int, method: str, url: str, headers: dict[str, str], body: bytes | None) -> Answer:
    """Not every resolver knows the names under `.localhost`: the name goes into the Host header, the call to this machine."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, parts.path, body=body, headers={**headers, "host": parts.netloc})
        answer = connection.getresponse()
        return Answer(answer.status, answer.read().decode(), dict(answer.getheaders()))
    finally:
        connection.close()


def fynapse_event(event_id: str, **data) -> bytes:
    return json.dumps(
        {
            "event_id": event_id,
            "event_type": "balance.extracted",
            "metadata": {},
            "event_timestamp": "2026-01-02T03:04:05Z",
            "data": {"amount": 150.25, **data},
        }
    ).encode()


def signed(body: bytes, secret: str, at: float | None = None) -> dict[str, str]:
    stamp = str(int(time.time() if at is None else at))
    mac = hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {"webhook-signature": f"t={stamp},v1={mac}", "idempotency-key": str(uuid.uuid4())}


def completion(batch_id: str) -> bytes:
    return json.dumps(
        {"event_uuid": str(uuid.uuid4()), "type": "BALANCE_BATCH_COMPLETED", "batch_id": batch_id}
    ).encode()


def new_id() -> str:
    return str(uuid.uuid4())
