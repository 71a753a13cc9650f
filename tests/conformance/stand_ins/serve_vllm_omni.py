"""vLLM-Omni's own routes over a stand-in for its engine.

Run with the environment of `vllm-omni`: `python -m tests.conformance.stand_ins.serve_vllm_omni PORT FOLDER`.
"""

import asyncio
import os
import sys
from typing import Any

import uvicorn
from fastapi import FastAPI

from tests.conformance.stand_ins.engine import record, render
from tests.conformance.stand_ins.missing import bare, stub
from tests.conformance.stand_ins.seen import seen

stub(
    *(
        "jinja2",
        "omegaconf",
        "openai",
        "prettytable",
        "prometheus_client",
        "soundfile",
        "torch",
        "torchaudio",
    ),
    *("transformers", "vllm"),
    *(f"vllm_omni.{part}" for part in ("core", "data_entry_keys", "diffusion", "distributed", "engine")),
    *(f"vllm_omni.{part}" for part in ("model_executor", "platforms", "worker")),
    *(f"vllm_omni.config.{part}" for part in ("config_factory", "omni_config", "stage_config")),
    *(f"vllm_omni.entrypoints.{part}" for part in ("async_omni", "utils")),
)
bare("vllm_omni")
bare("vllm_omni.config")
os.environ["VLLM_OMNI_SERVER_STORAGE__PATH"] = sys.argv[2]

from vllm_omni.entrypoints.openai import api_server, serving_video  # noqa: E402

MODEL = "Wan-AI/Wan2.2-T2V-A14B-Diffusers"
# Theirs is in a module that a stub replaces.
_ABORT_SECONDS = 2.0


class _Engine:
    """Stops a render when it is told to."""

    def __init__(self) -> None:
        self.running: dict[str, asyncio.Task[bytes]] = {}

    async def abort(self, request_id: str, timeout: float) -> None:
        """End the render of this request, if it runs."""
        if task := self.running.get(request_id):
            task.cancel()


class _Handler(serving_video.OmniOpenAIServingVideo):
    """Their handler, but for the step that runs the engine."""

    async def _run_and_extract(
        self, request: Any, reference_id: str, *, on_started: Any = None, **references: Any
    ) -> serving_video.VideoGenerationArtifacts:
        picture = references.get("reference_image")
        record(
            "create",
            reference_id,
            prompt=request.prompt,
            model=request.model,
            size=request.size,
            seconds=request.seconds,
            picture=seen(picture.data) if picture else "",
        )
        await on_started()
        task = asyncio.create_task(render(reference_id, request.prompt))
        self._engine_client.running[reference_id] = task
        clip = await task
        return serving_video.VideoGenerationArtifacts(
            videos=[clip],
            audios=[None],
            actions=[None],
            audio_sample_rate=0,
            output_fps=8.0,
            stage_durations={},
            peak_memory_mb=0.0,
        )


def app() -> FastAPI:
    """Their router, in an application of ours."""
    api_server.VIDEO_ABORT_TIMEOUT_S = serving_video.ABORT_TIMEOUT_S = _ABORT_SECONDS
    made = FastAPI()
    made.include_router(api_server.router)
    made.state.api_server_count = 1
    made.state.openai_serving_video = _Handler.for_diffusion(_Engine(), model_name=MODEL)
    return made


if __name__ == "__main__":
    uvicorn.run(app(), host="127.0.0.1", port=int(sys.argv[1]), log_level="info")
