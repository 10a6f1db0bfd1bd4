#!/usr/bin/env bash
# Installs what is missing, builds everything and runs all tests; flags are passed on (--filter TensorsTests).
set -euo pipefail
cd "$(dirname "$0")"

scripts/install-dependencies.sh tests
# C is compiled without optimization in debug builds; the kernels need it to be tested in minutes.
swift build --build-tests -Xcc -O2
swift test --skip-build -Xcc -O2 "$@"
