"""Export a backbone to a file that runs without this package: .onnx, or .pt2 of torch.export.

Its input `image` is a batch of normalised images (B, C, H, W); its outputs `stage0` to `stage3` are
feature maps at strides 4 to 32. The file is compared with PyTorch, and not kept if they differ. Run
a .pt2 with `torch.export.load(FILE).module(check_guards=False)`; it returns the maps in a tuple.
"""

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path

import torch

from hiera_dense.cli.parser import ends_with_a_message, make_parser
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
    write_onnx,
    write_program,
)
from hiera_dense.weights.load import load_pretrained
from hiera_dense.writing import whole_file


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
    parser = make_parser(__doc__, "hiera.onnx --arch base --weights hiera_base_224.mae_in1k")
    parser.add_argument("out", type=Path, help="FILE.onnx or FILE.pt2")
    parser.add_argument("--arch", required=True, help="a name that `hiera-dense archs` lists")
    parser.add_argument(
        "--weights",
        help="a file (also of a trained detector or segmenter), a URL, a hub id, or a name of "
        "published weights; default: random values",
    )
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
    parser.add_argument("--opset", type=int, choices=OPSETS, default=OPSETS[-1], help="of ONNX")
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
    args = parser.parse_args()
    out = args.out
    if out.suffix not in SUFFIXES or out.exists():
        parser.error(f"{out}: {'exists' if out.exists() else 'expected .onnx or .pt2'}")
    if torch.__version__ < "2.9":  # compares as versions do
        sys.exit(f"torch {torch.__version__}; expected 2.9 or newer to export")
    if out.suffix == ".onnx" and not find_spec("onnxscript"):
        sys.exit(f"{out}: needs onnx and onnxscript; expected these installed, or a .pt2")
    model = _build(args)
    program = export(model, args.batch, args.size)
    sizes = [args.size] if args.size else COMPARED
    shapes = [(args.batch or 1, args.in_channels, *size) for size in sizes]
    try:
        with whole_file(out) as part:
            if out.suffix == ".onnx":
                write_onnx(program, model, part, args.opset)
            else:
                write_program(program, part)
            compared = check(part, model, shapes)
    except RuntimeError as error:
        sys.exit(str(error))
    print(f"{out}: {compared}")
