"""Configs that train fast, and what runs a command that must end with a message."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support.training import (
    CLASSIFIER,
    DELTA,
    DELTA_OF_WHOLE_IMAGES,
    DETECTOR,
    HEADS,
    MAE,
    SEGMENTER,
    Refused,
)

from hiera_dense.data.folders import VARIABLE


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A config of each host and of each model of whole images, with a trunk that trains fast."""
    folder = tmp_path_factory.mktemp("configs")
    texts = {
        "mmdet": DELTA.format(base=DETECTOR, heads=HEADS["mmdet"]),
        "mmseg": DELTA.format(base=SEGMENTER, heads=HEADS["mmseg"]),
        "mae": DELTA_OF_WHOLE_IMAGES.format(base=MAE),
        "classifier": DELTA_OF_WHOLE_IMAGES.format(base=CLASSIFIER),
    }
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)
    return {name: folder / f"{name}.py" for name in texts}


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Runs a tool that must end with a message before any iteration, and returns what it said.

    In this process, since importing a host takes longer than all the rest.
    """

    def run(main: Callable[[], None], *args: str | Path, data: Path | None = None) -> str:
        monkeypatch.setenv(VARIABLE, str(data) if data else "")
        monkeypatch.setattr("sys.argv", ["tool", *map(str, args)])
        with pytest.raises(SystemExit) as error:
            main()
        said = capsys.readouterr()
        assert "Iter(" not in said.out
        return f"{said.err}{error.value.code}"

    return run
