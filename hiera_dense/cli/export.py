"""Export a trained model, or a backbone alone, to a file that runs without this package.

    hiera-dense export MODEL OUT.onnx        a whole model; MODEL as `predict` takes it
    hiera-dense export OUT.onnx --arch ARCH  a backbone alone

Both also write OUT.pt2, of torch.export. A whole model takes an image and gives objects, labels or
probabilities: `Predictor("OUT.onnx")` and `hiera-dense predict OUT.onnx` run it with onnxruntime
alone. See docs/deploy.md, also for running a .pt2.

The input `image` of a backbone is a batch of normalised images (B, C, H, W); its outputs `stage0`
to `stage3` are feature maps at strides 4 to 32.

The file is compared with PyTorch, and not kept if they differ.
"""

import argparse
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, get_args

import torch

from hiera_dense.cli.parser import ends_with_a_message, make_parser
from hiera_dense.deploy.precision import Precision
from hiera_dense.errors import DataError, SetupError
from hiera_dense.mm.backbone import HieraBackbone
from hiera_dense.model.arch import AUTO
from hiera_dense.model.variants import resolve
from hiera_dense.predict.export import (
    COMPARED,
    OPSETS,
    STRIDE,
    SUFFIXES,
    Size,
    check,
    export,
    meta_of,
    write_onnx,
    write_program,
)
from hiera_dense.predict.onnx_model import OnnxModel
from hiera_dense.weights.catalog import NON_COMMERCIAL, PERMISSIVE
from hiera_dense.weights.load import load_pretrained
from hiera_dense.writing import whole_file

if TYPE_CHECKING:
    from hiera_dense.deploy.export import Graph
    from hiera_dense.predict.exported import ExportedModel
    from hiera_dense.predict.found import Array
    from hiera_dense.predict.hosts import HostModel


_LICENCES = (NON_COMMERCIAL, PERMISSIVE)


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
    if min(sides) < 1 or any(side % STRIDE for side in sides):
        expected = f"HEIGHTxWIDTH, both multiples of {STRIDE} px, or any"
        raise argparse.ArgumentTypeError(f"{text!r}; expected {expected}")
    return sides[0], sides[1]


def _batch(text: str) -> int | None:
    if text != "any" and (not text.isdecimal() or int(text) < 1):
        raise argparse.ArgumentTypeError(f"{text!r}; expected a number from 1 on, or any")
    return None if text == "any" else int(text)


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__, "work_dirs/RUN model.onnx")
    parser.add_argument(
        "model",
        nargs="?",
        help="a run's folder, a checkpoint, or a config with --weights; without it --arch",
    )
    parser.add_argument("out", type=Path, help="FILE.onnx, or of a backbone FILE.pt2")
    parser.add_argument(
        "--weights",
        help="of a config: a checkpoint. Of a backbone: a file (also of a trained detector or "
        "segmenter), a URL, a hub id, or a name of published weights; default: random values",
    )
    parser.add_argument(
        "--images",
        type=Path,
        metavar="FOLDER",
        help="to compare a whole model with PyTorch on; default: three drawn ones. A detector that "
        "finds nothing in them cannot be compared",
    )
    parser.add_argument(
        "--check",
        metavar="DATA",
        help="a folder as `train --data` takes it: AP or mIoU of the file and of PyTorch on its "
        "validation images, which may differ by 0.1 points",
    )
    parser.add_argument(
        "--precision",
        choices=get_args(Precision),
        default="float32",
        help="of the network; the cost in accuracy is printed (default: %(default)s)",
    )
    parser.add_argument(
        "--calibrate",
        type=Path,
        metavar="FOLDER",
        help="of int8: some 30 of your own images, from which the ranges of values are taken",
    )
    parser.add_argument("--arch", help="of a backbone: a name that `hiera-dense archs` lists")
    parser.add_argument("--key", help="where they stand in the file, e.g. state_dict_ema")
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
    parser.add_argument(
        "--opset",
        type=int,
        choices=OPSETS,
        help=f"of ONNX; default: {OPSETS[0]}, of a backbone {OPSETS[-1]}",
    )
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
            load_pretrained(model, args.weights, key=args.key)
    except ValueError as error:
        sys.exit(str(error))
    return model


@ends_with_a_message
def main() -> None:
    parser = _parser()
    args = parser.parse_intermixed_args()
    out = args.out
    _check_which(parser, args)
    if out.suffix not in SUFFIXES or out.exists():
        parser.error(f"{out}: {'exists' if out.exists() else 'expected .onnx or .pt2'}")
    if torch.__version__ < "2.9":  # compares as versions do
        sys.exit(f"torch {torch.__version__}; expected 2.9 or newer to export")
    if out.suffix == ".onnx" and not find_spec("onnxscript"):
        sys.exit(f"{out}: needs onnx and onnxscript; expected these installed, or a .pt2")
    if args.model is not None:
        _export_whole(args)
        return
    model = _build(args)
    program = export(model, args.batch, args.size)
    meta = meta_of(model, args.arch, args.size, args.weights)
    sizes = [args.size] if args.size else COMPARED
    shapes = [(args.batch or 1, args.in_channels, *size) for size in sizes]
    try:
        with whole_file(out) as part:
            if out.suffix == ".onnx":
                write_onnx(program, model, part, args.opset or OPSETS[-1], meta)
            else:
                write_program(program, part, meta)
            compared = check(part, model, shapes)
    except RuntimeError as error:
        sys.exit(str(error))
    print(f"{out}: {compared}\n{_licence(meta)}")


