"""A whole trained model as one ONNX file: preprocessing, network, what is decoded, and metadata.

The file is compared with PyTorch before it is kept.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim

import hiera_dense
from hiera_dense.data.toy import draw_scene
from hiera_dense.deploy.comparing import Comparison
from hiera_dense.deploy.graph import Detector, Prepare, Segmenter
from hiera_dense.errors import SetupError
from hiera_dense.mm.trained import Trained
from hiera_dense.predict.found import Array
from hiera_dense.predict.hosts import HostModel
from hiera_dense.predict.onnx_model import FORMAT, KEY, OnnxModel

_TRACED = (601, 669)  # pixels: no side is one window, or whole windows, of usual sizes
_DRAWN = ((320, 320), (240, 400), (401, 283))  # pixels: of images to compare on
_READING = ("LoadImageFromFile", "LoadAnnotations", "PackDetInputs", "PackSegInputs")


def export_whole(trained: Trained, path: Path, opset: int) -> HostModel:
    """Write a trained model as ONNX.

    Args:
        trained: What was read from the disk.
        path: The file.
        opset: Of ONNX.

    Returns:
        The model that was written, to compare with.

    Raises:
        SetupError: It cannot be exported.
    """
    host = HostModel(trained, "cpu")
    model = host._model
    steps = steps_of(trained.pipeline)
    prepare = Prepare(model.data_preprocessor, host.channels)
    dtype = torch.uint8 if host.channels in (1, 3) else torch.float32
    image = torch.randint(256, (1, host.channels, *_TRACED)).to(dtype)
    shapes: dict[str, Any] = {"image": {2: Dim.DYNAMIC, 3: Dim.DYNAMIC}}
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
        source=Path(trained.name).name,
        **steps,
    )
    network: nn.Module
    inputs: tuple[Tensor, ...]
    with torch.inference_mode(False), torch.no_grad():
        twin = twin_of(model, trained.model)
        if opset > (most := getattr(twin, "last_opset", opset)):
            raise SetupError(
                f"opset {opset}: onnxruntime has no {twin.needs} of it; expected {most} or less"
            )
        if host.task == "segmentation":
            head = model.decode_head
            corners, threshold = model.align_corners, getattr(head, "threshold", None) or 0.0
            network = Segmenter(prepare, twin, corners, threshold)
            inputs, shapes["size"] = (image, torch.tensor([300, 400])), None
            names = ["labels"]
        else:
            network = Detector(prepare, twin)
            inputs = (image,)
            names = ["boxes", "scores", "labels"]
            if twin.masks == "box":
                names.append("masks")
                meta["masks"] = dict(of="box", threshold=_mask_threshold(trained))
            if twin.masks == "image":
                names = ["class_scores", "labels", "masks"]
                meta["masks"] = dict(of="image", threshold=0.0)
            network = _Ordered(network, names)
            names = [name.removeprefix("class_") for name in names]
        write(network.eval(), inputs, shapes, names, path, opset, meta)
    return host


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
    from hiera_dense.deploy import dino, mask2former, segmenter, two_stage

    twins = {
        "DINO": dino.twin,
        "Mask2Former": mask2former.twin,
        "EncoderDecoder": segmenter.twin,
        "FasterRCNN": two_stage.twin,
        "MaskRCNN": two_stage.twin,
        "CascadeRCNN": two_stage.twin,
    }
    kind = type(model).__name__
    if kind not in twins:
        raise SetupError(f"{kind} cannot be exported; expected {', '.join(twins)}")
    if type(getattr(model, "decode_head", None)).__name__ == "Mask2FormerHead":
        return mask2former.twin(model, cfg)
    return twins[kind](model, cfg)


def write(
    network: nn.Module,
    inputs: tuple[Tensor, ...],
    shapes: dict[str, Any],
    names: Sequence[str],
    path: Path,
    opset: int,
    meta: dict[str, Any],
) -> None:
    """Trace a graph and write it with its metadata."""
    program = torch.export.export(network, inputs, dynamic_shapes=shapes, strict=False)
    onnx = torch.onnx.export(
        program,
        (),
        dynamo=True,
        opset_version=opset,
        input_names=list(shapes),
        output_names=list(names),
        verbose=False,
    )
    assert onnx is not None
    axes = {2: "height", 3: "width"}
    shape = onnx.model.graph.inputs[0].shape
    assert shape is not None
    for axis, name in axes.items():
        shape[axis] = name
    onnx.model.metadata_props[KEY] = json.dumps(meta)
    onnx.save(path)


def steps_of(pipeline: Sequence[Any]) -> dict[str, Any]:
    """How the runtime resizes and pads an image, from the transforms of test images.

    Raises:
        SetupError: There are others.
    """
    found: dict[str, Any] = dict(resize=None, pad=None)
    for step in pipeline:
        kind = str(step["type"]).rpartition(".")[2]
        if kind in _READING:
            continue
        known = _resize(step) if kind == "Resize" else _pad(step) if kind == "Pad" else None
        if known is None or found[kind.lower()] is not None or (kind == "Resize" and found["pad"]):
            given = {key: value for key, value in step.items() if key != "type"}
            raise SetupError(
                f"{step['type']}({', '.join(f'{k}={v!r}' for k, v in given.items())}) in the "
                "pipeline of test images cannot be exported; expected at most "
                "Resize(scale=(WIDTH, HEIGHT), keep_ratio=...) and then Pad(size=(WIDTH, HEIGHT))"
            )
        found[kind.lower()] = known
    return found


def _resize(step: dict[str, Any]) -> dict[str, Any] | None:
    scale: Any = step.get("scale")
    if isinstance(scale, int):
        scale = (scale, scale)
    is_size = isinstance(scale, list | tuple) and len(scale) == 2
    if not is_size or step.get("interpolation", "bilinear") != "bilinear":
        return None
    if set(step) - {"type", "scale", "keep_ratio", "interpolation"}:
        return None
    return dict(scale=list(scale), keep_ratio=bool(step.get("keep_ratio", False)))


def _pad(step: dict[str, Any]) -> dict[str, Any] | None:
    size: Any = step.get("size")
    value: Any = step.get("pad_val", 0)
    if isinstance(value, dict):
        value = value.get("img", 0)
    is_size = isinstance(size, list | tuple) and len(size) == 2
    if not is_size or set(step) - {"type", "size", "pad_val"}:
        return None
    if isinstance(value, list | tuple):
        value = list(value)[::-1]  # hosts pad BGR
    return dict(size=list(size)[::-1], value=value)


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


def compare_whole(path: Path, host: HostModel, images: Sequence[Array]) -> Comparison:
    """What the file finds in images beside what PyTorch finds."""
    compared = Comparison(host.task)
    runtime = OnnxModel(path)
    for image in images:
        compared.add(runtime([image])[0], host([image])[0])
    return compared
