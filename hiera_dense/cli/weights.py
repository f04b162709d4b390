"""List the published weights, as a table in Markdown: arch, licence, results, where they are."""

from hiera_dense.cli.parser import make_parser
from hiera_dense.weights.catalog import WEIGHTS, Weight


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
    make_parser(__doc__, "").parse_args()
    print(weights())
