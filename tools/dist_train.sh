#!/bin/sh
# Train with several processes, one for each GPU, or on the CPU where there is none:
# tools/dist_train.sh CONFIG PROCESSES [options of hiera-dense train]
# On several machines, on each: NODES=4 NODE_RANK=0 to 3 MASTER_ADDR=THE_FIRST [MASTER_PORT=29500]
set -eu
[ $# -ge 2 ] || { sed -n '2,4s/^# //p' "$0" >&2; exit 2; }
config=$1
processes=$2
shift 2
if [ "${NODES:-1}" -gt 1 ]; then
    meet="--nnodes $NODES --node-rank ${NODE_RANK:?} --master-addr ${MASTER_ADDR:?}"
    meet="$meet --master-port ${MASTER_PORT:-29500}"
else
    meet=--standalone
fi
# shellcheck disable=SC2086 # several words
exec "${PYTHON:-python}" -m torch.distributed.run $meet --nproc-per-node "$processes" \
    "$(dirname "$0")/train.py" "$config" --launcher pytorch "$@"
