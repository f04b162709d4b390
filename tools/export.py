"""Export a backbone to a file that runs without this package: .onnx, or .pt2 of torch.export.

It takes normalised images (B, C, H, W), `image`, and gives their feature maps at strides 4 to 32,
`stage0` to `stage3`. It is compared with PyTorch, and kept if both agree. A .pt2 is run as
`torch.export.load(FILE).module(check_guards=False)`, and maps are in a tuple.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from hiera_dense.arch import AUTO
from hiera_dense.backbone import HieraBackbone
from hiera_dense.checkpoint import load_pretrained
from hiera_dense.errors import CheckpointError
from hiera_dense.variants import resolve

_SUFFIXES = (".onnx", ".pt2")
_OPSETS = range(20, 26)  # of 26 and more torch 2.13 writes files that are not valid
_STRIDE = 32  # pixels
_TRACED = (928, 992)  # pixels: no side is one window, or whole windows, of usual sizes
_COMPARED = ((224, 224), (256, 352))
_TOLERANCE = 1e-4
Size = tuple[int, int]


def export(model: HieraBackbone, batch: int | None, size: Size | None) -> ExportedProgram:
    """Trace a backbone.

    Args:
        model: In eval mode.
        batch: Images at once; None: any number.
        size: Height and width in pixels; None: any multiples of 32 from 64 on.
    """
    axes = {0: Dim("batch", min=1)} if batch is None else {}
    if size is None:
        axes |= {2: _STRIDE * Dim("rows", min=2), 3: _STRIDE * Dim("columns", min=2)}
    image = torch.zeros(batch or 2, model.trunk.in_channels, *(size or _TRACED))
    with torch.no_grad():
        return torch.export.export(model, (image,), dynamic_shapes={"x": axes}, strict=False)


def write_onnx(program: ExportedProgram, model: HieraBackbone, path: Path, opset: int) -> None:
    """Write a traced backbone as ONNX, with names for its input, its outputs and their axes."""
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
    onnx.save(path)


def read(path: Path) -> Callable[[Tensor], Sequence[Tensor]]:
    """What a file computes; ONNX in onnxruntime."""
    if path.suffix == ".pt2":
        # The guards refuse some sizes for which the graph is right: a single image where it was
        # traced with two, an image with one window along a side where it was traced with several.
        return torch.export.load(path).module(check_guards=False)
    import onnxruntime  # type: ignore[import-untyped]

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda image: [torch.from_numpy(m) for m in session.run(None, {"image": image.numpy()})]


def compare(path: Path, model: HieraBackbone, shapes: Sequence[Sequence[int]]) -> float:
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


def check(path: Path, model: HieraBackbone, shapes: Sequence[Sequence[int]]) -> str:
    """Compare a file with PyTorch, and delete it if they differ; in words how they compare."""
    if path.suffix == ".onnx" and not find_spec("onnxruntime"):
        return "not compared with PyTorch, since onnxruntime is not installed"
    share = compare(path, model, shapes)
    if not share <= _TOLERANCE:  # NaN too
        path.unlink()
        path.with_name(f"{path.name}.data").unlink(missing_ok=True)  # of ONNX above 2 GB
        sys.exit(
            f"{path}: differs from PyTorch by {share:.1e} of the largest value; expected at most "
            f"{_TOLERANCE:.0e}; it was deleted"
        )
    where = " and ".join(" x ".join(map(str, shape)) for shape in shapes)
    return f"differs from PyTorch by {share:.1e} of the largest value at most ({where})"


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in text.split(",") if text)
    except ValueError:
        expected = "whole numbers with commas between them"
        raise argparse.ArgumentTypeError(f"{text!r}; expected {expected}") from None


def _windows(text: str) -> str | tuple[int, ...]:
    return text if text == AUTO else _numbers(text)


def _size(text: str) -> Size | None:
    if text == "any":
        return None
    height, _, width = text.partition("x")
    sides = [int(side) if side.isdecimal() else 0 for side in (height, width)]
    if min(sides) < 1 or any(side % _STRIDE for side in sides):
        expected = f"HEIGHTxWIDTH, both multiples of {_STRIDE} px, or any"
        raise argparse.ArgumentTypeError(f"{text!r}; expected {expected}")
    return sides[0], sides[1]


def _batch(text: str) -> int | None:
    if text != "any" and (not text.isdecimal() or int(text) < 1):
        raise argparse.ArgumentTypeError(f"{text!r}; expected a number from 1 on, or any")
    return None if text == "any" else int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="FILE.onnx or FILE.pt2")
    parser.add_argument("--arch", required=True, help="a name that tools/archs.py lists")
    parser.add_argument(
        "--weights",
        help="a file (also of a trained detector or segmenter), a URL, a hub id, or a name of "
        "published weights; default: random values",
    )
    parser.add_argument(
        "--window-spec", type=_windows, help="as 8,4,16,8, or auto; default: the arch's own"
    )
    parser.add_argument(
        "--global-att-blocks", type=_numbers, help="as 12,16,20; default: the arch's own"
    )
    parser.add_argument("--in-channels", type=int, default=3, help="of the image")
    parser.add_argument("--out-indices", type=_numbers, default=(0, 1, 2, 3), help="stages, as 1,3")
    parser.add_argument(
        "--out-norm", action="store_true", help="with the norms of the maps that a training added"
    )
    parser.add_argument(
        "--size", type=_size, help="HEIGHTxWIDTH in px; default: any multiples of 32 from 64 on"
    )
    parser.add_argument("--batch", type=_batch, help="images at once; default: any number")
    parser.add_argument("--opset", type=int, choices=_OPSETS, default=_OPSETS[-1], help="of ONNX")
    return parser


def _build(args: argparse.Namespace) -> HieraBackbone:
    try:
        plan = (args.window_spec, args.global_att_blocks)
        arch = resolve(args.arch, *plan)
        if len(arch.mask_unit) != 2:
            sys.exit(f"--arch {args.arch}: is for clips; expected one for images")
        if arch.window_spec == AUTO and args.size is None:
            sys.exit(
                "--window-spec auto: its windows follow the image, and a file holds one choice of "
                "them; expected --size HEIGHTxWIDTH with it, or a number for each stage"
            )
        model: HieraBackbone = HieraBackbone(
            args.arch,
            args.in_channels,
            *plan,
            out_indices=args.out_indices,
            out_norm=args.out_norm,
        ).eval()
        if args.weights:
            load_pretrained(model, args.weights)
    except (ValueError, CheckpointError, FileNotFoundError) as error:
        sys.exit(str(error))
    return model


def main() -> None:
    parser = _parser()
    args = parser.parse_args()
    out = args.out
    if out.suffix not in _SUFFIXES or out.exists():
        parser.error(f"{out}: {'exists' if out.exists() else 'expected .onnx or .pt2'}")
    if torch.__version__ < "2.9":  # compares as versions do
        sys.exit(f"torch {torch.__version__}; expected 2.9 or newer to export")
    if out.suffix == ".onnx" and not find_spec("onnxscript"):
        sys.exit(f"{out}: needs onnx and onnxscript; expected these installed, or a .pt2")
    model = _build(args)
    program = export(model, args.batch, args.size)
    if out.suffix == ".onnx":
        write_onnx(program, model, out, args.opset)
    else:
        torch.export.save(program, out)
    sizes = [args.size] if args.size else _COMPARED
    shapes = [(args.batch or 1, args.in_channels, *size) for size in sizes]
    print(f"{out}: {check(out, model, shapes)}")


if __name__ == "__main__":
    main()
