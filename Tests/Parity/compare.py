"""Runs `mmgen forward` over Fixtures/forward and compares, by the rule of README.md.

    python compare.py PATH/TO/mmgen [CASE ...]   all cases, or those whose names start so; exit status 1 if any differs

Needs numpy and safetensors only.
"""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
from safetensors.numpy import load_file

CASES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "Fixtures", "forward")


def differences(found, expected, tolerance):
    """One line for each tensor that is missing or too far off."""
    for key, want in sorted(expected.items()):
        if key not in found:
            yield f"{key} is missing"
            continue
        have = found[key]
        if have.shape != want.shape:
            yield f"{key} has shape {have.shape}, expected {want.shape}"
        elif want.dtype.kind != "f":
            if not np.array_equal(have, want):
                yield f"{key} differs in {np.count_nonzero(have != want)} of {want.size} places"
        else:
            have, want = have.astype(np.float64), want.astype(np.float64)
            huge = ~(np.abs(want) < 1e30)
            if not np.array_equal(have[huge], want[huge], equal_nan=True):
                yield f"{key} differs in its fill values"
            error = np.abs(have - want)[~huge]
            floor = tolerance["floor"] if key.startswith("grad.") else 0.0
            scale = max(np.abs(want[~huge]).max(initial=0.0), floor, 1e-30)
            worst = error.max(initial=0.0) / scale
            if not worst <= tolerance["relative"]:
                yield f"{key} is off by {worst:.2e} of its size, allowed {tolerance['relative']:.0e}"


def run(engine, label, scratch):
    folder = os.path.join(CASES, label)
    with open(os.path.join(folder, "case.json")) as file:
        case = json.load(file)
    paths = {name: os.path.join(scratch, name) for name in ("config.json", "args.json", "out.safetensors")}
    for name in ("config", "args"):
        with open(paths[f"{name}.json"], "w") as file:
            json.dump(case[name], file)
    command = [engine, "forward", case["name"], "--config", paths["config.json"], "--args", paths["args.json"],
               "--inputs", os.path.join(folder, "inputs.safetensors"), "--outputs", paths["out.safetensors"],
               "--method", case["method"], "--mode", case["mode"]] + (["--vjp"] if case["vjp"] else [])
    weights = os.path.join(folder, "weights.safetensors")
    if os.path.exists(weights):
        command += ["--weights", weights]
    if os.path.exists(paths["out.safetensors"]):
        os.remove(paths["out.safetensors"])
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        return [f"exit status {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}"]
    return list(differences(load_file(paths["out.safetensors"]),
                            load_file(os.path.join(folder, "expected.safetensors")), case["tolerance"]))


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    engine, prefixes = sys.argv[1], tuple(sys.argv[2:]) or ("",)
    labels = [label for label in sorted(os.listdir(CASES)) if label.startswith(prefixes)]
    bad = 0
    with tempfile.TemporaryDirectory() as scratch:
        for label in labels:
            problems = run(engine, label, scratch)
            bad += bool(problems)
            print("FAIL" if problems else "ok  ", label, *problems[:5], sep="\n     " if problems else " ")
    print(f"{len(labels) - bad} of {len(labels)} cases agree")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
