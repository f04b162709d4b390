"""A whole model in an ONNX file, run by onnxruntime without torch and the hosts.

The file is one that `hiera-dense export MODEL OUT.onnx` wrote.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hiera_dense.errors import CheckpointError, DataError, SetupError, shown
from hiera_dense.predict.exported import EXPECTED, FORMAT, KEY, ExportedModel
from hiera_dense.predict.found import Array

NEEDED = "1.18"  # of onnxruntime, for a file of the default opset
_WHOLE = "expected a detector or a segmenter or a classifier"
# What onnxruntime says of files that are newer than it is.
_NEWER = re.compile(
    r"(Unsupported model IR version|ONNX Runtime only \*guarantees\*|Could not find an impl).*"
)


class OnnxModel(ExportedModel):
    """A detector, segmenter or classifier in an ONNX file.

    Threads may share it.

    Args:
        path: The file.
        device: `cpu`, or `cuda` or `cuda:1` with onnxruntime-gpu; None: CPU.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: It is not a file of ours.
        SetupError: onnxruntime is missing, older than the file needs, or has no such device.
    """

    def __init__(self, path: str | Path, device: str | None = None) -> None:
        if not Path(path).is_file():
            raise FileNotFoundError(f"{path}: no such file; expected a model, FILE.onnx")
        self._session = _session(str(path), device)
        meta = _metadata(str(path), self._session)
        inputs = {value.name: value.type for value in self._session.get_inputs()}
        dtype = np.uint8 if inputs.get("image") == "tensor(uint8)" else np.float32
        outputs = [value.name for value in self._session.get_outputs()]
        super().__init__(str(path), meta, outputs, dtype)

    def run(self, names: Sequence[str], inputs: dict[str, Array]) -> list[Array]:
        """Outputs of the graph, by name.

        Raises:
            DataError: It does not take an image of this size.
        """
        try:
            found: list[Array] = self._session.run(list(names), inputs)
        except Exception as error:  # of many kinds, none of which onnxruntime documents
            height, width = inputs["image"].shape[2:]
            raise DataError(
                f"{self.name} does not take an image of {height} x {width} px at the scale of its "
                f"network (onnxruntime: {shown(str(error))}); expected one of usual sides"
            ) from None
        return found


def _session(name: str, device: str | None) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise SetupError(f"{name}: needs onnxruntime; expected it installed") from None
    kind, _, number = (device or "cpu").partition(":")
    providers: list[Any] = ["CPUExecutionProvider"]
    if kind == "cuda":
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": int(number or 0)}))
    there = onnxruntime.get_available_providers()
    if kind not in ("cpu", "cuda") or (kind == "cuda" and "CUDAExecutionProvider" not in there):
        raise SetupError(f"device {device!r}; expected cpu, or cuda with onnxruntime-gpu")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    try:
        return onnxruntime.InferenceSession(name, options, providers=providers)
    except Exception as error:  # of many kinds, none of which onnxruntime documents
        if newer := _NEWER.search(str(error)):
            raise SetupError(
                f"{name}: onnxruntime {onnxruntime.__version__} is older than the file needs "
                f"({shown(newer[0])}); expected {NEEDED} or newer"
            ) from None
        raise CheckpointError(
            f"{name}: onnxruntime {onnxruntime.__version__} does not read it "
            f"({shown(str(error))}); expected an ONNX file that is whole"
        ) from None


def _metadata(name: str, session: Any) -> dict[str, Any]:
    text = session.get_modelmeta().custom_metadata_map.get(KEY)
    if text is None:
        outputs = [value.name for value in session.get_outputs()]
        if all(output.startswith("stage") for output in outputs):
            raise CheckpointError(f"{name}: holds a backbone; {_WHOLE}")
        raise CheckpointError(f"{name}: an ONNX file of something else; {EXPECTED}")
    try:
        meta = json.loads(text)
    except ValueError:
        meta = None
    if not isinstance(meta, dict):
        raise CheckpointError(f"{name}: its metadata are not JSON; {EXPECTED}")
    if meta.get("format") != FORMAT:
        raise CheckpointError(
            f"{name}: format {shown(str(meta.get('format')))}; expected {FORMAT}: export the model "
            "again, or use the version of hiera_dense that wrote it"
        )
    if meta.get("task") == "backbone":
        raise CheckpointError(
            f"{name}: holds the backbone {shown(str(meta.get('arch')))} alone, which gives feature "
            f"maps; {_WHOLE}"
        )
    return meta
