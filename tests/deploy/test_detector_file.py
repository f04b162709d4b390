"""Mask R-CNN as a file: beside PyTorch, without torch, in float16 and int8."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hiera_dense import Predictor
from hiera_dense.deploy import check, precision
from hiera_dense.mm.trained import read_trained
from hiera_dense.predict.hosts import HostModel
from hiera_dense.predict.onnx_model import OnnxModel

Of = Callable[[str], Path]
KIND = "mask-rcnn"  # of support/small_models.py
pytestmark = pytest.mark.slow


def test_a_file_finds_what_pytorch_finds(exported: Of, compared: Callable) -> None:
    sums = compared(KIND, exported(KIND))
    assert sums.is_equal, str(sums)
    assert sums.mask > 0.99


def test_a_wrong_graph_is_refused(
    exported: Of, compared: Callable, resizing_wrongly: Callable
) -> None:
    assert not compared(KIND, resizing_wrongly(exported(KIND))).is_equal


def test_a_file_runs_without_torch_and_the_hosts(exported: Of, runs_alone: Callable) -> None:
    assert runs_alone(exported(KIND)) == []


def test_an_image_without_objects(exported: Of) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(exported(KIND))
    assert Predictor(exported(KIND))(np.zeros((40, 50, 3), np.uint8), score=1.0).counts == {}
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
    assert not model.functions


# Objects of random weights are harder than those of trained ones: the scores of all classes are
# nearly the same, and masks are near 0.5.
@pytest.mark.parametrize(("name", "share"), [("float16", 0.85), ("int8", 0.7)])
def test_a_smaller_file_finds_nearly_the_same(
    name: str, share: float, exported: Of, lowered: Callable, nearly: Callable
) -> None:
    sums = nearly(exported(KIND), lowered(exported(KIND), name))
    assert sums.share >= share, str(sums)


def test_layers_alone_become_int8(exported: Of, lowered: Callable) -> None:
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(lowered(exported(KIND), "int8")).graph
    dequantized = {
        name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output
    }
    kinds = {n.op_type for n in graph.node if dequantized.intersection(n.input)}
    assert {"Conv", "MatMul", "Gemm"} <= kinds
    weights = [value for value in graph.initializer if value.data_type == onnx.TensorProto.INT8]
    scales = {node.input[0]: node.input[1] for node in graph.node if len(node.input) == 3}
    lengths = {value.name: value.dims for value in graph.initializer}
    of_channels = [w for w in weights if list(lengths.get(scales.get(w.name), [])) not in ([], [1])]
    assert len(of_channels) > 20


def test_boxes_and_scores_stay_float32(exported: Of, lowered: Callable) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(lowered(exported(KIND), "float16"))
    network = precision.network_nodes(model)
    inside = {node.op_type for node in model.graph.node if node.name in network}
    assert {"Conv", "MatMul", "LayerNormalization"} <= inside
    assert not inside & {"NonMaxSuppression", "TopK", "Exp", "Log"}
    half = [v for v in model.graph.initializer if v.data_type == onnx.TensorProto.FLOAT16]
    assert sum(np.prod(v.dims) for v in half) > 0.9 * sum(
        np.prod(v.dims) for v in model.graph.initializer
    )


def test_scores_on_data_are_those_of_pytorch(
    checkpoint: Of, exported: Of, lowered: Callable, toy: Path
) -> None:
    trained = read_trained(checkpoint(KIND))
    data = check.read_data(str(toy / "instances"), "instances", trained.classes)
    files = {"float32": exported(KIND), "float16": lowered(exported(KIND), "float16")}
    models = {name: OnnxModel(path) for name, path in files.items()}
    lines = check.check(data, HostModel(trained, "cpu"), models).splitlines()
    assert lines[1].split() == ["PyTorch", "float32", "float16"]
    assert [line[:7].strip() for line in lines[2:]] == ["box AP", "mask AP"]
