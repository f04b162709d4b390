"""int8 of models with queries: measured on data, with coordinates and scores in float32."""

from pathlib import Path

import pytest
import torch
from support.training import run_in_process

from hiera_dense.cli import export as command
from hiera_dense.deploy import precision

SCOPES = {
    "detector.twin.model.bbox_head.reg_branches.0.2": True,
    "detector.twin.model.encoder.layers.0.self_attn.sampling_offsets": True,
    "detector.twin.model.memory_trans_fc": True,
    "segmenter.twin.head.mask_embed.0": True,
    "detector.twin.model.encoder.layers.0.self_attn.value_proj": False,
    "detector.twin.model.backbone.trunk.blocks.0.mlp.fc1": False,
    "detector.twin.box_heads.0.fc_reg": False,
}


def test_layers_of_coordinates_and_scores_stay_float32() -> None:
    onnx = pytest.importorskip("onnx")
    nodes = []
    for number, scope in enumerate(SCOPES):
        node = onnx.helper.make_node("MatMul", ["x", "w"], [f"y{number}"], name=scope)
        prop = node.metadata_props.add()
        prop.key, prop.value = "pkg.torch.onnx.name_scopes", f"['', '{scope}', 'linear']"
        nodes.append(node)
    model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [], []))
    assert precision.fine_layers(model) == {scope for scope, is_fine in SCOPES.items() if is_fine}


@pytest.mark.parametrize("kind", precision.QUERY_MODELS)
def test_int8_without_data_is_refused(
    kind: str, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    loader = dict(dataset=dict(pipeline=[dict(type="LoadImageFromFile")]))
    settings = dict(default_scope="mmdet", model=dict(type=kind), test_dataloader=loader)
    text = "\n".join(f"{key} = {value!r}" for key, value in settings.items())
    meta = dict(cfg=text, dataset_meta=dict(classes=("disc",)))
    torch.save(dict(state_dict={"a": torch.zeros(1)}, meta=meta), tmp_path / "a.pth")
    images = str(toy / "instances" / "val")
    options = ("--precision", "int8", "--calibrate", images)
    with pytest.raises(SystemExit, match=rf"int8 of {kind}: .*; expected --check DATA with it"):
        run_in_process(monkeypatch, command.main, tmp_path / "a.pth", tmp_path / "a.onnx", *options)
    assert not (tmp_path / "a.onnx").exists()
