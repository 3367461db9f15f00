#!/usr/bin/env bash
# On a machine with an NVIDIA GPU, PyTorch and no network: install from the fetched wheels and from this tree, and prove.
#
#   bash benchmarks/gpu/run.sh OUT [options of python -m benchmarks.gpu]
#
# OUT gets the records. PYTHON is the interpreter that has torch (python3). Whatever is installed lies in a temporary
# folder: the machine's own packages stay as they are, and those that are missing there are found in it first.
set -euo pipefail
out=$(realpath -m "${1:?where do the records go? bash benchmarks/gpu/run.sh OUT}")
shift
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
wheels=${WHEELS:-benchmarks/gpu/wheels}
ls "$wheels"/*.whl >/dev/null 2>&1 ||
    { echo "there are no wheels in $wheels: run python benchmarks/gpu/fetch.py where there is a network" >&2; exit 1; }

site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
install() {
    "$python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-compile --no-cache-dir \
        --no-warn-script-location --root-user-action ignore --upgrade --target "$site" "$@"
}
began=$SECONDS
install "$wheels"/*.whl
export PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
install --no-build-isolation . plugins/*/
echo "installed in $((SECONDS - began)) s"
"$python" -m benchmarks.gpu --out "$out" "$@"
