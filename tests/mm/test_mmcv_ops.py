"""The ops of mmcv on torchvision's (mmcv_ops/), against mmcv's compiled ones and mmdet's own."""

import copy
import importlib.util
import os
import shutil
import subprocess
import sys
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
import torch
from mmcv import _ext as compiled
from mmcv import ops
from mmcv.utils import ext_loader
from mmdet.models.losses.focal_loss import py_sigmoid_focal_loss
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from support.common import ROOT
from support.saved import random_model
from support.small_models import settings
from torch import Tensor

from hiera_dense.errors import SetupError
from hiera_dense.mm.building import building

FILE = ROOT / "mmcv_ops/mmcv/_ext.py"


@pytest.fixture(scope="module")
def ext() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ops_of_torchvision", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def boxes_with_scores(number: int) -> tuple[Tensor, Tensor]:
    corners = torch.rand(number, 2) * 80
    return torch.cat([corners, corners + 1 + torch.rand(number, 2) * 40], 1), torch.rand(number)


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_nms_keeps_the_same_boxes(ext: ModuleType, threshold: float, offset: int) -> None:
    for number in (0, 1, 50, 400):
        boxes, scores = boxes_with_scores(number)
        ours = ext.nms(boxes, scores, threshold, offset)
        of_mmcv = compiled.nms(boxes, scores, iou_threshold=threshold, offset=offset)
        assert ours.tolist() == of_mmcv.tolist()
    assert 0 < len(ours) < number


@pytest.mark.parametrize("sampling_ratio", [0, 2])
@pytest.mark.parametrize("aligned", [True, False])
def test_roi_align_and_its_gradient(
    ext: ModuleType, monkeypatch: pytest.MonkeyPatch, aligned: bool, sampling_ratio: int
) -> None:
    boxes, _ = boxes_with_scores(30)
    rois = torch.cat([torch.arange(30)[:, None] % 2, boxes], 1)
    features = torch.randn(2, 5, 25, 31, requires_grad=True)
    weight = torch.randn(30, 5, 7, 3)

    def both() -> tuple[Tensor, Tensor]:
        pooled = ops.roi_align(features, rois, (7, 3), 0.25, sampling_ratio, "avg", aligned)
        return pooled.detach(), torch.autograd.grad((pooled * weight).sum(), features)[0]

    of_mmcv = both()
    monkeypatch.setattr(import_module("mmcv.ops.roi_align"), "ext_module", ext)
    torch.testing.assert_close(both(), of_mmcv, rtol=0, atol=2e-5)


def test_deformable_attention_and_its_gradients(ext: ModuleType) -> None:
    """mmcv has no compiled op for CPUs: its layer calls the same function there, and autograd."""
    shapes, starts = torch.tensor([[6, 4], [3, 2]]), torch.tensor([0, 24])
    inputs = [
        torch.randn(2, 30, 4, 8, dtype=torch.float64),
        torch.rand(2, 9, 4, 2, 3, 2, dtype=torch.float64),
        torch.randn(2, 9, 4, 2, 3, dtype=torch.float64),
    ]
    for x in inputs:
        x.requires_grad_()
    value, places, attention = inputs
    weight = torch.randn(2, 9, 32, dtype=torch.float64)
    function = ops.multi_scale_deform_attn.multi_scale_deformable_attn_pytorch
    expected = function(value, shapes, places, attention)
    grads = [torch.zeros_like(x) for x in inputs]
    ext.ms_deform_attn_backward(value, shapes, starts, places, attention, weight, *grads, 64)
    ours = ext.ms_deform_attn_forward(value, shapes, starts, places, attention, 64)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(tuple(grads), torch.autograd.grad((expected * weight).sum(), inputs))


