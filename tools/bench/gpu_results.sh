#!/bin/sh
# Everything about trainings that docs say is "not yet run" on a GPU, in one go of about 8 minutes:
#
#     tools/bench/gpu_results.sh FOLDER [SECONDS]
#
# The parts of a training, with and without each setting that may make it faster; then Hiera-T and
# Swin-T on a folder in COCO's format, for equal time (default: 60 s each) at 512 px, and Hiera-T
# again after masked pretraining on the same images. TRY=1 does the same in small on a CPU, without
# UperNet.
set -eu
[ $# -ge 1 ] || { sed -n '2,4p' "$0" >&2; exit 2; }
data=$1 seconds=${2:-60}
size=512 steps=1000 batch=8 workers=8 counted=20 warm_up=3 rise=50
precision="optim_wrapper.type=AmpOptimWrapper optim_wrapper.loss_scale=dynamic"
compiled="--variant compiled:model.backbone.compile=True"
bfloat16="--variant bfloat16:optim_wrapper.loss_scale.enabled=False,optim_wrapper.dtype=bfloat16"
detector=mask-rcnn_hiera-t_fpn_8xb8-amp-lsj-100e_coco
segmenter=upernet_hiera-t_8xb2-amp-160k_ade20k-512x512
if [ "${TRY:-}" ]; then
    size=64 steps=2 batch=1 workers=1 counted=1 warm_up=1 rise=1 compiled="" bfloat16="" precision="log_level=INFO"
    detector="mask-rcnn_hiera-t_fpn_1xb2-200i_coco-folder --data $data" segmenter=""
fi
python=${PYTHON:-python}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for recipe in "$detector" $segmenter; do
    echo "## $recipe"
    # shellcheck disable=SC2086
    "$python" -m tools.bench.time_training $recipe --batch "$batch" --workers "$workers" \
        --iterations "$counted" --warm-up "$warm_up" --runs 1 $compiled $bfloat16 \
        --variant fused:optim_wrapper.optimizer.fused=True \
        --variant pinned:train_dataloader.pin_memory=True,model.data_preprocessor.non_blocking=True
done

echo "## masked pretraining, $steps iterations"
"$python" -m hiera_dense train mae_hiera-t_1xb16-1k_image-folder-160x160 --data "$data" \
    --work-dir "$work/mae" --cfg-options "train_cfg.max_iters=$steps" "train_cfg.val_interval=$steps" \
    "default_hooks.checkpoint.interval=$steps" "param_scheduler.0.end=$rise" \
    "param_scheduler.1.begin=$rise" "param_scheduler.1.end=$steps" > "$work/mae.txt" 2>&1 \
    || { tail "$work/mae.txt"; exit 1; }
tail -n 1 "$work/mae.txt"

echo "## equal time"
# shellcheck disable=SC2086
"$python" -m tools.bench.equal_time "$data" --size "$size" --seconds "$seconds" --seeds 0 \
    --contestants hiera swin "hiera=$work/mae/iter_$steps.pth" --options $precision
