"""Writes Fixtures/tokenizers/roberta: a small byte-level BPE of RoBERTa's kind, and ids and offsets by the `tokenizers` package."""
import json
import os

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from tokenizers import AddedToken, __version__

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "Fixtures", "tokenizers", "roberta")
os.makedirs(FOLDER, exist_ok=True)
TEXTS = [
    "", " ", "a", "The man in the blue shirt is standing on the left of the dog.", "two  spaces   and\nlines\n\n here ",
    "it's they're I'll we've I'm he'd don't 'sx 'S", "Grüße, naïve café — “quotes” … 100% sure!?", "日本語のテキスト and 한국어",
    "🙂 smile 👩‍👩‍👧 family", "x=3.14*r**2; y\t\tz", "leading\u00a0nbsp and\u2003em", "a1b2 c3", "<s> is no start </s>",
    "an <mask> word", "trailing spaces   ", "\n", "e\u0301 combining", "ALL CAPS Words",
]
corpus = [
    "The man in the blue shirt is standing on the left of the dog, and the woman in red is sitting on the right.",
    "it's they're I'll we've I'm he'd don't", "Grüße, naïve café", "a small dog and a large cat play with the ball",
    "What color is the shirt of the man standing next to the table?", "quotes and numbers 100 200 3.14",
] * 5
tokenizer = Tokenizer(models.BPE(unk_token=None))
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
specials = ["<s>", "<pad>", "</s>", "<unk>"]
trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=specials, show_progress=False,
                              initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
tokenizer.train_from_iterator(corpus, trainer)
tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True)])
tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False)
model = json.loads(tokenizer.to_str())["model"]
vocab = dict(model["vocab"])
vocab["<mask>"] = tokenizer.token_to_id("<mask>")
merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
with open(os.path.join(FOLDER, "vocab.json"), "w") as file:
    json.dump(vocab, file, ensure_ascii=True, separators=(",", ":"))
with open(os.path.join(FOLDER, "merges.txt"), "w") as file:
    file.write("#version: 0.2\n" + "".join(m + "\n" for m in merges))
cases = []
for text in TEXTS:
    out = tokenizer.encode(text)
    cases.append({"text": text, "ids": out.ids, "offsets": [list(o) for o in out.offsets],
                  "special": out.special_tokens_mask, "decoded": tokenizer.decode(out.ids, skip_special_tokens=False)})
with open(os.path.join(FOLDER, "cases.json"), "w") as file:
    json.dump({"made_with": f"tokenizers {__version__}", "cases": cases}, file, ensure_ascii=True, indent=0)
    file.write("\n")
