"""The command `hiera-dense train`, as MMDetection and MMSegmentation have it."""

from hiera_dense.cli.train import main

if __name__ == "__main__":
    main()
