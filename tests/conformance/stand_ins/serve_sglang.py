"""SGLang Diffusion's own video routes over a stand-in for its scheduler and GPU workers.

Run with the environment of `sglang`: `python -m tests.conformance.stand_ins.serve_sglang PORT FOLDER`.
"""

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import uvicorn
from fastapi import FastAPI
from PIL import Image

from tests.conformance.stand_ins.engine import EngineFault, record, render
from tests.conformance.stand_ins.missing import bare, stub
from tests.conformance.stand_ins.seen import seen

stub(
    *("IPython", "addict", "cache_dit", "dateutil", "diffusers", "einops", "huggingface_hub", "imageio"),
    *("imageio_ffmpeg", "safetensors", "torch", "torchvision", "tqdm", "transformers", "triton"),
    *("sglang.kernels", "sglang.srt"),
    *(f"sglang.multimodal_gen.runtime.{part}" for part in ("layers", "loader", "models", "pipelines")),
)
bare("sglang")

from sglang.multimodal_gen.configs.pipeline_configs.wan import (  # noqa: E402
    WanI2V480PConfig,
    WanT2V480PConfig,
)
from sglang.multimodal_gen.runtime import scheduler_client  # noqa: E402
from sglang.multimodal_gen.runtime.entrypoints.openai import video_api  # noqa: E402
from sglang.multimodal_gen.runtime.entrypoints.openai.video_progress import apply_progress  # noqa: E402
from sglang.multimodal_gen.runtime.pipelines_core.schedule_batch import OutputBatch  # noqa: E402
from sglang.multimodal_gen.runtime.server_args import server_args  # noqa: E402

MODEL = "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"
# A model that refuses a request without a picture.
PICTURES_MODEL = "Wan-AI/Wan2.1-I2V-14B-480P-Diffusers"


class _Scheduler:
    """Where the routes send a request to be rendered."""

    async def forward(self, batches: list[Any]) -> OutputBatch:
        """The file that a worker would have written, or its error."""
        (request,) = batches
        video = request.sampling_params.request_id
        record(
            "create",
            video,
            prompt=request.prompt,
            size=f"{request.width}x{request.height}",
            seconds=round(request.num_frames / request.fps),
            picture=_picture(request.image_path),
        )
        await apply_progress(video, 10)
        try:
            clip = await render(video, request.prompt)
        except EngineFault as fault:
            return OutputBatch(error=str(fault))
        path = Path(request.output_file_path())
        path.write_bytes(clip)
        return OutputBatch(output_file_paths=[str(path)])


def _picture(paths: str | list[str] | None) -> str:
    """What their routes have saved of a picture, or ""."""
    if not paths:
        return ""
    (path,) = [paths] if isinstance(paths, str) else paths
    with Image.open(path) as image:
        return seen(image)


def app(folder: Path, model: str) -> FastAPI:
    """Their router, in an application of ours."""
    pipeline = WanI2V480PConfig() if model == PICTURES_MODEL else WanT2V480PConfig()
    server_args._global_server_args = SimpleNamespace(
        model_path=model,
        model_id=None,
        served_model_name=model,
        backend=None,
        pipeline_class_name=None,
        pipeline_config=pipeline,
        num_gpus=1,
        output_path=str(folder),
        input_save_path=str(folder),
        attention_backend_config=None,
        batching_max_size=1,
        comfyui_mode=False,
        enable_trace=False,
    )
    scheduler_client.async_scheduler_client.forward = _Scheduler().forward
    made = FastAPI()
    made.include_router(video_api.router)
    return made


if __name__ == "__main__":
    served = os.environ.get("CONFORMANCE_MODEL", MODEL)
    uvicorn.run(app(Path(sys.argv[2]), served), host="127.0.0.1", port=int(sys.argv[1]), log_level="info")
