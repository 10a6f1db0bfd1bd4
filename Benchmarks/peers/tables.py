"""What compare.py measures: for each table the programs that take turns, and the rows that belong together.

A program is a command and a function that turns its output into rows, {row name: (rate, seconds)}; equal names are
compared. Every program is started anew in every round.
"""
import json
import os
import struct

HERE = os.path.dirname(os.path.abspath(__file__))
PARITY = os.path.join(HERE, "..", "..", "Tests", "Parity")


def json_lines(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


class Program:
    """`name` is what it is compared as; `label` tells apart runs of one program whose memory is stated by itself.

    `read` takes what the program printed and the seconds from its start to its end.
    """

    def __init__(self, name, command, read, is_ours=False, label=None):
        self.name, self.command, self.read, self.is_ours, self.label = name, command, read, is_ours, label or name


def bench(options, label, arguments, name_of):
    """`mmgen bench`; `name_of` names a row, or leaves it out with None."""
    command = [options.mmgen, "bench", "--json", "--quiet", "--threads", str(options.threads)] + arguments

    def read(text, _):
        report = json.loads(text)
        rows = {}
        for row in report["rows"]:
            name = name_of(row)
            if name:
                rows[name] = dict(rate=row["rate"], seconds=row["seconds"], share=row["share"], bound=row["bound"],
                                  bandwidth=row["bandwidth"], arithmetic=row["arithmetic"], passes=row["passes"])
        return rows

    return Program("mmgen", command, read, is_ours=True, label=label)


def reference(options, batch=1):
    """The reference job, MUGEN L32: 128 prompt ids to 512 codes to 32 frames of 256 x 256; ours writes the mp4 too."""
    kinds = options.kinds or ["f32", "bf16", "int8"]
    programs = []
    for kind in kinds:
        # Keys and values in the same type.
        programs.append(bench(
            options, f"mmgen {kind}", ["--stages", "end-to-end", "--weights", kind, "--kv", kind, "--batch", str(batch),
                                       "--repetitions", "1"], lambda row: row["weights"]))
        programs += reference_job(options, kind, batch)
    # Bytes have no counterpart there, and its bf16 is slower than its f32 on processors without such instructions: both
    # are compared with the fastest that its user can have.
    return programs, {"bf16": ["f32"], "int8": ["f32", "bf16"]}


def reference_job(options, kind, batch):
    """The reference job by TorchMultimodal, its time without the start of the process."""
    if kind not in ("f32", "bf16"):
        return []
    command = [options.python, os.path.join(PARITY, "reference_job.py"), "time", "--threads", str(options.threads),
               "--batch", str(batch), "--dtype", kind]

    def read(text, _):
        row = json_lines(text)[-1]
        seconds = row["total_s"]
        return {kind: dict(rate=batch / seconds, seconds=seconds, gpt=row["gpt_s"], vqvae=row["vqvae_s"])}

    return [Program("TorchMultimodal", command, read, label=f"TorchMultimodal {kind}")]


def process(options):
    """The reference job from the start of mmgen to the finished mp4; the other program's as in `reference`."""
    os.makedirs(options.models, exist_ok=True)
    prompt = os.path.join(options.models, "prompt.safetensors")
    with open(prompt, "wb") as file:
        header = json.dumps({"prompt_ids": {"dtype": "I64", "shape": [1, 128], "data_offsets": [0, 1024]}}).encode()
        file.write(struct.pack("<Q", len(header)) + header + struct.pack("<128q", *range(1, 129)))
    programs = []
    for kind in options.kinds or ["f32", "bf16", "int8"]:
        command = [options.mmgen, "text-to-video", "--model", os.path.join(options.models, kind), "--prompt-ids",
                   prompt, "--seed", "0", "--window", "1", "--threads", str(options.threads), "--force", "--json", "-o",
                   os.path.join(options.models, f"{kind}.mp4")]

        def read(_, seconds, kind=kind):
            return {kind: dict(rate=1 / seconds, seconds=seconds)}

        programs.append(Program("mmgen", command, read, is_ours=True, label=f"mmgen {kind}"))
        programs += reference_job(options, kind, 1)
    return programs, {"int8": ["f32", "bf16"]}


def reference8(options):
    """The reference job with 8 samples of one prompt."""
    return reference(options, batch=8)


def decode(options, kind, cache):
    arguments = ["--stages", "decode", "--weights", kind, "--kv", options.kv or cache, "--depths",
                 ",".join(map(str, options.depths)), "--repetitions", "3"]
    return bench(options, f"mmgen {kind}", arguments, lambda row: f"{row['weights']} @ {row['depth']}")


def torch(options):
    """Single-stream decoding by depth against plain PyTorch: static cache, fused attention, compiled where it helps."""
    programs = []
    for kind in options.kinds or ["f32", "bf16", "int8"]:
        command = [options.python, os.path.join(HERE, "torch_gpt.py"), "decode", "--dtype", kind, "--depths",
                   ",".join(map(str, options.depths)), "--threads", str(options.threads)] + options.torch_arguments

        def read(text, _):
            return {f"{row['dtype']} @ {row['depth']}": dict(rate=row["rate"], seconds=row["seconds"], way=row["way"])
                    for row in json_lines(text)}

        # Keys and values of as many bits: those of its arithmetic.
        programs += [decode(options, kind, "f32" if kind == "f32" else "bf16"), Program(
            "PyTorch", command, read, label=f"PyTorch {kind}")]
    return programs, {}


LLAMA = {"f32": ["f32"], "bf16": ["bf16", "f16"], "int8": ["q8_0"], "int4": ["q4_0"]}


def llama(options):
    """Single-stream decoding by depth against llama.cpp with as many bits: F32, BF16 and F16, Q8_0, Q4_0."""
    programs = []
    for kind in options.kinds or list(LLAMA):
        programs.append(decode(options, kind, "bf16"))
        for type in LLAMA[kind]:
            command = [options.llama_bench, "-m", os.path.join(options.gguf, f"{type}.gguf"), "-p", "0", "-n",
                       str(options.tokens), "-d", ",".join(map(str, options.depths)), "-t", str(options.threads), "-r",
                       "2", "-ctk", options.llama_cache, "-ctv", options.llama_cache, "-o", "jsonl"]

            def read(text, _, kind=kind):
                return {f"{kind} @ {row['n_depth']}": dict(rate=row["avg_ts"], seconds=1 / row["avg_ts"])
                        for row in json_lines(text)}

            programs.append(Program(f"llama.cpp {type}", command, read))
    return programs, {}


def has_bf16():
    """Whether the processor multiplies bf16; PyTorch takes many minutes for a step where it does not."""
    with open("/proc/cpuinfo") as file:
        return "avx512_bf16" in file.read()


def training(options):
    """A training step: the GPT (12 x 768, 1,024 ids) and the VQVAE (32 x 256 x 256), batch 1, without dropout."""
    kinds = options.kinds or ["f32", "bf16"]
    theirs = [kind for kind in kinds if kind == "f32" or has_bf16()]
    sizes = ["--repetitions", "2", "--shortest", "0", "--set", "text_seq_len=512", "--set", "dropout=0", "--set",
             "attn_dropout=0"]
    programs = []

    def read(text, _):
        return {f"{row['stage']} {row['dtype']}": dict(rate=row["rate"], seconds=row["seconds"])
                for row in json_lines(text)}

    for what in ["gpt", "vqvae"]:
        for kind in kinds:
            programs.append(bench(
                options, f"mmgen {what} {kind}", ["--stages", f"train-{what}", "--precision", kind] + sizes,
                lambda row: f"{row['stage']} {row['precision']}"))
        for kind in theirs:
            programs.append(Program("TorchMultimodal", [
                options.python, os.path.join(HERE, "torchmultimodal_training.py"), what, "--dtype", kind, "--threads",
                str(options.threads), "--repetitions", "1"], read, label=f"TorchMultimodal {what} {kind}"))
    for kind in theirs:
        programs.append(Program("PyTorch", [
            options.python, os.path.join(HERE, "torch_gpt.py"), "train", "--dtype", kind, "--length", "1024",
            "--threads", str(options.threads), "--repetitions", "2"] + options.torch_arguments, read,
            label=f"PyTorch gpt {kind}"))
    return programs, {f"train-{what} bf16": [f"train-{what} f32"] for what in ["gpt", "vqvae"]}


TABLES = {"reference": reference, "process": process, "reference8": reference8, "torch": torch, "llama": llama,
          "training": training}
NEEDS = {"reference": ["python"], "process": ["python", "models"], "reference8": ["python"], "torch": ["python"],
         "llama": ["llama_bench", "gguf"], "training": ["python"]}
