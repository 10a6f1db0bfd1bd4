"""Writes the fixtures of Tests/CheckpointsTests into Fixtures/checkpoints.

Run with Python 3, torch, numpy and safetensors installed: python checkpoints_fixtures.py
Every good file comes with expected values that the Swift tests compute by rule: element i of a tensor is i / 8 (floats)
or i (integers), and i % 3 == 0 for booleans.
"""

import argparse
import collections
import io
import json
import os
import pathlib
import pickle
import zipfile

import numpy as np
import safetensors
import safetensors.torch
import torch

FOLDER = pathlib.Path(__file__).parent / "Fixtures" / "checkpoints"


def ramp(shape, dtype):
    count = int(np.prod(shape)) if shape else 1
    values = torch.arange(count)
    if dtype == torch.bool:
        values = values % 3 == 0
    elif dtype.is_floating_point:
        values = values.to(torch.float64) / 8
    return values.to(dtype).reshape(shape)


def every_dtype():
    names = "float32 float64 float16 bfloat16 int64 int32 int16 int8 uint8 bool".split()
    return collections.OrderedDict((name, ramp((2, 3), getattr(torch, name))) for name in names)


def views():
    base = ramp((4, 6), torch.float32)
    return {
        "base": base,
        "transposed": base.t(),
        "columns": base[:, 1:3],
        "row": base[2],
        "steps": base[::2, ::3],
        "expanded": ramp((3, 1), torch.float32).expand(3, 5),
        "scalar": ramp((), torch.float32),
        "empty": torch.zeros(0, 4),
        "channels_last": ramp((2, 3, 2, 2), torch.float32).to(memory_format=torch.channels_last),
    }


class Exploit:
    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def pickle_files():
    state = every_dtype()
    torch.save(state, FOLDER / "dtypes.pt")
    torch.save(state, FOLDER / "dtypes_legacy.pt", _use_new_zipfile_serialization=False)
    torch.save(state, FOLDER / "dtypes_protocol4.pt", pickle_protocol=4)
    torch.save(views(), FOLDER / "views.pt")
    torch.save(views(), FOLDER / "views_legacy.pt", _use_new_zipfile_serialization=False)
    torch.save({"uint16": torch.arange(6).to(torch.uint16).reshape(2, 3)}, FOLDER / "uint16.pt")
    torch.save({"complex": torch.zeros(2, dtype=torch.complex64)}, FOLDER / "complex.pt")

    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    with torch.no_grad():
        for value in module.state_dict().values():
            value.copy_(ramp(tuple(value.shape), value.dtype))
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3)
    module(torch.ones(4, 3)).sum().backward()
    optimizer.step()
    with torch.no_grad():
        for value in module.state_dict().values():
            value.copy_(ramp(tuple(value.shape), value.dtype))
    torch.save(module.state_dict(), FOLDER / "module.pt")
    torch.save(list(module.parameters()), FOLDER / "parameters.pt")
    torch.save(
        {
            "epoch": 3,
            "global_step": 120,
            "pytorch-lightning_version": "1.4.2",
            "state_dict": collections.OrderedDict(("model." + k, v) for k, v in module.state_dict().items()),
            "optimizer_states": [optimizer.state_dict()],
            "lr_schedulers": [{"last_epoch": 3, "_last_lr": [np.float64(0.25)]}],
            "hyper_parameters": {"args": argparse.Namespace(width=8, name="wide"), "lr": 0.5, "flags": {1, 2}},
            "callbacks": {pathlib.PurePosixPath: {"best": b"\x00\xff"}},
        },
        FOLDER / "lightning.ckpt",
    )
    torch.save(
        {
            "model": {"backbone.weight": ramp((2, 2), torch.float32)},
            "model_ema": {"backbone.weight": ramp((2, 2), torch.float32) + 1},
            "args": argparse.Namespace(lr=0.1),
            "epoch": 4,
        },
        FOLDER / "mdetr_like.pth",
    )
    shared = torch.arange(1000, dtype=torch.float32)
    torch.save({"first": shared[:500], "second": shared[500:], "all": shared}, FOLDER / "shared.pt")

    # The same archive with deflated entries, as general zip tools write it.
    with zipfile.ZipFile(FOLDER / "dtypes.pt") as source:
        with zipfile.ZipFile(FOLDER / "dtypes_deflated.pt", "w", zipfile.ZIP_DEFLATED) as target:
            for name in source.namelist():
                target.writestr(name, source.read(name))
    # Sizes in zip64 fields, as for archives over 4 GiB.
    with zipfile.ZipFile(FOLDER / "dtypes.pt") as source:
        with zipfile.ZipFile(FOLDER / "dtypes_zip64.pt", "w") as target:
            for name in source.namelist():
                with target.open(zipfile.ZipInfo(name), "w", force_zip64=True) as entry:
                    entry.write(source.read(name))

    good = ramp((2,), torch.float32)
    torch.save({"good": good, "bad": Exploit(os.system, "touch /tmp/mmgen-was-here")}, FOLDER / "evil_system.pt")
    torch.save({"good": good, "bad": Exploit(eval, "print('called')")}, FOLDER / "evil_eval.pt")
    torch.save(Exploit(os.system, "touch /tmp/mmgen-was-here"), FOLDER / "evil_root.pt")
    torch.save(
        {"state_dict": {"good": good}, "extra": Exploit(os.system, "touch /tmp/mmgen-was-here")},
        FOLDER / "evil_outside.pt",
    )
    torch.save(
        {"good": good, "bad": Exploit(torch.load, "other.pt")}, FOLDER / "evil_nested_load.pt",
    )
    torch.save(module, FOLDER / "whole_module.pt")
    (FOLDER / "evil_bare.pkl").write_bytes(pickle.dumps(Exploit(os.system, "touch /tmp/mmgen-was-here")))


