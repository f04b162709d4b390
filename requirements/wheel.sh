#!/bin/sh
# Build the sdist and the wheel into dist/ and try the wheel: requirements/wheel.sh [PYTHON]
#
# The wheel is built from the sdist, so a file that the sdist lacks is missed here and not by users. It is
# installed into an empty environment without the packages it needs: the commands that need none of them
# have to work, and the recipes have to be there.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
trap 'exit 1' INT TERM
cd "$(dirname "$0")/.."
"${1:-python3.11}" -m venv "$place/tools"
"$place/tools/bin/python" -m pip install --quiet --disable-pip-version-check build==1.6.1 twine==7.0.0
rm -rf dist
"$place/tools/bin/python" -m build --outdir dist . >"$place/log" 2>&1 || { cat "$place/log" >&2; exit 1; }
"$place/tools/bin/twine" check --strict dist/*

"${1:-python3.11}" -m venv "$place/empty"
"$place/empty/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps dist/*.whl
cd "$place"
empty/bin/hiera-dense --version
empty/bin/hiera-dense archs >archs
empty/bin/hiera-dense recipes 'mask-rcnn*coco-folder' | grep -q mask-rcnn_hiera-t_fpn_1xb2-200i_coco-folder
echo "the wheel installs, and has its recipes"
