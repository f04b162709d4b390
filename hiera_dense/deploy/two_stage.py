"""The twin of a two-stage detector of MMDetection: Faster, Mask and Cascade (Mask) R-CNN.

It predicts as the host does, for one image: proposals of the RPN, one or several box heads, and a
mask head. Regions are sorted by the level they are pooled from, so that each level pools its own.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hiera_dense.deploy.graph import Size
from hiera_dense.errors import SetupError


class TwoStage(nn.Module):
    """Backbone, neck, RPN and RoI heads.

    Args:
        model: A detector of mmdet.
        boxes: The box heads, one after the other.
        extractors: What pools the regions of each.
    """

    last_opset = 21
    needs = "RoiAlign"

    def __init__(self, model: Any, boxes: Sequence[Any], extractors: Sequence[Any]) -> None:
        super().__init__()
        roi = model.roi_head
        self.backbone = model.backbone
        self.neck = model.neck if model.with_neck else None
        self.rpn = model.rpn_head
        self.box_heads = nn.ModuleList(boxes)
        self.extractors = nn.ModuleList(extractors)
        self.masks = "box" if roi.with_mask else None
        self.rpn_cfg, self.rcnn_cfg = model.test_cfg.rpn, model.test_cfg.rcnn
        self.mask_heads = nn.ModuleList()
        self.mask_extractors = nn.ModuleList()
        if roi.with_mask:
            head, extractor = roi.mask_head, roi.mask_roi_extractor
            several = isinstance(head, nn.ModuleList)
            self.mask_heads.extend(head if several else [head])
            self.mask_extractors.extend(extractor if several else [extractor])

    def forward(self, image: Tensor, size: Size) -> dict[str, Tensor]:
        """Objects."""
        maps = self.backbone(image)
        if self.neck is not None:
            maps = self.neck(maps)
        # The far corner of the image, (w, h, w, h); float() would bind the graph to this size.
        limits = torch.stack([torch.ones(()) * side for side in size[::-1]]).repeat(2)
        rois = self._proposals(maps, limits)
        last = len(self.box_heads) - 1
        totals: Tensor | None = None
        for i, (head, extractor) in enumerate(zip(self.box_heads, self.extractors, strict=True)):
            rois, totals, features = _by_level(extractor, maps, rois, totals)
            logits, deltas = head(features)
            totals = logits if totals is None else totals + logits
            boxes = _decoded(head.bbox_coder, rois, deltas, limits)
            if i < last:
                rois = boxes[:, 0]
        assert totals is not None
        scores = (totals / (last + 1)).softmax(-1)[:, :-1]
        boxes, scores, labels = self._detections(boxes, scores)
        found = dict(boxes=boxes, scores=scores, labels=labels)
        if self.masks is None:
            return found
        return self._with_masks(maps, found)

    def _proposals(self, maps: Sequence[Tensor], limits: Tensor) -> Tensor:
        cfg = self.rpn_cfg
        generator = self.rpn.prior_generator
        boxes, scores, levels = [], [], []
        for i, (logits, deltas) in enumerate(zip(*self.rpn(maps), strict=True)):
            priors = _anchors(generator.base_anchors[i], generator.strides[i], logits)
            deltas = deltas[0].permute(1, 2, 0).reshape(-1, 4)
            logits = logits[0].permute(1, 2, 0).reshape(-1, self.rpn.cls_out_channels)
            is_sigmoid = self.rpn.use_sigmoid_cls
            score = (logits.sigmoid() if is_sigmoid else logits.softmax(-1))[:, 0]
            if cfg.get("nms_pre", -1) > 0:
                count = torch.sym_min(score.shape[0], cfg.nms_pre)  # type: ignore[no-untyped-call]
                score, best = score.topk(count)
                deltas, priors = deltas[best], priors[best]
            boxes.append(_decoded(self.rpn.bbox_coder, priors, deltas, limits)[:, 0])
            scores.append(score)
            levels.append(torch.full_like(score, i))
        box, score, level = torch.cat(boxes), torch.cat(scores), torch.cat(levels)
        least = cfg.get("min_bbox_size", -1)
        if least >= 0:
            sides = box[:, 2:] - box[:, :2]
            kept = (sides > least).all(1).nonzero()[:, 0]
            box, score, level = box[kept], score[kept], level[kept]
        kept = _nms(box, score, level, cfg.nms, cfg.max_per_img)
        return box[kept]

    def _detections(self, boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes of each class, those that overlap a better one left out.

        Args:
            boxes: Shape (n, classes or 1, 4).
            scores: Shape (n, classes).
        """
        region, label = (scores > self.rcnn_cfg.score_thr).nonzero().unbind(1)
        score = scores[region, label]
        box = boxes[region, label] if boxes.shape[1] > 1 else boxes[region, 0]
        kept = _nms(box, score, label, self.rcnn_cfg.nms, self.rcnn_cfg.max_per_img)
        return box[kept], score[kept], label[kept]

    def _with_masks(self, maps: Sequence[Tensor], found: dict[str, Tensor]) -> dict[str, Tensor]:
        total: Tensor | None = None
        extra = torch.stack([found["scores"], found["labels"].float()], 1)
        boxes, sorted_, features = _by_level(self.mask_extractors[0], maps, found["boxes"], extra)
        assert sorted_ is not None
        scores, labels = sorted_[:, 0], sorted_[:, 1].long()
        for i, head in enumerate(self.mask_heads):
            if i:  # the order stays: the same boxes are sorted by the same rule
                _, _, features = _by_level(self.mask_extractors[i], maps, boxes, None)
            logits = head(features)
            each = torch.arange(labels.shape[0], device=labels.device)
            which = torch.zeros_like(labels) if head.class_agnostic else labels
            mask = logits[each, which].sigmoid()
            total = mask if total is None else total + mask
        assert total is not None
        masks = total / len(self.mask_heads)
        return dict(boxes=boxes, scores=scores, labels=labels, masks=masks)


