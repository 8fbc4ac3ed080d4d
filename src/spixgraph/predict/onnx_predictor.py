"""The one door to onnxruntime."""

import contextlib
import ctypes
import io
import logging
import sys
from pathlib import Path
from typing import Any, Literal

import onnxruntime as ort

from spixgraph.arrays import Array, Float32, Int64
from spixgraph.errors import InputError, ResourceError, StoredDataError
from spixgraph.graph.neighbour_table import neighbour_table

log = logging.getLogger(__name__)

Device = Literal["auto", "cpu", "cuda"]
_CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"
_FATAL = 4


class OnnxPredictor:
    """Node logits by an exported network.

    Parameters
    ----------
    model_path : Path
        `model.onnx` of a bundle.
    device : {"auto", "cpu", "cuda"}
        "auto" takes a GPU where one works and else the CPU.
    threads : int, optional
        CPU threads of one prediction; by default one per core.
    gpu_memory_bytes : int, optional
        Most memory that onnxruntime's arena may take on a GPU; by default all there is.
    keeps_memory : bool
        Keep the memory of one prediction for the next, until the predictor is dropped.

    Raises
    ------
    ResourceError
        If "cuda" was asked for and onnxruntime does not give it.
    StoredDataError
        If the file is no ONNX model or wants inputs that a region graph does not have.
    """

    def __init__(
        self,
        model_path: Path,
        *,
        device: Device = "auto",
        threads: int | None = None,
        gpu_memory_bytes: int | None = None,
        keeps_memory: bool = False,
    ) -> None:
        if device not in ("auto", "cpu", "cuda"):
            raise InputError(f"device must be auto, cpu or cuda, got {device!r}")
        if threads is not None and threads < 1:
            raise InputError(f"threads must be >= 1, got {threads}")
        if gpu_memory_bytes is not None and gpu_memory_bytes < 1:
            raise InputError(f"gpu_memory_bytes must be >= 1, got {gpu_memory_bytes}")
        self._path, self._keeps_memory = model_path, keeps_memory
        self._session = _open_session(model_path, device, threads or 0, gpu_memory_bytes)
        self._inputs = [node.name for node in self._session.get_inputs()]
        widths = [node.shape[1] for node in self._session.get_inputs() if node.name == "nbr"]
        self._width = widths[0] if widths else 8
        self.device = "cuda" if _CUDA in self._session.get_providers() else "cpu"

    def for_parts(self) -> "OnnxPredictor":
        """Open the network once more, on the CPU, for many graphs of one size, each in a thread.

        It keeps its memory, since threads that give it back in turns leave holes: the peak of two
        was 1.7 times as high.
        """
        return OnnxPredictor(self._path, device="cpu", threads=1, keeps_memory=True)

    def __call__(self, x: Float32, edge_index: Int64, edge_attr: Float32) -> Float32:
        """Map standardised features to logits; arguments and result as in `outputs`."""
        return self.outputs(x, edge_index, edge_attr)[0]

    def with_weights(
        self, x: Float32, edge_index: Int64, edge_attr: Float32
    ) -> tuple[Float32, Float32]:
        """Map standardised features to logits and pixel weights; see `outputs`.

        Raises
        ------
        StoredDataError
            If the network has no pixel decoder.
        """
        outputs = self.outputs(x, edge_index, edge_attr)
        if len(outputs) < 2:
            raise StoredDataError("the ONNX model gives no pixel weights; export the model again")
        return outputs[0], outputs[1]

    def outputs(self, x: Float32, edge_index: Int64, edge_attr: Float32) -> tuple[Float32, ...]:
        """Map standardised features to all that the network says.

        Parameters
        ----------
        x : (n, F) float32
        edge_index : (2, E) int64
            (source, target), sorted by target.
        edge_attr : (E, D) float32

        Returns
        -------
        logits : (n, K) float32
        pixel_weights : (n, K, P + H) float32
            Of a network with a pixel decoder alone.
        """
        feeds: dict[str, Array] = {"x": x, "edge_attr": edge_attr}
        if not set(self._inputs) <= set(feeds):
            feeds |= neighbour_table(edge_index, len(x), width=self._width).as_inputs()
        if missing := sorted(set(self._inputs) - set(feeds)):
            raise StoredDataError(
                f"the ONNX model wants the inputs {', '.join(missing)}, a region graph has "
                f"{', '.join(feeds)}; export the model again"
            )
        wanted = {name: feeds[name] for name in self._inputs}
        return tuple(self._session.run(None, wanted, _run_options(self._keeps_memory)))


