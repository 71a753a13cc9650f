"""One server and the Take One in front of it, for as long as its cases run."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.conformance.litellm_proxy import LiteLLM
from tests.conformance.servers import Server, StandIn
from tests.conformance.simulated import Simulator
from tests.conformance.takeone import TakeOne
from upstreams.client.dialects import DIALECTS

_SGLANG_MODEL: Final = "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"
_SGLANG_PICTURES_MODEL: Final = "Wan-AI/Wan2.1-I2V-14B-480P-Diffusers"
_VLLM_OMNI_MODEL: Final = "Wan-AI/Wan2.2-T2V-A14B-Diffusers"
_NO_MODEL: Final = "no-such-model"


@dataclass
class Trial:
    """What a case works with."""

    server: Server
    takeone: TakeOne
    folder: Path

    @property
    def knows_prompts(self) -> bool:
        """Whether the server's list shows what a video was asked for."""
        return bool(DIALECTS[self.server.dialect].echoes)

    @property
    def forgets(self) -> bool:
        """Whether the server forgets its videos if it restarts."""
        return isinstance(self.server, StandIn)

    def ask(self, prompt: str) -> str:
        """Ask for a video; the job's id."""
        return self.takeone.caller.ask_for(prompt)

    def paid_once(self, prompt: str) -> None:
        """Fails unless the server accepted exactly one create with this prompt."""
        paid = self.server.paid(prompt)
        assert paid == 1, f"paid {paid} times"

    @contextmanager
    def refusing(self) -> Iterator[TakeOne]:
        """Another Take One, whose requests the server refuses: another model, or one that wants a picture."""
        with ExitStack() as stack:
            server, model = self.server, _NO_MODEL
            if server.name == "sglang":
                server, model = self._sglang_for_pictures(stack, "refusing-server"), ""
            other = TakeOne(server, self.folder / "refused", model)
            stack.callback(other.stop)
            other.start()
            yield other

    @contextmanager
    def taking_pictures(self) -> Iterator[TakeOne]:
        """A Take One whose server takes pictures: SGLang serves another model for that."""
        if self.server.name != "sglang":
            yield self.takeone
            return
        with ExitStack() as stack:
            server = self._sglang_for_pictures(stack, "pictures-server")
            other = TakeOne(server, self.folder / "pictures")
            stack.callback(other.stop)
            other.start()
            yield other

    def _sglang_for_pictures(self, stack: ExitStack, name: str) -> StandIn:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        server = _sglang(folder, _SGLANG_PICTURES_MODEL)
        stack.callback(server.stop)
        server.start()
        return server


@contextmanager
def trial_of(server: Server, folder: Path) -> Iterator[Trial]:
    """This server and a Take One in front of it, both running; they are ended."""
    with ExitStack() as stack:
        stack.callback(server.end)
        server.start()
        takeone = TakeOne(server, folder / "takeone")
        stack.callback(takeone.stop)
        takeone.start()
        yield Trial(server, takeone, folder)


def _sglang(folder: Path, model: str = _SGLANG_MODEL) -> StandIn:
    settings = {"CONFORMANCE_MODEL": model}
    return StandIn(
        name="sglang", dialect="sglang", model=model, folder=folder, module="serve_sglang", settings=settings
    )


def _vllm_omni(folder: Path) -> StandIn:
    return StandIn(
        name="vllm-omni",
        dialect="vllm-omni",
        model=_VLLM_OMNI_MODEL,
        folder=folder,
        module="serve_vllm_omni",
    )


def _litellm(folder: Path) -> LiteLLM:
    return LiteLLM(
        name="litellm", dialect="litellm", model="sora-2", folder=folder, simulator=Simulator(folder=folder)
    )


SERVERS: Final[Mapping[str, Callable[[Path], Server]]] = {
    "litellm": _litellm,
    "sglang": _sglang,
    "vllm-omni": _vllm_omni,
}
