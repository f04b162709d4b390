"""The command `hiera-dense`; `python -m hiera_dense` is the same."""

import signal
import sys
from importlib import import_module
from keyword import iskeyword

import hiera_dense

# A command is a module of `hiera_dense.cli`, with _ for -, and after a word of Python's own.
COMMANDS = {
    "train": "train a detector, segmenter, classifier or masked autoencoder",
    "evaluate": "evaluate a checkpoint, and draw what it sees",
    "predict": "find what a trained model knows in images and videos",
    "serve": "serve a trained model: a page, and an endpoint for programs",
    "report": "write a page about a training: curves, mistakes, best and worst images",
    "look": "write a page about a folder of your own data",
    "import": "read labels of YOLO, Pascal VOC, LabelMe, CVAT, Label Studio, or masks in colours",
    "check-data": "look at every file of a folder of your own data",
    "convert": "tell what a file of weights is, or convert it",
    "export": "write a trained model, or a backbone, as ONNX",
    "publish": "write a trained model as a folder for the Hugging Face hub, or push it there",
    "archs": "list the architectures, with their channels",
    "weights": "list the published weights, with their licences",
    "recipes": "list the configs that come with the package",
    "draw-data": "draw a small data set, to try things on",
    "demo": "draw data, train two models on it, and show what they see",
}


def module_of(name: str) -> str:
    """The module of a command."""
    return f"{name}_" if iskeyword(name) else name.replace("-", "_")


def usage() -> str:
    """What `hiera-dense --help` prints."""
    about = (hiera_dense.__doc__ or "").splitlines()[0]
    lines = [
        f"hiera-dense {hiera_dense.__version__}: {about}",
        "",
        "usage: hiera-dense COMMAND [OPTIONS]",
        "       hiera-dense COMMAND --help",
        "",
        *(f"  {name:<12}{what}" for name, what in COMMANDS.items()),
        "",
        "example:",
        "  hiera-dense train upernet_hiera-t_1xb4-200i_mask-folder-256x256 --data FOLDER",
    ]
    return "\n".join(lines)


def main() -> None:
    """Run the command that the command line names."""
    name, rest = (sys.argv[1:2] or ["--help"])[0], sys.argv[2:]
    if name in ("-h", "--help", "help"):
        print(usage())
    elif name == "--version":
        print(hiera_dense.__version__)
    elif name in COMMANDS:
        sys.argv = [f"hiera-dense {name}", *rest]
        if name == "train":  # a warning that the time is nearly over, which a training waits for
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        try:
            command = import_module(f"hiera_dense.cli.{module_of(name)}")
        except KeyboardInterrupt:
            sys.exit(130)
        command.main()
    else:
        sys.exit(f"hiera-dense {name}: no such command; expected {', '.join(COMMANDS)}")


if __name__ == "__main__":
    main()
