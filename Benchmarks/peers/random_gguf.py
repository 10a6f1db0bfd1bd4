"""Writes a GPT-2-like network of random weights as a GGUF file, for llama.cpp's `llama-bench`.

    python random_gguf.py FILE --type f32|f16|bf16|q8_0|q4_0 [--layers 12] [--width 768] [--heads 8] [--vocabulary 2048]

Sizes are those of the decoder that `mmgen bench` measures by default: 12 layers of 768, scores of 2,048 ids. Speed does
not depend on the values. Needs numpy; the format is written by hand (GGUF, version 3: header, keys and values, tensor
descriptions, aligned data).
"""
import argparse
import struct

import numpy

ALIGNMENT = 32
U32, F32, TEXT = 4, 6, 8
# Number in the format, numbers of a block, bytes of a block, and general.file_type.
TYPES = {"f32": (0, 1, 4, 0), "f16": (1, 1, 2, 1), "q4_0": (2, 32, 18, 2), "q8_0": (8, 32, 34, 7),
         "bf16": (30, 1, 2, 32)}


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def pair(key, kind, value):
    packed = text(value) if kind == TEXT else struct.pack("<I" if kind == U32 else "<f", value)
    return text(key) + struct.pack("<I", kind) + packed


def encoded(values, kind):
    """The bytes of a float32 matrix, row by row, in a type."""
    if kind == "f32":
        return values.astype("<f4").tobytes()
    if kind == "f16":
        return values.astype("<f2").tobytes()
    if kind == "bf16":
        bits = values.astype("<f4").view("<u4")
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()
    blocks = values.reshape(-1, 32)
    if kind == "q8_0":
        scales = (numpy.abs(blocks).max(1, keepdims=True) / 127).astype("<f2")
        steps = numpy.rint(blocks / numpy.maximum(scales.astype("<f4"), 1e-12)).clip(-127, 127).astype("i1")
        return numpy.concatenate([scales.view("u1").reshape(-1, 2), steps.view("u1")], 1).tobytes()
    scales = (numpy.abs(blocks).max(1, keepdims=True) / 7).astype("<f2")
    steps = numpy.rint(blocks / numpy.maximum(scales.astype("<f4"), 1e-12)).clip(-8, 7).astype("i1") + 8
    # The first sixteen values of a block are the low halves of its bytes, the others the high halves.
    halves = (steps[:, :16] | (steps[:, 16:] << 4)).astype("u1")
    return numpy.concatenate([scales.view("u1").reshape(-1, 2), halves], 1).tobytes()


def tensors(options):
    """Names, sizes (outputs first) and whether they are matrices that are kept in the wanted type."""
    width = options.width
    yield "token_embd.weight", (options.vocabulary, width), True
    yield "position_embd.weight", (options.length, width), False
    yield "output.weight", (options.vocabulary, width), True
    yield "output_norm.weight", (width,), False
    yield "output_norm.bias", (width,), False
    for layer in range(options.layers):
        for name, outputs, inputs in [("attn_qkv", 3 * width, width), ("attn_output", width, width),
                                      ("ffn_up", 4 * width, width), ("ffn_down", width, 4 * width)]:
            yield f"blk.{layer}.{name}.weight", (outputs, inputs), True
            yield f"blk.{layer}.{name}.bias", (outputs,), False
        for name in ["attn_norm", "ffn_norm"]:
            yield f"blk.{layer}.{name}.weight", (width,), False
            yield f"blk.{layer}.{name}.bias", (width,), False


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--type", choices=TYPES, default="f32")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--vocabulary", type=int, default=2048)
    parser.add_argument("--length", type=int, default=16384)
    options = parser.parse_args()
    random = numpy.random.default_rng(0)
    pairs = [
        pair("general.architecture", TEXT, "gpt2"), pair("general.name", TEXT, "random"),
        pair("general.alignment", U32, ALIGNMENT), pair("general.file_type", U32, TYPES[options.type][3]),
        pair("gpt2.context_length", U32, options.length), pair("gpt2.embedding_length", U32, options.width),
        pair("gpt2.feed_forward_length", U32, 4 * options.width), pair("gpt2.block_count", U32, options.layers),
        pair("gpt2.attention.head_count", U32, options.heads),
        pair("gpt2.attention.layer_norm_epsilon", F32, 1e-5), pair("gpt2.vocab_size", U32, options.vocabulary),
        pair("tokenizer.ggml.model", TEXT, "no_vocab"),
    ]
    entries, chunks, offset = [], [], 0
    for name, shape, is_matrix in tensors(options):
        kind = options.type if is_matrix else "f32"
        data = encoded(random.standard_normal(shape, dtype="f4") * 0.02, kind)
        # Sizes are stated innermost first.
        entries.append(text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape[::-1])
                       + struct.pack("<IQ", TYPES[kind][0], offset))
        chunks.append(data + b"\0" * (-len(data) % ALIGNMENT))
        offset += len(chunks[-1])
    header = b"GGUF" + struct.pack("<IQQ", 3, len(entries), len(pairs)) + b"".join(pairs) + b"".join(entries)
    with open(options.file, "wb") as file:
        file.write(header + b"\0" * (-len(header) % ALIGNMENT))
        for chunk in chunks:
            file.write(chunk)


if __name__ == "__main__":
    main()
