"""A whole trained model as one graph: preprocessing, network, what is decoded, and metadata."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

import hiera_dense
from hiera_dense.data.toy import draw_scene
from hiera_dense.deploy.classifier import ClassComparison, ClassGraph, comparison
from hiera_dense.deploy.comparing import Comparison
from hiera_dense.deploy.graph import Detector, Prepare, Segmenter
from hiera_dense.deploy.refusing import require_one_size
from hiera_dense.deploy.steps import class_meta, one_size, steps_of
from hiera_dense.errors import SetupError
from hiera_dense.mm.trained import Trained
from hiera_dense.predict.exported import FORMAT, KEY, ExportedModel
from hiera_dense.predict.found import Array
from hiera_dense.predict.hosts import HostModel
from hiera_dense.weights.origin import origin_of

_TRACED = (601, 669)  # pixels: no side is one window, or whole windows, of usual sizes
_DRAWN = ((320, 320), (240, 400), (401, 283))  # pixels: of images to compare on


class Graph(NamedTuple):
    """A whole model, ready to be written.

    Attributes:
        program: Traced.
        inputs: Names of its inputs.
        outputs: Names of its outputs.
        meta: What the runtime needs to know.
        host: The same model in PyTorch.
    """

    program: ExportedProgram
    inputs: list[str]
    outputs: list[str]
    meta: dict[str, Any]
    host: HostModel


def trace(trained: Trained, opset: int | None = None) -> Graph:
    """Trace a trained model with what stands before and after its network.

    Args:
        trained: What was read from the disk.
        opset: Of ONNX, if that is to be written.

    Raises:
        SetupError: It cannot be exported, or onnxruntime lacks an operator of the opset.
    """
    host = HostModel(trained, "cpu")
    model = host._model
    is_classifier = host.task == "classification"
    steps = class_meta(trained.steps) if trained.steps else steps_of(trained.pipeline)
    prepare = Prepare(model.data_preprocessor, host.channels, is_read_as_rgb=is_classifier)
    dtype = torch.uint8 if host.channels in (1, 3) else torch.float32
    size = trained.steps.crop if trained.steps else None
    if not is_classifier:
        size = require_one_size(model.backbone, one_size(steps))
    batch = 2 if is_classifier else 1
    image = torch.randint(256, (batch, host.channels, *(size or _TRACED))).to(dtype)
    axes: dict[int, Any] = {} if size else {2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    inputs: dict[str, Tensor] = {"image": image}
    shapes: dict[str, Any] = {"image": {0: Dim("batch", min=1)} if is_classifier else axes}
    origin = origin_of(trained.began_from)
    meta = dict(
        format=FORMAT,
        writer=f"hiera_dense {hiera_dense.__version__}",
        task=host.task,
        classes=host.classes,
        palette=host.palette,
        channels=host.channels,
        order="RGB" if host.channels == 3 else None,
        divisor=prepare.divisor,
        masks=None,
        size=None if size is None else list(size),
        source=Path(trained.name).name,
        licence=origin.licence,
        began_from=origin.began_from,
        **steps,
    )
    network: nn.Module
    with torch.inference_mode(False), torch.no_grad():
        twin = twin_of(model, trained.model)
        meta["cells"] = getattr(twin, "cells", None)
        if opset and opset > (most := getattr(twin, "last_opset", opset)):
            raise SetupError(
                f"opset {opset}: onnxruntime has no {twin.needs} of it; expected {most} or less"
            )
        if is_classifier:
            network, names = ClassGraph(prepare, twin), ["scores"]
        elif host.task == "segmentation":
            head = model.decode_head
            corners, threshold = model.align_corners, getattr(head, "threshold", None) or 0.0
            network, names = Segmenter(prepare, twin, corners, threshold), ["labels"]
            inputs["size"], shapes["size"] = torch.tensor([300, 400]), None
        else:
            names = ["boxes", "scores", "labels"]
            if twin.masks == "box":
                names.append("masks")
                meta["masks"] = dict(of="box", threshold=_mask_threshold(trained))
            if twin.masks == "image":
                names = ["class_scores", "labels", "masks"]
                meta["masks"] = dict(of="image", threshold=0.0)
            network = _Ordered(Detector(prepare, twin), names)
            names = [name.removeprefix("class_") for name in names]
        program = torch.export.export(
            network.eval(), tuple(inputs.values()), dynamic_shapes=shapes, strict=False
        )
    return Graph(program, list(inputs), names, meta, host)


class _Ordered(nn.Module):
    """A detector whose outputs are a tuple."""

    def __init__(self, detector: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.detector = detector
        self.names = tuple(names)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """The outputs in the order of their names."""
        found = self.detector(image)
        return tuple(found[name] for name in self.names)


def twin_of(model: nn.Module, cfg: dict[str, Any]) -> nn.Module:
    """The twin of a model, by its type.

    Raises:
        SetupError: There is none for this type, or for a part of the model.
    """
    from hiera_dense.deploy import classifier, dino, mask2former, segmenter, two_stage

    twins = {
        "DINO": dino.twin,
        "Mask2Former": mask2former.twin,
        "EncoderDecoder": segmenter.twin,
        "FasterRCNN": two_stage.twin,
        "MaskRCNN": two_stage.twin,
        "CascadeRCNN": two_stage.twin,
        "HieraClassifier": classifier.twin,
    }
    kind = type(model).__name__
    if kind not in twins:
        raise SetupError(f"{kind} cannot be exported; expected {', '.join(twins)}")
    if type(getattr(model, "decode_head", None)).__name__ == "Mask2FormerHead":
        return mask2former.twin(model, cfg)
    return twins[kind](model, cfg)


def write_onnx(graph: Graph, path: Path, opset: int) -> None:
    """Write a graph as ONNX, with its metadata."""
    onnx = torch.onnx.export(
        graph.program,
        (),
        dynamo=True,
        opset_version=opset,
        input_names=graph.inputs,
        output_names=graph.outputs,
        verbose=False,
    )
    assert onnx is not None
    shape = onnx.model.graph.inputs[0].shape
    assert shape is not None
    for axis, name in {0: "batch", 2: "height", 3: "width"}.items():
        if not isinstance(shape[axis], int):
            shape[axis] = name
    onnx.model.metadata_props[KEY] = json.dumps(graph.meta)
    onnx.save(path)


def _mask_threshold(trained: Trained) -> float:
    test_cfg = trained.model.get("test_cfg") or {}
    rcnn = test_cfg.get("rcnn") or test_cfg
    return float(rcnn.get("mask_thr_binary", 0.5))


def drawn_images(channels: int) -> list[Array]:
    """Images with shapes in them, of several sizes."""
    rng = np.random.default_rng(0)
    images = []
    for height, width in _DRAWN:
        pixels = draw_scene(rng, max(height, width))[0][:height, :width]
        # Of other channels than three what the colours are.
        images.append(pixels[..., np.arange(channels) % 3])
    return images


def compare_whole(
    model: ExportedModel, host: HostModel, images: Sequence[Array]
) -> Comparison | ClassComparison:
    """What a file finds in images beside what PyTorch finds."""
    compared = comparison(host.task)
    for image in images:
        compared.add(model([image])[0], host([image])[0])
    return compared
