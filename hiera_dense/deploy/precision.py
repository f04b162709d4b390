"""An exported model in float16 or int8: a smaller file, at some cost in accuracy."""

import re
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from hiera_dense.deploy.classifier import comparison
from hiera_dense.errors import InputError, SetupError, shown
from hiera_dense.predict.found import Array
from hiera_dense.predict.onnx_model import OnnxModel

Precision = Literal["float32", "float16", "int8"]

# Models of which small errors choose other queries: int8 is written with a measurement only.
QUERY_MODELS = ("DINO", "Mask2Former")

_PRODUCTS = ("Conv", "ConvTranspose", "MatMul", "Gemm")
_QUANTIZED = ("Conv", "MatMul", "Gemm")
# Of these the other inputs are coordinates, which float16 holds to 0.5 px from 512 px on.
_SAMPLERS = ("RoiAlign", "GridSample")
# Kept in float32 beside what onnxruntime always keeps: of coordinates and of scores.
_FLOAT32 = ("GridSample", "Sin", "Cos", "Log", "Exp", "Sigmoid")
# Modules of DINO and Mask2Former whose outputs are coordinates, or scores that queries go by.
_FINE = re.compile(
    r"model\.bbox_head\.|memory_trans_fc|ref_point_head|sampling_offsets|attention_weights|"
    r"\b(cls|mask)_embed\b"
)
_IOU, _SCORE = 0.9, 0.1  # with which objects match


def lower(source: Path, target: Path, precision: Precision, images: Iterable[Array] = ()) -> None:
    """Write a file of ours with another precision.

    Args:
        source: In float32.
        target: The file to write.
        precision: `float16` or `int8`.
        images: To calibrate int8 with, as the model's `read` gives them.

    Raises:
        SetupError: onnxruntime does not convert it, or does not load what it made.
    """
    import onnx

    try:
        is_half = precision == "float16"
        model = _float16(onnx.load(source)) if is_half else _int8(source, images)
        meta = onnx.load(source, load_external_data=False).metadata_props
        del model.metadata_props[:]
        model.metadata_props.extend(meta)
        onnx.save(model, target)
        OnnxModel(target)
    except (InputError, OSError):  # OSError: no room, which `whole_file` reports
        raise
    except Exception as error:  # of many kinds, none of which onnxruntime documents
        raise SetupError(
            f"{precision}: onnxruntime does not convert this model ({type(error).__name__}: "
            f"{shown(str(error))}); expected float32"
        ) from error


class Cost:
    """What a lower precision changes, on the same images: objects or labels, time and size.

    Args:
        source: The file in float32.
        target: The other file.
        images: To compare on.
    """

    def __init__(self, source: Path, target: Path, images: Sequence[Array]) -> None:
        models = OnnxModel(source), OnnxModel(target)
        self.sizes = [path.stat().st_size / 1e6 for path in (source, target)]
        self.compared = comparison(models[0].task, "float32's", _IOU, _SCORE)
        self.seconds = [0.0, 0.0]
        for image in images:
            results = []
            for i, model in enumerate(models):
                model([image])  # the first time of a size, onnxruntime allocates
                start = time.perf_counter()
                results += model([image])
                self.seconds[i] += (time.perf_counter() - start) / len(images)
            self.compared.add(results[1], results[0])

    def __str__(self) -> str:
        """In words."""
        size, before = self.sizes[1], self.sizes[0]
        slow, fast = self.seconds[1], self.seconds[0]
        kind = "slower" if slow > fast else "faster"
        return (
            f"{self.compared}; {size:.0f} MB in place of {before:.0f}; {slow:.2f} s for an image "
            f"on this CPU in place of {fast:.2f} ({kind})"
        )


def _float16(model: Any) -> Any:
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    network = network_nodes(model)
    return convert_float_to_float16(
        model,
        keep_io_types=True,
        op_block_list=[*DEFAULT_OP_BLOCK_LIST, *_FLOAT32],
        node_block_list=[node.name for node in model.graph.node if node.name not in network],
    )


def _int8(source: Path, images: Iterable[Array]) -> Any:
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        prepared, quantized = Path(folder) / "prepared.onnx", Path(folder) / "quantized.onnx"
        # Symbolic shape inference does not know all operators of detectors, and is not needed.
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        model = onnx.load(prepared)
        fine = fine_layers(onnx.load(source, load_external_data=False))
        names = [
            node.name
            for node in weighted(model)
            if node.op_type in _QUANTIZED and node.name.split("/")[0] not in fine
        ]
        quantize_static(
            prepared,
            quantized,
            _Reader(OnnxModel(source), images),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_QUANTIZED),
            nodes_to_quantize=names,
            per_channel=True,
            calibrate_method=CalibrationMethod.MinMax,
        )
        return onnx.load(quantized)


class _Reader:
    """The images to calibrate with, one after the other, as onnxruntime asks for them."""

    def __init__(self, model: OnnxModel, images: Iterable[Array]) -> None:
        self._inputs = (model.inputs(image) for image in images)

    def get_next(self) -> dict[str, Array] | None:
        """The next one; None: there are no more."""
        return next(self._inputs, None)

    def __iter__(self) -> Iterator[dict[str, Array]]:
        return self._inputs


def weighted(model: Any) -> list[Any]:
    """The nodes that multiply features with weights: layers, but not attention itself."""
    weights = {value.name for value in model.graph.initializer}
    return [
        node
        for node in model.graph.node
        if node.op_type in _PRODUCTS and any(name in weights for name in node.input)
    ]


def fine_layers(model: Any) -> set[str]:
    """The names of nodes that stay float32: of layers that give coordinates and choose queries.

    The exporter keeps with each node the names of its modules; onnxruntime drops these when it
    fuses nodes, but the name of the first one stays.
    """
    return {
        node.name
        for node in model.graph.node
        for prop in node.metadata_props
        if prop.key.endswith("name_scopes") and _FINE.search(prop.value)
    }


def network_nodes(model: Any) -> set[str]:
    """The names of nodes from the first layer of a network to its last layers.

    Preprocessing is before them; boxes, scores and what is resized to the image come after them.
    Coordinates at which features are sampled are none of them either.
    """
    layers = weighted(model)
    before = _reached(model, layers, is_backwards=True)
    return before & _reached(model, layers, is_backwards=False)


def _reached(model: Any, layers: Sequence[Any], is_backwards: bool) -> set[str]:
    ends: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.output if is_backwards else _features(node):
            ends.setdefault(name, []).append(node)
    found: set[str] = set()
    waiting = list(layers)
    while waiting:
        node = waiting.pop()
        if node.name not in found:
            found.add(node.name)
            for name in _features(node) if is_backwards else node.output:
                waiting += ends.get(name, [])
    return found


def _features(node: Any) -> list[str]:
    """The inputs of a node, but not coordinates."""
    return list(node.input[:1] if node.op_type in _SAMPLERS else node.input)
