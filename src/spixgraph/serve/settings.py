"""Settings of the service, from the environment; a wrong one is an error before the start."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from spixgraph.errors import InputError
from spixgraph.serve.jobs.places import require_remote_root

if TYPE_CHECKING:  # importing it imports onnxruntime
    from spixgraph.predict.onnx_predictor import Device

_DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """What an operator decides.

    Attributes
    ----------
    max_body_bytes : int
        Largest request.
    device : {"auto", "cpu", "cuda"}
        "cuda" refuses to start without a usable GPU.
    keys : Path, optional
        File of hashed API keys; without one everybody may ask.
    roots : tuple of Path
        Folders below which jobs may name images.
    remote_roots : tuple of str
        Addresses (`https://`, `s3://`) below which jobs may name OME-Zarr images.
    state : Path, optional
        Where jobs and their results lie; without one they end with the service.
    samples : Path, optional
        Folder of images that the page offers.
    queue : int
        Requests for a segmentation that may be uploading, waiting or running.
    max_jobs : int
        Jobs that may wait.
    max_job_pixels : int
        Most pixels of the image of a job.
    timeout_s : float
        Of one request for a segmentation, waiting included.
    body_timeout_s : float
        Longest pause between two pieces of a body.
    idle_timeout_s : float
        Longest time until the head of a request is whole, and in which a client reads nothing of
        its answer.
    max_memory_bytes : int, optional
        Predicted peak that one image may have; by default what the machine has free.
    gpu_memory_bytes : int, optional
        Most memory that onnxruntime may take on the GPU, in the service and again in a job.
    keep_hours : float
        How long the result of a job is kept.
    """

    max_body_bytes: int = 256_000_000
    device: "Device" = "auto"
    keys: Path | None = None
    roots: tuple[Path, ...] = ()
    remote_roots: tuple[str, ...] = ()
    state: Path | None = None
    samples: Path | None = None
    queue: int = 16
    max_jobs: int = 100
    max_job_pixels: int = 20_000_000_000
    timeout_s: float = 600.0
    body_timeout_s: float = 30.0
    idle_timeout_s: float = 30.0
    max_memory_bytes: int | None = None
    gpu_memory_bytes: int | None = None
    keep_hours: float = 168.0


def read_settings(environment: Mapping[str, str] | None = None) -> ServeSettings:
    """Read `SPIXGRAPH_*`; what is not set has its default.

    Raises
    ------
    InputError
        If a value is no number > 0, a device is unknown, or a file or folder does not exist.
    """
    env = os.environ if environment is None else environment
    plain = ServeSettings()
    return ServeSettings(
        max_body_bytes=round(_number(env, "MAX_BODY_MB", plain.max_body_bytes / 1e6) * 1e6),
        device=_device(env.get("SPIXGRAPH_DEVICE", plain.device)),
        keys=_file(env, "KEYS"),
        roots=_folders(env, "ROOTS"),
        remote_roots=tuple(
            require_remote_root(root) for root in env.get("SPIXGRAPH_REMOTE_ROOTS", "").split()
        ),
        state=Path(env["SPIXGRAPH_STATE"]) if env.get("SPIXGRAPH_STATE") else None,
        samples=next(iter(_folders(env, "SAMPLES")), None),
        queue=round(_number(env, "QUEUE", plain.queue)),
        max_jobs=round(_number(env, "MAX_JOBS", plain.max_jobs)),
        max_job_pixels=round(_number(env, "MAX_JOB_MP", plain.max_job_pixels / 1e6) * 1e6),
        timeout_s=_number(env, "TIMEOUT_S", plain.timeout_s),
        body_timeout_s=_number(env, "BODY_TIMEOUT_S", plain.body_timeout_s),
        idle_timeout_s=_number(env, "IDLE_TIMEOUT_S", plain.idle_timeout_s),
        max_memory_bytes=_bytes(env, "MAX_MEMORY_MB"),
        gpu_memory_bytes=_bytes(env, "GPU_MEMORY_MB"),
        keep_hours=_number(env, "KEEP_HOURS", plain.keep_hours),
    )


def _number(env: Mapping[str, str], name: str, default: float) -> float:
    text = env.get(f"SPIXGRAPH_{name}", str(default))
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e12:
        raise InputError(f"SPIXGRAPH_{name} must be a number > 0, got {text!r}")
    return value


def _bytes(env: Mapping[str, str], name: str) -> int | None:
    return round(_number(env, name, 0) * 1e6) if f"SPIXGRAPH_{name}" in env else None


def _device(text: str) -> "Device":
    if text not in _DEVICES:
        raise InputError(f"SPIXGRAPH_DEVICE must be auto, cpu or cuda, got {text!r}")
    return cast("Device", text)


def _file(env: Mapping[str, str], name: str) -> Path | None:
    text = env.get(f"SPIXGRAPH_{name}")
    if not text:
        return None
    if not Path(text).is_file():
        raise InputError(f"SPIXGRAPH_{name}={text} is not a file; make it first")
    return Path(text).resolve()


def _folders(env: Mapping[str, str], name: str) -> tuple[Path, ...]:
    """Read folders separated as in PATH; symbolic links in a root itself are the operator's."""
    texts = [text for text in env.get(f"SPIXGRAPH_{name}", "").split(os.pathsep) if text]
    for text in texts:
        if not Path(text).is_dir():
            raise InputError(f"SPIXGRAPH_{name} names {text}, which is not a folder; make it first")
    return tuple(Path(text).resolve() for text in texts)
