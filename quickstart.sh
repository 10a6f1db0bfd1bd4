#!/usr/bin/env bash
# Installs what is missing, builds mmgen and turns a sentence into a video with the model that comes with it.
#   ./quickstart.sh                        "go to the red ball"
#   ./quickstart.sh "pick up the blue key" -o key.gif --seed 7       any flags of `mmgen text-to-video`
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

"$here/scripts/install-dependencies.sh"
swift build --package-path "$here" -c release --product mmgen
[ $# -gt 0 ] || set -- "go to the red ball"
"$here/.build/release/mmgen" text-to-video "$@"
