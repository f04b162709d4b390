"""List the archs (channels for a neck or head, blocks, windows), or published weights."""

import argparse

from hiera_dense.variants import ARCHS, WEIGHTS, Weight


def archs() -> str:
    """A line for each architecture."""
    row = "{:<16} {:<24} {:<14} {:<16} {}".format
    lines = [row("arch", "in_channels", "blocks", "window_spec", "global_att_blocks")]
    for name, arch in ARCHS.items():
        settings = (arch.dims, arch.stages, arch.window_spec, arch.global_att_blocks)
        lines.append(row(name, *(str(list(values)) for values in settings)))
    return "\n".join(lines)


def weights() -> str:
    """The published weights, as a table in Markdown (the one of docs/weights.md)."""
    titles = "| name | arch | layout | licence | published | fetched from | also at |"
    lines = [titles, "|---" * 7 + "|"]
    for name, weight in WEIGHTS.items():
        also = ", ".join(place for place in (*weight.also, weight.hub and weight.url) if place)
        facts = (weight.layout, weight.licence, weight.metric, _place(weight), also)
        lines.append(f"| `{name}` | `{weight.arch}` | {' | '.join(facts)} |")
    return "\n".join(lines)


def _place(weight: Weight) -> str:
    return f"{weight.hub} ({weight.file})" if weight.hub else str(weight.url)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", action="store_true", help="the names of published weights")
    print(weights() if parser.parse_args().weights else archs())


if __name__ == "__main__":
    main()
