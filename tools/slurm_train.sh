#!/bin/sh
# Train in a slurm job, one process for each GPU: [GPUS_PER_NODE=8] [CPUS_PER_TASK=8] [SRUN_ARGS=...]
# tools/slurm_train.sh PARTITION JOB_NAME CONFIG GPUS [options of hiera-dense train]
set -eu
[ $# -ge 4 ] || { sed -n '2,3s/^# //p' "$0" >&2; exit 2; }
partition=$1
job=$2
config=$3
gpus=$4
shift 4
per_node=${GPUS_PER_NODE:-8}
[ "$gpus" -ge "$per_node" ] || per_node=$gpus
# Where one process ends with an error the others would wait for it.
# shellcheck disable=SC2086 # SRUN_ARGS are several
exec srun --partition="$partition" --job-name="$job" --gres="gpu:$per_node" --ntasks="$gpus" \
    --ntasks-per-node="$per_node" --cpus-per-task="${CPUS_PER_TASK:-8}" --kill-on-bad-exit=1 \
    ${SRUN_ARGS:-} "${PYTHON:-python}" -u "$(dirname "$0")/train.py" "$config" --launcher slurm "$@"
