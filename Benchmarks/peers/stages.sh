#!/bin/sh
# mmgen bench alone: every stage at MUGEN's size, several sequences at once, video_gpt over its whole length, then the default
# model with and without windows. Prints the tables and writes them to results/stages.txt beside this script.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
: "${MMGEN:=$here/../../.build/release/mmgen}"
unset OPENBLAS_CORETYPE OPENBLAS_NUM_THREADS
mkdir -p "$here/results"
{
    "$MMGEN" bench --quiet --weights f32,bf16,int8,int4 --kv bf16 --depths 128,1024,4096,8192 --precision f32,bf16 \
        --repetitions 3 "$@"
    echo
    "$MMGEN" bench --quiet --stages decode --weights f32,bf16,int8,int4 --kv bf16 --batch 1,8 --depths 128
    echo
    "$MMGEN" bench --quiet --model video_gpt --stages decode --weights f32,int8 --kv f32,int8 --depths 128,1024,4096,8191
    echo
    "$MMGEN" bench --quiet --model babyai --stages first-token,decode,vqvae-decode,mux,end-to-end --window 1,auto \
        --batch 1,8 --weights f32,int8 --depths 64
} > "$here/results/stages.txt.new"
mv "$here/results/stages.txt.new" "$here/results/stages.txt"
cat "$here/results/stages.txt"
