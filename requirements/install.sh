#!/bin/sh
# Install a stack and this package into a virtual environment: requirements/install.sh VENV [FLAVOUR]
#
# FLAVOUR is a folder beside this file: onedl (the maintained fork, default) or openmmlab (the original
# packages).
#
# mmcv is a source package that compiles against the torch it finds, and leaves its ops out if it finds
# none. So torch comes first, then mmcv without build isolation. Its wheel is kept in a folder named
# after all that it depends on (built without a GPU in sight it holds CPU ops only); pip's own cache
# would hand it to another torch.
set -eu
[ $# -ge 1 ] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
[ -x "$1/bin/python" ] || "${PYTHON:-python3.11}" -m venv "$1"
venv=$(cd "$1" && pwd)
python=$venv/bin/python
cd "$(dirname "$0")/.."
flavour=requirements/${2:-onedl}
[ -d "$flavour" ] || { echo "no $flavour; expected onedl or openmmlab" >&2; exit 2; }

"$python" -m pip install --quiet --disable-pip-version-check uv==0.13.9

install() { "$venv/bin/uv" pip install --python "$python" --constraints "$flavour/constraints.txt" "$@"; }

install -r requirements/torch.txt
mmcv=$(grep -E '^(onedl-)?mmcv==' "$flavour/constraints.txt")
key=$mmcv-$("$python" -c 'import platform, sys, torch
device = "cuda" if torch.cuda.is_available() else "cpu"
print("torch", torch.__version__, sys.implementation.cache_tag, platform.machine(), device, sep="-")')
wheels=${XDG_CACHE_HOME:-$HOME/.cache}/hiera_dense/wheels/$key
if ! ls "$wheels"/*.whl >/dev/null 2>&1; then
    echo "compiling $mmcv, once; this takes minutes"
    "$python" -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation \
        --no-cache-dir --wheel-dir "$wheels.part" "$mmcv"
    mkdir -p "$wheels"
    mv "$wheels.part"/*.whl "$wheels"
    rmdir "$wheels.part"
fi
install --no-build-isolation "$wheels"/*.whl -r "$flavour/hosts.txt" -r requirements/dev.txt
install --no-build-isolation --no-deps --editable .
"$python" -c 'import mmcv.ops, mmdet, mmseg, hiera_dense.mm.backbone'
