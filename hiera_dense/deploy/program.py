"""A whole model as a .pt2 file of torch.export, for programs with torch and without this package.

`torch.export.load` reads pickles, so such a file is run only where its maker is trusted: here the
one that was just written, to compare it with PyTorch.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from hiera_dense.predict.exported import KEY, ExportedModel
from hiera_dense.predict.found import Array


class ProgramModel(ExportedModel):
    """A whole model in a .pt2 file that this process wrote.

    Args:
        path: The file.
        outputs: Names of the outputs of its graph.
    """

    def __init__(self, path: Path, outputs: Sequence[str]) -> None:
        import torchvision  # noqa: F401  # registers NMS and RoIAlign

        files = {KEY: ""}
        program = torch.export.load(path, extra_files=files)
        # Without guards, as for a backbone (`predict.export.read`).
        self._network = program.module(check_guards=False)
        meta = json.loads(files[KEY])
        is_float = meta["channels"] not in (1, 3)
        super().__init__(path.name, meta, outputs, np.float32 if is_float else np.uint8)

    def run(self, names: Sequence[str], inputs: dict[str, Array]) -> list[Array]:
        """Outputs of the graph, by name."""
        with torch.no_grad():
            found = self._network(*map(torch.from_numpy, inputs.values()))
        several = found if isinstance(found, tuple | list) else (found,)
        by_name = dict(zip(self._outputs, several, strict=True))
        return [by_name[name].numpy() for name in names]
