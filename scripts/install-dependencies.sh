#!/usr/bin/env bash
# Installs the Debian packages that building needs, if any is missing. Asks for nothing where all are there.
set -euo pipefail

packages=(libopenblas-dev libavformat-dev libavcodec-dev libavutil-dev libswscale-dev libavfilter-dev zlib1g-dev libopenmpi-dev pkg-config)
# The tests make some of their clips with the ffmpeg command, and train in several processes with mpirun.
[ "${1:-}" = tests ] && packages+=(ffmpeg openmpi-bin)

missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    echo "Installing ${missing[*]}"
    as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get update -qq
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

if ! command -v swift >/dev/null; then
    echo "Swift 6.1 or later is needed and was not found on PATH; https://www.swift.org/install/linux/ says how to get it." >&2
    exit 1
fi