def test_focal_loss_and_its_gradient(ext: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against mmdet's function for CPUs; class 4 of 4 stands for background."""
    logits = (torch.randn(50, 4) * 5).requires_grad_()
    target = torch.randint(0, 5, (50,))
    one_hot = torch.nn.functional.one_hot(target, 5)[:, :4]
    expected = py_sigmoid_focal_loss(logits, one_hot, reduction="none")
    monkeypatch.setattr(import_module("mmcv.ops.focal_loss"), "ext_module", ext)
    ours = ops.sigmoid_focal_loss(logits, target, 2.0, 0.25, None, "none")
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(
        torch.autograd.grad(ours.sum(), logits), torch.autograd.grad(expected.sum(), logits)
    )


def test_other_ops_are_refused_by_name(ext: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    boxes, scores = boxes_with_scores(3)
    monkeypatch.setattr(import_module("mmcv.ops.nms"), "ext_module", ext)
    with pytest.raises(
        NotImplementedError, match=r"'softnms' .*; expected an mmcv with compiled ops"
    ):
        ops.soft_nms(boxes, scores)
    monkeypatch.setattr(import_module("mmcv.ops.roi_align"), "ext_module", ext)
    with pytest.raises(NotImplementedError, match="pool_mode='max'; expected 'avg'"):
        ops.roi_align(torch.ones(1, 1, 4, 4), torch.tensor([[0.0, 0, 0, 3, 3]]), 2, 1.0, 0, "max")
    with pytest.raises(NotImplementedError, match="class weights; expected none"):
        ext.sigmoid_focal_loss_forward(scores[:, None], None, torch.ones(1), scores, 2.0, 0.25)


@pytest.mark.parametrize("kind", ["mask-rcnn", "boxes"])
def test_a_detector_has_the_same_losses_and_gradients(
    ext: ModuleType, monkeypatch: pytest.MonkeyPatch, toy: Path, tmp_path: Path, kind: str
) -> None:
    cfg = settings(kind, toy, tmp_path)
    init_default_scope("mmdet")
    model = random_model(cfg, 0.02).train()
    loader = {**cfg.train_dataloader, "num_workers": 0, "persistent_workers": False}
    batch = next(iter(Runner.build_dataloader(loader, seed=0)))

    def losses() -> tuple[dict[str, Tensor], Tensor]:
        torch.manual_seed(0)
        model.zero_grad()
        data = model.data_preprocessor(copy.deepcopy(batch), training=True)
        loss, parts = model.parse_losses(model(**data, mode="loss"))
        loss.backward()
        grads = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        return {name: value.detach() for name, value in parts.items()}, torch.cat(grads)

    of_mmcv = losses()
    calls = []
    for name, op in (("nms", "nms"), ("roi_align", "roi_align_forward")):
        monkeypatch.setattr(import_module(f"mmcv.ops.{name}"), "ext_module", ext)
        counted = partial(
            lambda op, *args, **more: calls.append(op) or op(*args, **more), getattr(ext, op)
        )
        monkeypatch.setattr(ext, op, counted)
    torch.testing.assert_close(losses(), of_mmcv, rtol=1e-4, atol=1e-5)
    assert len(set(calls)) == 2


def test_mmdet_loads_with_an_mmcv_that_was_not_compiled(tmp_path: Path) -> None:
    """mmcv's Python files with this file in the place of the compiled one."""
    source = Path(find_spec("mmcv").origin).parent
    shutil.copytree(source, tmp_path / "mmcv", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    shutil.copy(FILE, tmp_path / "mmcv")
    code = (
        "import mmdet.models, mmcv.ops; from mmcv import _ext; print(_ext.__file__);"
        "print(mmcv.ops.get_compiler_version())"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    env = os.environ | {"PYTHONPATH": path}
    out = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    place, compiler = out.stdout.splitlines()[-2:]
    assert place == str(tmp_path / "mmcv/_ext.py")
    assert compiler.startswith("none: ops of torchvision")


def test_missing_ops_are_named_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mmcv._ext", None)
    refusal = r"mmcv's ops cannot be loaded .*; expected requirements"
    with pytest.raises(SetupError, match=refusal), building():
        ext_loader.load_ext("_ext", ["nms"])
    with pytest.raises(ImportError, match="a bug"), building():
        raise ImportError("a bug", name="another")
