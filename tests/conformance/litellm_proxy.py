"""LiteLLM's proxy as it is, in front of Take One's simulator."""

from dataclasses import dataclass
from typing import Any

from tests.conformance.environments import installed
from tests.conformance.servers import FAULT, KEY, Server
from tests.conformance.simulated import Simulator

_CONFIGURATION = """\
model_list:
  - model_name: sora-2
    litellm_params:
      model: openai/sora-2
      api_base: {upstream}
      api_key: a-key
general_settings:
  master_key: {key}
"""
_NO_RETRIES = """\
litellm_settings:
  num_retries: 0
router_settings:
  num_retries: 0
"""


@dataclass(kw_only=True)
class LiteLLM(Server):
    """The proxy. `retries` leaves its own setting as it is, so that it repeats what fails."""

    simulator: Simulator
    retries: bool = False

    def start(self) -> None:
        """Start the proxy and wait until it answers."""
        if self.simulator.program is None:
            self.simulator.start()
        configuration = self.folder / ("retries.yaml" if self.retries else "proxy.yaml")
        text = _CONFIGURATION.format(upstream=self.simulator.url, key=KEY)
        configuration.write_text(text if self.retries else text + _NO_RETRIES)
        script = str(installed(self.name).parent / "litellm")
        arguments = [script, "--config", str(configuration), "--host", "127.0.0.1", "--port", str(self.port)]
        settings = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"}
        self._run(arguments, settings, "/health/liveliness", self.folder)

    def end(self) -> None:
        """End the proxy and the simulator."""
        self.stop()
        self.simulator.end()

    def failing(self, prompt: str) -> str:
        """The simulator fails the next render."""
        error = {"code": "server_error", "message": FAULT}
        self.simulator.arm(operation="create", fault="failed", times=1, error=error)
        return prompt

    def entries(self) -> list[dict[str, Any]]:
        """The simulator's ledger."""
        return self.simulator.entries()
