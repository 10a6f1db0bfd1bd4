#!/bin/sh
# Measures mmgen beside other programs and prints the ratios: run.sh TABLE [options of compare.py].
#
# Installs and builds nothing. Paths come from the environment or from flags:
#   MMGEN         the program built for release        (default: .build/release/mmgen of this checkout)
#   TORCH_PYTHON  a Python with PyTorch and TorchMultimodal
#   LLAMA_BENCH   llama.cpp's llama-bench
#   GGUF_DIR      where random networks are written for it (default: build-gguf beside this script)
#   MODELS_DIR    where random models are written for the table process (default: build-models beside this script)
# Results are written to results/TABLE.json beside this script.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
table=${1:?give a table: reference, process, reference8, torch, llama or training}
shift
: "${MMGEN:=$here/../../.build/release/mmgen}"
: "${GGUF_DIR:=$here/build-gguf}"
: "${MODELS_DIR:=$here/build-models}"
: "${PYTHON:=python3}"
export MMGEN GGUF_DIR MODELS_DIR
unset OPENBLAS_CORETYPE OPENBLAS_NUM_THREADS
if [ "$table" = llama ]; then
    mkdir -p "$GGUF_DIR"
    for type in f32 f16 bf16 q8_0 q4_0; do
        [ -s "$GGUF_DIR/$type.gguf" ] && continue
        # Needs numpy, which a Python with PyTorch has.
        "${TORCH_PYTHON:-$PYTHON}" "$here/random_gguf.py" "$GGUF_DIR/$type.gguf.new" --type "$type"
        mv "$GGUF_DIR/$type.gguf.new" "$GGUF_DIR/$type.gguf"
    done
fi
if [ "$table" = process ] && [ ! -e "$MODELS_DIR/int8" ]; then
    mkdir -p "$MODELS_DIR"
    "$MMGEN" convert --name text_video_gpt --untrained --force --quiet -o "$MODELS_DIR/f32" >&2
    for kind in bf16 int8; do
        "$MMGEN" quantize "$MODELS_DIR/f32" --weights $kind --kv $kind --no-report --force --quiet \
            -o "$MODELS_DIR/$kind" >&2
    done
fi
exec "$PYTHON" "$here/compare.py" "$table" -o "$here/results/$table.json" "$@"
