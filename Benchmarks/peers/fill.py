"""Puts results into a page: `python fill.py docs/BENCHMARKS.md results/*.json results/stages.txt`.

What stands between `<!-- NAME -->` and `<!-- end NAME -->` is replaced by the result NAME.json (its table, with date,
processor and rounds) or NAME.txt (as it is). A page without the marks of a result is left as it was.
"""
import json
import os
import re
import sys


def text_of(path):
    with open(path) as file:
        if path.endswith(".txt"):
            return "```\n" + file.read().strip("\n") + "\n```"
        result = json.load(file)
    head = (f"{result['date'][:10]}, {result['processor']}, {result['threads']} threads, "
            f"{result['rounds']} rounds in turn.")
    return "\n".join([head, ""] + result["markdown"])


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    page = sys.argv[1]
    with open(page) as file:
        text = file.read()
    for path in sys.argv[2:]:
        name = os.path.splitext(os.path.basename(path))[0]
        mark = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end {re.escape(name)} -->)", re.DOTALL)
        if not mark.search(text):
            sys.exit(f"{page} has no place for {name}")
        content = text_of(path)
        text = mark.sub(lambda found: found[1] + content + "\n" + found[2], text)
    with open(page + ".new", "w") as file:
        file.write(text)
    os.replace(page + ".new", page)


if __name__ == "__main__":
    main()