def _licence(meta: Mapping[str, Any]) -> str:
    began = f" ({meta['began_from']})" if meta["licence"] in _LICENCES else ""
    return f"licence of the weights: {meta['licence']}{began}"


# Of a backbone alone.
_OF_BACKBONES = (
    *("key", "window_spec", "global_att_blocks", "in_channels", "out_indices", "out_norm"),
    *("size", "batch"),
)


def _check_which(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Whether the options go together: of a whole model or of a backbone, of one kind of file."""
    out = args.out
    if args.model is None and args.arch is None:
        parser.error("expected MODEL OUT.onnx, or OUT.onnx --arch ARCH for a backbone alone")
    if args.model is not None and args.arch is not None:
        parser.error(f"--arch {args.arch} with the model {args.model}; expected one of them")
    if args.model is None and args.images is not None:
        parser.error("--images with a backbone; expected a whole model with it")
    if args.model is None and (args.check or args.precision != "float32"):
        parser.error("--check or --precision with a backbone; expected a whole model with them")
    if out.suffix == ".pt2" and (args.opset or args.precision != "float32"):
        parser.error(f"{out}: expected .onnx with --opset or --precision")
    if (args.precision == "int8") != (args.calibrate is not None):
        parser.error("expected --precision int8 and --calibrate FOLDER together")
    given = [name for name in _OF_BACKBONES if getattr(args, name) != parser.get_default(name)]
    if args.model is not None and given:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        parser.error(f"{names} with the model {args.model}; expected them with --arch alone")


def _export_whole(args: argparse.Namespace) -> None:
    from hiera_dense.deploy.check import check, read_data
    from hiera_dense.deploy.export import compare_whole, trace
    from hiera_dense.deploy.precision import QUERY_MODELS, Cost, lower
    from hiera_dense.mm.trained import read_trained
    from hiera_dense.predict.hosts import TASKS

    needed = [f"--{name}" for name in ("check", "calibrate") if getattr(args, name)]
    if args.precision != "float32":
        needed.append(f"--precision {args.precision}")
    if needed and not find_spec("onnxruntime"):
        raise SetupError(f"{', '.join(needed)}: needs onnxruntime; expected it installed")
    calibrating = _files(args.calibrate, "calibrate")
    trained = read_trained(args.model, args.weights)
    data = args.check and read_data(args.check, TASKS[trained.scope], trained.classes)
    if args.precision == "int8" and not data and trained.model["type"] in QUERY_MODELS:
        raise SetupError(
            f"int8 of {trained.model['type']}: its queries are chosen by scores that int8 changes; "
            "expected --check DATA with it, which measures the cost, or float16"
        )
    is_onnx = args.out.suffix == ".onnx"
    with whole_file(args.out) as part, TemporaryDirectory(dir=part.parent) as folder:
        whole = part if args.precision == "float32" else Path(folder) / part.name
        graph = trace(trained, (args.opset or OPSETS[0]) if is_onnx else None)
        host = graph.host
        model = _written(graph, whole, args.opset or OPSETS[0])
        said = [_licence(graph.meta)]
        if model is None:
            print(f"{args.out}: not compared with PyTorch, since onnxruntime is not installed")
            print(*said)
            return
        images = _images(args.images, host)
        compared = compare_whole(model, host, images)
        if not compared.is_equal:
            raise SetupError(
                f"{args.out} differs from PyTorch: {compared}; expected at least "
                f"{compared.least:.1%}; it was not kept"
            )
        said.insert(0, str(compared))
        models = {"float32": model}
        if args.precision != "float32":
            lower(whole, part, args.precision, map(host.read, calibrating))
            models[args.precision] = OnnxModel(part)
            said.append(f"{args.precision}: {Cost(whole, part, images)}")
        if data:
            said.append(check(data, host, models))
    print(f"{args.out}: " + "\n".join(said))


def _written(graph: "Graph", path: Path, opset: int) -> "ExportedModel | None":
    """Write a whole model; what runs it, unless that is not installed."""
    from hiera_dense.deploy.export import write_onnx as write_whole
    from hiera_dense.deploy.program import ProgramModel

    if path.suffix == ".pt2":
        write_program(graph.program, path, graph.meta)
        return ProgramModel(path, graph.outputs)
    write_whole(graph, path, opset)
    return OnnxModel(path) if find_spec("onnxruntime") else None


def _images(folder: Path | None, host: "HostModel") -> "list[Array]":
    from hiera_dense.deploy.export import drawn_images

    return [*map(host.read, _files(folder, "images"))] or drawn_images(host.channels)


def _files(folder: Path | None, option: str) -> list[Path]:
    """The images in a folder that an option names; none without it."""
    from hiera_dense.predict.inputs import ImageFile, find_inputs

    if folder is None:
        return []
    try:
        inputs = find_inputs([str(folder)])
    except DataError as error:
        raise DataError(f"--{option} {error}") from None
    found = [item.path for item in inputs if isinstance(item, ImageFile)]
    if not found:
        raise SetupError(f"--{option} {folder}: no images; expected a folder with some")
    return found
