"""The payment API. It must pay once for each idempotency key, however often it is called. Replace it by yours."""

import json
import os
from urllib.request import Request, urlopen


def pay(idempotency_key, to):
    headers = {"content-type": "application/json", "idempotency-key": idempotency_key}
    request = Request(os.environ["PAYMENTS_URL"], json.dumps({"to": to}).encode(), headers)
    with urlopen(request, timeout=10):  # raises an error for 4xx and 5xx
        pass
