#!/bin/sh
# Forward passes and training steps of the models that understand, mmgen and PyTorch in turn: understanding.sh [MODEL ...]
# [options of understanding.py], such as `understanding.sh clip mdetr --quick`.
#
# Installs and builds nothing. MMGEN, TORCH_PYTHON and PYTHON are as in run.sh; MULTIMODAL_EXAMPLES is a checkout of
# facebookresearch/multimodal, for ALBEF's retrieval and VideoCLIP. Results are written to results/understanding.json.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
: "${MMGEN:=$here/../../.build/release/mmgen}"
: "${PYTHON:=python3}"
export MMGEN
exec "$PYTHON" "$here/understanding.py" -o "$here/results/understanding.json" "$@"