def numpy_files():
    arrays = {
        "float32": np.arange(6, dtype="<f4").reshape(2, 3) / 8,
        "float64": np.arange(6, dtype="<f8").reshape(2, 3) / 8,
        "int64": np.arange(6).reshape(2, 3),
        "uint8": np.arange(6, dtype="u1").reshape(2, 3),
        "bool": (np.arange(6) % 3 == 0).reshape(2, 3),
        "big_endian": np.arange(6, dtype=">f4").reshape(2, 3) / 8,
        "fortran": np.asfortranarray(np.arange(6, dtype="<f4").reshape(2, 3) / 8),
        "int16": np.arange(6, dtype="<i2").reshape(2, 3),
        "scalar": np.float32(0),
    }
    np.savez(FOLDER / "arrays.npz", **arrays)
    np.savez_compressed(FOLDER / "arrays_compressed.npz", **arrays)
    np.save(FOLDER / "array.npy", arrays["float32"])
    np.save(FOLDER / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.save(FOLDER / "records.npy", np.zeros(2, dtype=[("a", "<f4"), ("b", "<i4")]))
    for protocol in (2, 4):
        with open(FOLDER / f"arrays_protocol{protocol}.pkl", "wb") as file:
            pickle.dump({**arrays, "step": 7, "names": ["a", "b"]}, file, protocol=protocol)


def safetensors_files():
    state = every_dtype()
    metadata = {"format": "pt", "torch": torch.__version__, "safetensors": safetensors.__version__}
    safetensors.torch.save_file(state, FOLDER / "dtypes.safetensors", metadata=metadata)
    safetensors.torch.save_file(
        {"scalar": ramp((), torch.float32), "empty": torch.zeros(0, 4)}, FOLDER / "edge.safetensors"
    )
    folder = FOLDER / "sharded"
    folder.mkdir(exist_ok=True)
    names = list(state)
    files = {"model-00001-of-00002.safetensors": names[:5], "model-00002-of-00002.safetensors": names[5:]}
    for file, part in files.items():
        safetensors.torch.save_file({name: state[name] for name in part}, folder / file)
    index = {
        "metadata": {"total_size": sum(value.nbytes for value in state.values())},
        "weight_map": {name: file for file, part in files.items() for name in part},
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    pickle_files()
    numpy_files()
    safetensors_files()
    (FOLDER / "VERSIONS.json").write_text(
        json.dumps({"torch": torch.__version__, "numpy": np.__version__, "safetensors": safetensors.__version__})
        + "\n"
    )
