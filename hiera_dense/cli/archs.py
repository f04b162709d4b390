"""List the architectures: channels for a neck or head, blocks, windows, global blocks."""

from hiera_dense.cli.parser import make_parser
from hiera_dense.model.variants import ARCHS


def archs() -> str:
    """A line for each architecture."""
    row = "{:<16} {:<24} {:<14} {:<16} {}".format
    lines = [row("arch", "in_channels", "blocks", "window_spec", "global_att_blocks")]
    for name, arch in ARCHS.items():
        settings = (arch.dims, arch.stages, arch.window_spec, arch.global_att_blocks)
        lines.append(row(name, *(str(list(values)) for values in settings)))
    return "\n".join(lines)


def main() -> None:
    make_parser(__doc__, "").parse_args()
    print(archs())
