"""The simulated Rightfoot of `local rightfoot`, in a process of its own."""

import json
import subprocess
import urllib.request
from pathlib import Path

API_KEY = "e2e-rightfoot-api-key"


class RightfootSimulator:
    """Its day takes `day_secs`, so that a daily schedule runs within a test. With a fixed seed, its ids are those of the recorded
    events.
    """

    def __init__(self, local: Path, log: Path, lost_webhooks_pct: int, processing_secs: int = 2, day_secs: int = 60,
                 bind: str | None = None):
        command = [local, "rightfoot", "--port", "0", "--api-key", API_KEY, "--lose-webhooks", str(lost_webhooks_pct),
                   "--processing-secs", str(processing_secs), "--schedule-day-secs", str(day_secs), "--seed", "1"]
        if bind:
            command += ["--bind", bind]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log.open("wb"), text=True)
        self.url = self._process.stdout.readline().split()[-1]

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=10)

    def balances(self, batch_id: str) -> list[dict]:
        """The first page of the batch's balances, from its API."""
        return self._call(f"/v1/balances?batchId={batch_id}&limit=100")["balances"]

    def create_schedule(self, name: str, webhook_url: str, threshold: float) -> None:
        """Creates a daily schedule of `user-1` through its API, so that Balance Inbox does not know it."""
        schedule = {"name": name, "webhook": webhook_url, "interval_days": 1, "threshold_amount": threshold,
                    "authorizers": [authorizer("user-1")]}
        assert "schedule_id" in self._call("/v1/monitoring/scheduled_balance_request", json.dumps(schedule).encode())

    def _call(self, path: str, body: bytes | None = None) -> dict:
        headers = {"authorization": f"Bearer {API_KEY}", "content-type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(self.url + path, body, headers), timeout=10) as response:
            return json.load(response)


def authorizer(name: str) -> dict[str, str]:
    return {"authorizer_unique_id": name, "first_name": "Jane", "last_name": "Doe", "phone_number": "5551234567",
            "ssn": "078051120", "account_number": "000123456789", "routing_number": "021000021"}
