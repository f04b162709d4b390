"""The twin of a two-stage detector of MMDetection: Faster, Mask and Cascade (Mask) R-CNN.

It predicts as the host does, for one image: proposals of the RPN, one or several box heads, and a
mask head. Regions are sorted by the level they are pooled from, so that each level pools its own.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hiera_dense.deploy.graph import Size
from hiera_dense.deploy.refusing import require_kind, require_value
from hiera_dense.deploy.regions import anchors, by_level, decoded, suppressed
from hiera_dense.errors import SetupError

# `split_thr` says only from how many boxes on classes are gone through one after the other.
_NMS = {"type", "iou_threshold", "class_agnostic", "split_thr"}


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
            rois, totals, features = by_level(extractor, maps, rois, totals)
            logits, deltas = head(features)
            totals = logits if totals is None else totals + logits
            boxes = decoded(head.bbox_coder, rois, deltas, limits)
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
            priors = anchors(generator.base_anchors[i], generator.strides[i], logits)
            deltas = deltas[0].permute(1, 2, 0).reshape(-1, 4)
            logits = logits[0].permute(1, 2, 0).reshape(-1, self.rpn.cls_out_channels)
            is_sigmoid = self.rpn.use_sigmoid_cls
            score = (logits.sigmoid() if is_sigmoid else logits.softmax(-1))[:, 0]
            if cfg.get("nms_pre", -1) > 0:
                count = torch.sym_min(score.shape[0], cfg.nms_pre)  # type: ignore[no-untyped-call]
                score, best = score.topk(count)
                deltas, priors = deltas[best], priors[best]
            boxes.append(decoded(self.rpn.bbox_coder, priors, deltas, limits)[:, 0])
            scores.append(score)
            levels.append(torch.full_like(score, i))
        box, score, level = torch.cat(boxes), torch.cat(scores), torch.cat(levels)
        least = cfg.get("min_bbox_size", -1)
        if least >= 0:
            sides = box[:, 2:] - box[:, :2]
            kept = (sides > least).all(1).nonzero()[:, 0]
            box, score, level = box[kept], score[kept], level[kept]
        kept = suppressed(box, score, level, cfg.nms, cfg.max_per_img)
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
        kept = suppressed(box, score, label, self.rcnn_cfg.nms, self.rcnn_cfg.max_per_img)
        return box[kept], score[kept], label[kept]

    def _with_masks(self, maps: Sequence[Tensor], found: dict[str, Tensor]) -> dict[str, Tensor]:
        total: Tensor | None = None
        extra = torch.stack([found["scores"], found["labels"].float()], 1)
        boxes, sorted_, features = by_level(self.mask_extractors[0], maps, found["boxes"], extra)
        assert sorted_ is not None
        scores, labels = sorted_[:, 0], sorted_[:, 1].long()
        for i, head in enumerate(self.mask_heads):
            if i:  # the order stays: the same boxes are sorted by the same rule
                _, _, features = by_level(self.mask_extractors[i], maps, boxes, None)
            logits = head(features)
            each = torch.arange(labels.shape[0], device=labels.device)
            which = torch.zeros_like(labels) if head.class_agnostic else labels
            mask = logits[each, which].sigmoid()
            total = mask if total is None else total + mask
        assert total is not None
        masks = total / len(self.mask_heads)
        return dict(boxes=boxes, scores=scores, labels=labels, masks=masks)


def twin(model: Any, cfg: Mapping[str, Any]) -> nn.Module:
    """The twin of a two-stage detector.

    Raises:
        SetupError: A part of it cannot be exported.
    """
    roi, rpn = model.roi_head, model.rpn_head
    require_kind("roi_head", roi, "StandardRoIHead", "CascadeRoIHead")
    require_kind("rpn_head", rpn, "RPNHead", "Float32RPNHead")
    require_kind("rpn_head.anchor_generator", rpn.prior_generator, "AnchorGenerator")
    several = type(roi).__name__ == "CascadeRoIHead"
    boxes = list(roi.bbox_head) if several else [roi.bbox_head]
    extractors = list(roi.bbox_roi_extractor) if several else [roi.bbox_roi_extractor]
    if roi.with_shared_head:
        raise SetupError("roi_head.shared_head cannot be exported; expected none")
    for i, head in enumerate(boxes):
        require_kind(
            "bbox_head",
            head,
            *("BBoxHead", "ConvFCBBoxHead", "Shared2FCBBoxHead", "Shared4Conv1FCBBoxHead"),
        )
        if head.custom_cls_channels or head.custom_activation:
            raise SetupError(
                f"{type(head.loss_cls).__name__} of bbox_head has an activation of its own; "
                "expected CrossEntropyLoss to export it"
            )
        require_value("bbox_head.with_reg", head.with_reg, True)
        require_value("bbox_head.with_cls", head.with_cls, True)
        require_value("bbox_head.predict_box_type", head.predict_box_type, "hbox")
        if i < len(boxes) - 1 and not head.reg_class_agnostic:
            raise SetupError("bbox_head.reg_class_agnostic=False in a cascade; expected True")
    mask_extractors = []
    if roi.with_mask:
        heads = roi.mask_head if isinstance(roi.mask_head, nn.ModuleList) else [roi.mask_head]
        for head in heads:
            require_kind("mask_head", head, "FCNMaskHead")
            if head.upsample_method == "carafe":
                raise SetupError(
                    "mask_head.upsample_cfg type 'carafe' cannot be exported; expected 'deconv', "
                    "'nearest', 'bilinear' or None"
                )
        threshold = model.test_cfg.rcnn.mask_thr_binary
        if threshold < 0:
            raise SetupError(
                f"test_cfg.rcnn.mask_thr_binary {threshold}; expected 0 to 1 to export it: masks "
                "are of True and False"
            )
        found = roi.mask_roi_extractor
        mask_extractors = list(found) if isinstance(found, nn.ModuleList) else [found]
    for extractor in (*extractors, *mask_extractors):
        require_kind("roi_extractor", extractor, "SingleRoIExtractor", "Float32RoIExtractor")
        for layer in extractor.roi_layers:
            if type(layer).__name__ != "RoIAlign" or layer.pool_mode != "avg":
                raise SetupError(f"{layer} of roi_extractor; expected RoIAlign that averages")
    for coder in (rpn.bbox_coder, *(head.bbox_coder for head in boxes)):
        require_kind("bbox_coder", coder, "DeltaXYWHBBoxCoder")
        if coder.add_ctr_clamp:
            raise SetupError("bbox_coder.add_ctr_clamp=True; expected False to export it")
    for name in ("rpn", "rcnn"):
        nms = model.test_cfg[name].get("nms") or {}
        if nms.get("type", "nms") != "nms" or not {"iou_threshold"} <= set(nms) <= _NMS:
            raise SetupError(
                f"test_cfg.{name}.nms {dict(nms)}; expected dict(type='nms', iou_threshold=...) "
                "to export it, and at most class_agnostic with it"
            )
    most = model.test_cfg.rpn.max_per_img
    if most < 1:
        raise SetupError(f"test_cfg.rpn.max_per_img {most}; expected 1 or more to export it")
    return TwoStage(model, boxes, extractors).eval()
