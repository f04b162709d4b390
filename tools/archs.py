"""List the archs: what a neck or head takes as `in_channels`, blocks and windows."""

from hiera_dense.variants import ARCHS


def main() -> None:
    row = "{:<16} {:<24} {:<14} {:<16} {}"
    print(row.format("arch", "in_channels", "blocks", "window_spec", "global_att_blocks"))
    for name, arch in ARCHS.items():
        settings = (arch.dims, arch.stages, arch.window_spec, arch.global_att_blocks)
        print(row.format(name, *(str(list(values)) for values in settings)))


if __name__ == "__main__":
    main()
