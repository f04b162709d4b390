# Hiera-H, Mask R-CNN on COCO, with FSDP: the recipe for batch 64, its state shared out over 8 GPUs.
# Hardware: 8 GPUs. Weights: MAE on ImageNet-1K, CC BY-NC 4.0.
# Command: tools/dist_train.sh configs/scale/mask-rcnn_hiera-h_fpn-fsdp_8xb8-amp-lsj-100e_coco.py 8
# Published: none. Ours: not yet run.
_base_ = [
    '../mask_rcnn/mask-rcnn_hiera-h_fpn_8xb8-amp-lsj-100e_coco.py',
    '../_base_/strategies/fsdp.py'
]
