"""Webhook requests in the form that the providers document. They are signed with Python's standard library alone, so that an error
in the code under test is not repeated here.
"""

import base64
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
class Response:
    status: int
    body: str
    headers: dict[str, str]

    @property
    def status_and_body(self) -> tuple[int, str]:
        return self.status, self.body


def send_request(port: int, method: str, url: str, headers: dict[str, str], body: bytes | None) -> Response:
    """Sends the request to this port of the machine, with the URL's host in the Host header, because not every resolver knows the
    names under `.localhost`.
    """
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, parts.path, body=body, headers={**headers, "host": parts.netloc})
        response = connection.getresponse()
        return Response(response.status, response.read().decode(), dict(response.getheaders()))
    finally:
        connection.close()


def extract_body(event_id: str, **data) -> bytes:
    """The body of a Fynapse delivery of the type `balance.extracted`."""
    return json.dumps(
        {
            "event_id": event_id,
            "event_type": "balance.extracted",
            "metadata": {},
            "event_timestamp": "2026-01-02T03:04:05Z",
            "data": {"amount": 150.25, **data},
        }
    ).encode()


def signature_headers(body: bytes, secret: str, signed_at: float | None = None) -> dict[str, str]:
    """Fynapse's headers. `signed_at` is in Unix seconds, now by default."""
    timestamp = str(int(time.time() if signed_at is None else signed_at))
    mac = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {"webhook-signature": f"t={timestamp},v1={mac}", "idempotency-key": str(uuid.uuid4())}


def url_token(subject: str, key: str) -> str:
    """The token of a Rightfoot webhook URL, made as infra/local/README.md shows."""
    mac = hmac.new(key.encode(), f"rightfoot-webhook-url/v1:{subject}".encode(), hashlib.sha256).digest()
    return f"{subject}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


def completion_body(batch_id: str) -> bytes:
    """The body of a Rightfoot delivery about a complete batch."""
    return json.dumps(
        {"event_uuid": str(uuid.uuid4()), "type": "BALANCE_BATCH_COMPLETED", "batch_id": batch_id}
    ).encode()


def new_id() -> str:
    return str(uuid.uuid4())
