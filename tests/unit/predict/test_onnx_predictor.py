import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from spixgraph.errors import InputError, ResourceError, StoredDataError
from spixgraph.predict import onnx_predictor
from spixgraph.predict.onnx_predictor import OnnxPredictor
from tests.toy_bundle import slow_logits, write_toy_onnx

N_FEATURES, N_EDGE_FEATURES = 5, 3


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    write_toy_onnx(path, N_FEATURES, N_EDGE_FEATURES)
    return path


def random_graph(n, n_edges, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, N_FEATURES)).astype(np.float32)
    edges = rng.integers(0, n, (2, n_edges))
    edges = edges[:, np.lexsort(edges)]
    return x, edges, rng.normal(size=(n_edges, N_EDGE_FEATURES)).astype(np.float32)


STAR = (
    random_graph(40, 39)[0],
    np.array([np.arange(1, 40), np.zeros(39, int)]),  # 39 neighbours of one node: surplus rows
    random_graph(40, 39)[2],
)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "graph", [random_graph(1, 0), random_graph(7, 0), random_graph(53, 300), STAR]
)
def test_matches_the_slow_twin(model, graph, threads):
    predictor = OnnxPredictor(model, device="cpu", threads=threads)
    logits = predictor(*graph)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, slow_logits(*graph[:2]), atol=2e-5)


def test_the_form_for_parts_says_the_same_graph_after_graph(model):
    many = OnnxPredictor(model, device="cpu", threads=2)
    one = many.for_parts()
    assert one._session.get_session_options().intra_op_num_threads == 1
    for n in (53, 7, 90, 53):  # in memory that it keeps
        graph = random_graph(n, 6 * n)
        np.testing.assert_allclose(one(*graph), many(*graph), atol=1e-6)


def test_only_the_inputs_of_the_session_are_fed(tmp_path, monkeypatch):
    path = tmp_path / "mlp.onnx"
    save_identity(path, "x")
    monkeypatch.setattr(onnx_predictor, "neighbour_table", None)  # calling it would raise
    x, edges, attr = random_graph(4, 6)
    np.testing.assert_array_equal(OnnxPredictor(path, device="cpu")(x, edges, attr), x)


def test_input_that_no_graph_has_is_refused(tmp_path):
    save_identity(tmp_path / "m.onnx", "wavelets")
    with pytest.raises(StoredDataError, match=r"wants the inputs wavelets.*export"):
        OnnxPredictor(tmp_path / "m.onnx", device="cpu")(*random_graph(3, 2))


def save_identity(path, name):
    shape = ["n", N_FEATURES]
    graph = helper.make_graph(
        [helper.make_node("Identity", [name], ["logits"])],
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)],
    )
    opset = helper.make_opsetid("", 18)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), path)


def test_broken_file_is_stored_data_error(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"not a model")
    with pytest.raises(StoredDataError, match="cannot be opened as an ONNX model"):
        OnnxPredictor(tmp_path / "m.onnx")


def test_missing_file_and_bad_settings(model, tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        OnnxPredictor(tmp_path / "none.onnx")
    with pytest.raises(InputError, match="device must be"):
        OnnxPredictor(model, device="tpu")  # type: ignore[arg-type]  # a bad value on purpose
    with pytest.raises(InputError, match="threads must be >= 1, got 0"):
        OnnxPredictor(model, threads=0)


def test_cuda_asked_for_and_not_given(model):
    if onnx_predictor._gpu_is_there():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ResourceError, match=r"device cuda was asked for.*use --device cpu"):
        OnnxPredictor(model, device="cuda")


def test_auto_falls_back_with_a_warning_when_the_gpu_is_not_usable(model, monkeypatch, caplog):
    monkeypatch.setattr(onnx_predictor, "_CUDA", "NoSuchExecutionProvider")
    monkeypatch.setattr(onnx_predictor, "_gpu_is_there", lambda: True)
    monkeypatch.setattr(onnx_predictor, "_preload_cuda", lambda: "libcublas is missing")
    session = onnx_predictor._session
    monkeypatch.setattr(
        onnx_predictor, "_session", lambda path, providers, n: session(path, providers[-1:], n)
    )
    assert OnnxPredictor(model, device="auto").device == "cpu"
    assert "libcublas is missing" in caplog.text


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_nothing_is_printed(model, device):
    code = (
        "import sys; from pathlib import Path\n"
        "from spixgraph.errors import ResourceError\n"
        "from spixgraph.predict.onnx_predictor import OnnxPredictor\n"
        "try: OnnxPredictor(Path(sys.argv[1]), device=sys.argv[2])\n"
        "except ResourceError: pass\n"
    )
    command = [sys.executable, "-c", code, str(model), device]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""


def test_the_arena_of_a_gpu_grows_by_what_is_asked_for_up_to_the_limit(model):
    assert onnx_predictor.cuda_options(None) == {"arena_extend_strategy": "kSameAsRequested"}
    assert onnx_predictor.cuda_options(2_000_000_000)["gpu_mem_limit"] == "2000000000"
    with pytest.raises(InputError, match="gpu_memory_bytes must be >= 1, got 0"):
        OnnxPredictor(model, gpu_memory_bytes=0)


@pytest.mark.skipif(not onnx_predictor._gpu_is_there(), reason="there is no GPU")
def test_a_gpu_session_has_the_options(model):
    limited = onnx_predictor.cuda_options(2_000_000_000)
    session = OnnxPredictor(model, device="cuda", gpu_memory_bytes=2_000_000_000)._session
    given = session.get_provider_options()["CUDAExecutionProvider"]
    assert limited.items() <= given.items()
