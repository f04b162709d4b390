#!/bin/sh
# Train with several processes on one machine, one for each GPU, or on the CPU where there is none:
# tools/dist_train.sh CONFIG PROCESSES [options of tools/train.py]
set -eu
[ $# -ge 2 ] || { sed -n '2,3s/^# //p' "$0" >&2; exit 2; }
config=$1
processes=$2
shift 2
exec "${PYTHON:-python}" -m torch.distributed.run --standalone --nproc-per-node "$processes" \
    "$(dirname "$0")/train.py" "$config" --launcher pytorch "$@"