class OnnxContext:
    """Class values of cells by an exported network of the overview; errors as of `OnnxPredictor`.

    The `spixgraph.predict.context.ContextPredictor` of a bundle.
    """

    def __init__(
        self,
        model_path: Path,
        *,
        device: Device = "auto",
        threads: int | None = None,
        gpu_memory_bytes: int | None = None,
    ) -> None:
        self._session = _open_session(model_path, device, threads or 0, gpu_memory_bytes)

    def __call__(self, cells: Float32) -> Float32:
        """Map standardised (C, rows, columns) to (K, rows, columns) logits."""
        logits: Float32 = self._session.run(None, {"cells": cells[None]}, _run_options())[0][0]
        return logits


def _run_options(keeps_memory: bool = False) -> Any:
    """Give the memory of a run back at its end: the arena would keep that of every shape."""
    options = ort.RunOptions()
    if not keeps_memory:
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options


def _open_session(path: Path, device: Device, threads: int, gpu_memory_bytes: int | None) -> Any:
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    if device == "cpu" or (device == "auto" and not _gpu_is_there()):
        return _session(path, [_CPU], threads)
    why = _preload_cuda()
    session = _session(path, [(_CUDA, cuda_options(gpu_memory_bytes)), _CPU], threads)
    if _CUDA in session.get_providers():
        return session
    if device == "cuda":
        raise ResourceError(
            f"device cuda was asked for, but onnxruntime {ort.__version__} does not give it "
            f"({why or 'no usable NVIDIA GPU'}); use --device cpu, or install a GPU driver and "
            "onnxruntime-gpu[cuda,cudnn]"
        )
    log.warning("a GPU is there but onnxruntime cannot use it (%s); using the CPU", why)
    return session


def cuda_options(gpu_memory_bytes: int | None) -> dict[str, str]:
    """Return the options of the CUDA provider.

    Graphs differ in size, and an arena that grows by powers of two would take up to twice what the
    largest needs; one with a limit would then fail below it.
    """
    options = {"arena_extend_strategy": "kSameAsRequested"}
    if gpu_memory_bytes is not None:
        options["gpu_mem_limit"] = str(gpu_memory_bytes)
    return options


def _session(path: Path, providers: list[Any], threads: int) -> Any:
    """Open with the arena, which saves two thirds of the memory of a run and a third of its time.

    Measured against none on 40,000 nodes, 8 layers of 64. Threads that wait do not spin.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    ort.set_default_logger_severity(_FATAL)  # a failed provider prints to stderr; we raise instead
    try:
        return ort.InferenceSession(path, options, providers=providers, enable_fallback=0)
    except Exception as error:  # onnxruntime's errors share no public base class
        first_line = str(error).splitlines()[0]
        raise StoredDataError(f"{path} cannot be opened as an ONNX model: {first_line}") from error


def _gpu_is_there() -> bool:
    """Ask the driver, since onnxruntime lists CUDA on every machine."""
    if _CUDA not in ort.get_available_providers():
        return False
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 < count.value


def _preload_cuda() -> str:
    """Load the CUDA libraries from their wheels; return what onnxruntime printed about failures."""
    printed = io.StringIO()
    if hasattr(ort, "preload_dlls"):
        with contextlib.redirect_stdout(printed):
            ort.preload_dlls()
    return printed.getvalue().strip().partition("\n")[0]
