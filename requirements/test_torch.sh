#!/bin/sh
# Run the tests of the trunk on another torch: requirements/test_torch.sh VERSION [PYTHON]
#
# The environment is a temporary one. `===` takes the registry's own build of that version.
set -eu
[ -n "${1:-}" ] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
trap 'exit 1' INT TERM
cd "$(dirname "$0")/.."
"${2:-python3.11}" -m venv "$place"
python=$place/bin/python
"$python" -m pip install --quiet --disable-pip-version-check uv==0.13.9
"$place/bin/uv" pip install --quiet --python "$python" "torch===$1" -r requirements/trunk.txt
set --
for name in windows plan pos_embed relative hiera blocks modules cpu compile; do
    set -- "$@" "tests/model/test_$name.py"
done
"$python" -m pytest -n auto "$@"
