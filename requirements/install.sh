#!/bin/sh
# Install a stack and this package into a virtual environment: requirements/install.sh VENV [FLAVOUR [OPS [CONTENT]]]
#
# FLAVOUR is a folder beside this file: onedl (the maintained fork, default) or openmmlab (the original
# packages). OPS is compiled (default), or torchvision: then nothing is compiled, and mmcv_ops/ takes the
# place of mmcv's own ops (docs/install.md). CONTENT is develop (default), or stack: without this package and
# without what its tests need.
#
# mmcv is a source package that compiles against the torch it finds, and leaves its ops out if it finds
# none. So torch comes first, then mmcv without build isolation. Its wheel is kept in a folder named
# after all that it depends on; pip's own cache would hand it to another torch. Built without a GPU in
# sight it holds CPU ops only, unless FORCE_CUDA is 1, which mmcv reads.
set -eu
[ $# -ge 1 ] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
[ -x "$1/bin/python" ] || "${PYTHON:-python3.11}" -m venv "$1"
venv=$(cd "$1" && pwd)
python=$venv/bin/python
cd "$(dirname "$0")/.."
flavour=requirements/${2:-onedl}
[ -d "$flavour" ] || { echo "no $flavour; expected onedl or openmmlab" >&2; exit 2; }
ops=${3:-compiled}
case $ops in
    compiled) isolation=--no-build-isolation ;;
    torchvision) isolation= ;; # built where there is no torch, mmcv has no ops
    *) echo "ops $ops; expected compiled or torchvision" >&2; exit 2 ;;
esac
content=${4:-develop}
case $content in
    develop | stack) ;;
    *) echo "content $content; expected develop or stack" >&2; exit 2 ;;
esac

"$python" -m pip install --quiet --disable-pip-version-check uv==0.13.9

install() { "$venv/bin/uv" pip install --python "$python" --constraints "$flavour/constraints.txt" "$@"; }

install -r requirements/torch.txt
mmcv=$(grep -E '^(onedl-)?mmcv==' "$flavour/constraints.txt")
if [ "$ops" = torchvision ]; then
    case $mmcv in mmcv==*) mmcv=mmcv-lite==${mmcv#mmcv==} ;; esac # how the original names it
    key=$mmcv-without-ops
else
    key=$mmcv-$("$python" -c 'import os, platform, sys, torch
device = "cuda" if torch.cuda.is_available() or os.environ.get("FORCE_CUDA") == "1" else "cpu"
print("torch", torch.__version__, sys.implementation.cache_tag, platform.machine(), device, sep="-")')
fi
wheels=${XDG_CACHE_HOME:-$HOME/.cache}/hiera_dense/wheels/$key
if ! ls "$wheels"/*.whl >/dev/null 2>&1; then
    [ "$ops" = torchvision ] || echo "compiling $mmcv, once; this takes minutes"
    # shellcheck disable=SC2086 # an empty $isolation is no argument
    "$python" -m pip wheel --quiet --disable-pip-version-check --no-deps $isolation \
        --no-cache-dir --wheel-dir "$wheels.part" "$mmcv"
    mkdir -p "$wheels"
    mv "$wheels.part"/*.whl "$wheels"
    rmdir "$wheels.part"
fi
more=/dev/null
[ "$content" = stack ] || more=requirements/dev.txt
grep -vE '^(onedl-)?mmcv$' "$flavour/hosts.txt" |
    install --no-build-isolation "$wheels"/*.whl -r - -r "$more"
[ "$ops" = compiled ] || install --no-deps ./mmcv_ops
"$python" -c 'import mmcv.ops, mmdet, mmseg'
[ "$content" = develop ] || exit 0
install --no-build-isolation --no-deps --editable .
"$python" -c 'import hiera_dense.mm.backbone'