def _anchors(base: Tensor, stride: tuple[int, int], grid: Tensor) -> Tensor:
    """Anchors of a level, (cells * anchors, 4), as `AnchorGenerator` makes them."""
    rows, columns = grid.shape[2:]
    y = torch.arange(rows, dtype=torch.float32) * stride[1]
    x = torch.arange(columns, dtype=torch.float32) * stride[0]
    xs, ys = x[None].expand(rows, columns), y[:, None].expand(rows, columns)
    shifts = torch.stack([xs, ys, xs, ys], -1).reshape(-1, 1, 4)
    return (shifts + base[None]).reshape(-1, 4)


def _decoded(coder: Any, boxes: Tensor, deltas: Tensor, limits: Tensor) -> Tensor:
    """Boxes moved by what a head predicts, (n, classes or 1, 4), as `DeltaXYWHBBoxCoder` does."""
    moves = deltas.reshape(deltas.shape[0], deltas.shape[1] // 4, 4)
    moves = moves * moves.new_tensor(coder.stds) + moves.new_tensor(coder.means)
    low, high = boxes[:, None, :2], boxes[:, None, 2:]
    centres, sides = (low + high) * 0.5, high - low
    bound = abs(math.log(16 / 1000))
    centres = centres + sides * moves[..., :2]
    sides = sides * moves[..., 2:].clamp(-bound, bound).exp()
    moved = torch.cat([centres - sides * 0.5, centres + sides * 0.5], -1)
    if not coder.clip_border:
        return moved
    return torch.minimum(moved.clamp(min=0), limits)


def _nms(boxes: Tensor, scores: Tensor, groups: Tensor, cfg: Any, most: int) -> Tensor:
    """Places of the boxes that overlap no better one of their group, best first; `batched_nms`."""
    from torchvision.ops import nms

    corner = torch.cat([boxes.flatten(), boxes.new_zeros(1)]).max()
    apart = boxes
    if not cfg.get("class_agnostic", False):
        apart = boxes + (groups.to(boxes) * (corner + 1))[:, None]
    kept: Tensor = nms(apart, scores, cfg["iou_threshold"])
    return kept[:most] if most > 0 else kept


def _by_level(
    extractor: Any, maps: Sequence[Tensor], boxes: Tensor, more: Tensor | None
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Features of regions, sorted by their level.

    Args:
        extractor: `SingleRoIExtractor`.
        maps: Of all levels.
        boxes: Shape (n, 4).
        more: Something else of each box, to be sorted likewise.

    Returns:
        Boxes, the other thing, and features (n, C, h, w), in one order.
    """
    from torchvision.ops import roi_align

    layers = extractor.roi_layers
    if len(layers) == 1:
        places = [torch.arange(boxes.shape[0], device=boxes.device)]
    else:
        scale = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sqrt()
        level = (scale / extractor.finest_scale + 1e-6).log2().floor()
        level = level.clamp(0, len(layers) - 1)
        places = [(level == i).nonzero()[:, 0] for i in range(len(layers))]
    parts = []
    for layer, image, place in zip(layers, maps, places, strict=False):
        own = boxes[place]
        rois = torch.cat([torch.zeros_like(own[:, :1]), own], 1)
        parts.append(
            roi_align(
                image,
                rois,
                layer.output_size,
                layer.spatial_scale,
                layer.sampling_ratio,
                layer.aligned,
            )
        )
    order = torch.cat(places)
    return boxes[order], None if more is None else more[order], torch.cat(parts)


def twin(model: Any, cfg: Mapping[str, Any]) -> nn.Module:
    """The twin of a two-stage detector.

    Raises:
        SetupError: A part of it cannot be exported.
    """
    roi, rpn = model.roi_head, model.rpn_head
    _require("roi_head", roi, "StandardRoIHead", "CascadeRoIHead")
    _require("rpn_head", rpn, "RPNHead")
    _require("rpn_head.anchor_generator", rpn.prior_generator, "AnchorGenerator")
    several = type(roi).__name__ == "CascadeRoIHead"
    boxes = list(roi.bbox_head) if several else [roi.bbox_head]
    extractors = list(roi.bbox_roi_extractor) if several else [roi.bbox_roi_extractor]
    if roi.with_shared_head:
        raise SetupError("roi_head.shared_head cannot be exported; expected none")
    for i, head in enumerate(boxes):
        _require(
            "bbox_head",
            head,
            *("BBoxHead", "ConvFCBBoxHead", "Shared2FCBBoxHead", "Shared4Conv1FCBBoxHead"),
        )
        if head.custom_cls_channels or head.custom_activation:
            raise SetupError(
                f"{type(head.loss_cls).__name__} of bbox_head has an activation of its own; "
                "expected CrossEntropyLoss to export it"
            )
        if i < len(boxes) - 1 and not head.reg_class_agnostic:
            raise SetupError("bbox_head.reg_class_agnostic=False in a cascade; expected True")
    mask_extractors = []
    if roi.with_mask:
        heads = roi.mask_head if isinstance(roi.mask_head, nn.ModuleList) else [roi.mask_head]
        for head in heads:
            _require("mask_head", head, "FCNMaskHead")
        found = roi.mask_roi_extractor
        mask_extractors = list(found) if isinstance(found, nn.ModuleList) else [found]
    for extractor in (*extractors, *mask_extractors):
        _require("roi_extractor", extractor, "SingleRoIExtractor")
        for layer in extractor.roi_layers:
            if type(layer).__name__ != "RoIAlign" or layer.pool_mode != "avg":
                raise SetupError(f"{layer} of roi_extractor; expected RoIAlign that averages")
    for coder in (rpn.bbox_coder, *(head.bbox_coder for head in boxes)):
        _require("bbox_coder", coder, "DeltaXYWHBBoxCoder")
        if coder.add_ctr_clamp:
            raise SetupError("bbox_coder.add_ctr_clamp=True; expected False to export it")
    for name in ("rpn", "rcnn"):
        nms = model.test_cfg[name].nms
        if nms.get("type", "nms") != "nms" or "iou_threshold" not in nms:
            raise SetupError(
                f"test_cfg.{name}.nms {dict(nms)}; expected dict(type='nms', iou_threshold=...) "
                "to export it"
            )
    return TwoStage(model, boxes, extractors).eval()


def _require(name: str, part: Any, *kinds: str) -> None:
    if type(part).__name__ not in kinds:
        raise SetupError(
            f"{name} {type(part).__name__} cannot be exported; expected {' or '.join(kinds)}"
        )
