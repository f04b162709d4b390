"""A backbone as a file that runs without this package: ONNX, or .pt2 of torch.export.

The file is compared with PyTorch before it is kept.
"""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

import hiera_dense
from hiera_dense.predict.exported import FORMAT, KEY
from hiera_dense.weights.catalog import MEAN, STD, WEIGHTS
from hiera_dense.weights.origin import origin_of

if TYPE_CHECKING:
    from hiera_dense.mm.backbone import HieraBackbone


SUFFIXES = (".onnx", ".pt2")
OPSETS = range(20, 26)  # of 26 and more torch 2.13 writes files that are not valid
STRIDE = 32  # pixels
_TRACED = (928, 992)  # pixels: no side is one window, or whole windows, of usual sizes
COMPARED = ((224, 224), (256, 352))
_TOLERANCE = 1e-4
Size = tuple[int, int]


def export(model: "HieraBackbone", batch: int | None, size: Size | None) -> ExportedProgram:
    """Trace a backbone.

    Args:
        model: In eval mode.
        batch: Images at once; None: any number.
        size: Height and width in pixels; None: any multiples of 32 from 64 on.
    """
    axes = {0: Dim("batch", min=1)} if batch is None else {}
    if size is None:
        axes |= {2: STRIDE * Dim("rows", min=2), 3: STRIDE * Dim("columns", min=2)}
    image = torch.zeros(batch or 2, model.trunk.in_channels, *(size or _TRACED))
    with torch.no_grad():
        return torch.export.export(model, (image,), dynamic_shapes={"x": axes}, strict=False)


def meta_of(
    model: "HieraBackbone", arch: str, size: Size | None, weights: str | None
) -> dict[str, Any]:
    """What a file tells of a backbone.

    Args:
        model: What it was exported from.
        arch: Its name.
        size: Height and width in pixels; None: any multiples of 32.
        weights: What it was filled with, as the user named it; None: random weights.
    """
    origin = origin_of(weights)
    is_published = origin.began_from in WEIGHTS
    return dict(
        format=FORMAT,
        writer=f"hiera_dense {hiera_dense.__version__}",
        task="backbone",
        arch=arch,
        channels=model.trunk.in_channels,
        strides=[model.trunk.feature_info[i]["reduction"] for i in model.out_indices],
        size=None if size is None else list(size),
        divisor=STRIDE,
        mean=MEAN if is_published else None,
        std=STD if is_published else None,
        licence=origin.licence,
        began_from=origin.began_from,
    )


def write_onnx(
    program: ExportedProgram,
    model: "HieraBackbone",
    path: Path,
    opset: int,
    meta: Mapping[str, Any] | None = None,
) -> None:
    """Write a traced backbone as ONNX, with names for inputs, outputs and axes, and metadata."""
    onnx = torch.onnx.export(
        program,
        (),
        dynamo=True,
        opset_version=opset,
        input_names=["image"],
        output_names=[f"stage{i}" for i in model.out_indices],
        verbose=False,
    )
    assert onnx is not None
    graph = onnx.model.graph
    strides = [model.trunk.feature_info[i]["reduction"] for i in model.out_indices]
    for value, stride in zip((*graph.inputs, *graph.outputs), (1, *strides), strict=True):
        by = f"/{stride}" if stride > 1 else ""
        assert value.shape is not None
        for axis, name in ((0, "batch"), (2, f"height{by}"), (3, f"width{by}")):
            if not isinstance(value.shape[axis], int):
                value.shape[axis] = name
    if meta is not None:
        onnx.model.metadata_props[KEY] = json.dumps(meta)
    onnx.save(path)


def write_program(program: ExportedProgram, path: Path, meta: Mapping[str, Any]) -> None:
    """Write a traced model as .pt2, with its metadata as the extra file `hiera_dense`."""
    # Not straight to the file: torch's own writer ends the process where the disk is full.
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={KEY: json.dumps(meta)})
    path.write_bytes(buffer.getvalue())


def read(path: Path) -> Callable[[Tensor], Sequence[Tensor]]:
    """What a file computes; ONNX in onnxruntime."""
    if path.suffix == ".pt2":
        # The guards refuse some sizes for which the graph is right: a single image where it was
        # traced with two, an image with one window along a side where it was traced with several.
        return torch.export.load(path).module(check_guards=False)
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda image: [torch.from_numpy(m) for m in session.run(None, {"image": image.numpy()})]


def compare(path: Path, model: "HieraBackbone", shapes: Sequence[Sequence[int]]) -> float:
    """The largest difference between a file and PyTorch, as a share of the largest value of a map.

    Args:
        path: The file.
        model: What it was exported from.
        shapes: Of the images that both get, (B, C, H, W) each.
    """
    run = read(path)
    shares = []
    with torch.no_grad():
        for shape in shapes:
            image = torch.randn(*shape)
            for ours, theirs in zip(model(image), run(image), strict=True):
                shares.append((theirs - ours).abs().max() / ours.abs().max())
    return torch.stack(shares).max().item()  # keeps a NaN, unlike Python's max


def check(path: Path, model: "HieraBackbone", shapes: Sequence[Sequence[int]]) -> str:
    """Compare a file with PyTorch; in words how they compare.

    Raises:
        RuntimeError: They differ.
    """
    if path.suffix == ".onnx" and not find_spec("onnxruntime"):
        return "not compared with PyTorch, since onnxruntime is not installed"
    share = compare(path, model, shapes)
    if not share <= _TOLERANCE:  # NaN too
        raise RuntimeError(
            f"{path.name} differs from PyTorch by {share:.1e} of the largest value; expected at "
            f"most {_TOLERANCE:.0e}; it was not kept"
        )
    where = " and ".join(" x ".join(map(str, shape)) for shape in shapes)
    return f"differs from PyTorch by {share:.1e} of the largest value at most ({where})"
