"""The command `hiera-dense evaluate`, as MMDetection and MMSegmentation have it."""

from hiera_dense.cli.evaluate import main

if __name__ == "__main__":
    main()
