#!/bin/sh
# Measures a trained tokenizer on the held-out seconds: ./compare.sh MODEL [MMGEN]
# Prints a PSNR per clip and writes reconstructed/*.png: sheets of frames, the original to the left of its reconstruction.
set -eu
cd "$(dirname "$0")"
model=$1
mmgen=${2:-mmgen}
mkdir -p reconstructed
while read -r clip start; do
    name=${clip%.*}-$start
    printf '%s from %s s: ' "$clip" "$start"
    "$mmgen" reconstruct "clips/$clip" --start "$start" --frames 8 --size 64x64 --model "$model" --side-by-side --force \
        -o "reconstructed/$name.png" | tail -n 1
done <<'CLIPS'
bigbuckbunny.mp4 4.6
bikes.mp4 8.7
bikes.mp4 9.69
carphone_pristine.mp4 3.4
vtest.avi 70
CLIPS
