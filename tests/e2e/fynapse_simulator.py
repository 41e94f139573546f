"""The simulated Fynapse of `local`, in a process of its own."""

import json
import urllib.request
from pathlib import Path

from invocations.emulators import FYNAPSE, LocalProcess

CLIENT_ID, CLIENT_SECRET = "local-fynapse-client", "local-fynapse-client-secret"
# It has this subscription from the start.
SUBSCRIPTION_ID = "local-subscription"


class FynapseSimulator:
    """What it delivers goes to its own `local`, so a stack gets no webhook of it."""

    def __init__(self, scratch: Path):
        scratch.mkdir(parents=True, exist_ok=True)
        self._local = LocalProcess(["--memory", "--no-worker", "--no-schedules"], scratch)
        self.url = self._local.addresses[FYNAPSE]

    def stop(self) -> None:
        self._local.stop()

    @property
    def credentials(self) -> str:
        """The value of the secret `fynapse-api-credentials`."""
        return json.dumps({"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET})

    def give_up_a_delivery(self) -> str:
        """Makes an event whose delivery it gives up. Returns the event's id."""
        request = urllib.request.Request(f"{self.url}/simulator/extract-run?events=1&lost=1", method="POST")
        with urllib.request.urlopen(request, timeout=10) as response:
            (event_id,) = json.load(response)["event_ids"]
        return event_id
