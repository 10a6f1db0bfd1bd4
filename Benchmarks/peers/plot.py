"""Draws the results of compare.py: `python plot.py results/*.json -o docs/images/benchmarks.svg`.

One row of bars for each comparison: how many times as fast mmgen is, on a logarithmic scale, with the spread of the
rounds. An SVG is written directly; a PNG needs matplotlib.
"""
import argparse
import json
import math
import sys
from html import escape

ROW, LEFT, WIDTH, TOP = 20, 290, 420, 46
COLOURS = {"reference": "#2a78b5", "process": "#5b9fd0", "reference8": "#1d5480", "torch": "#c0562f",
           "llama": "#4f8f4a", "training": "#7a5ca8"}
TITLES = {"reference": "Reference job, one clip", "process": "The same from the start of the process",
          "reference8": "Reference job, eight clips", "torch": "Decoding, beside plain PyTorch",
          "llama": "Decoding, beside llama.cpp", "training": "Training step"}


def load(paths):
    documents = []
    for path in paths:
        with open(path) as file:
            documents.append(json.load(file))
    order = list(TITLES)
    return sorted(documents, key=lambda document: order.index(document["table"]))


def bars(documents):
    """(table, label, ratio, least, most) of every comparison."""
    for document in documents:
        for row in document["ratios"]:
            rounds = row["rounds"] or [row["ratio"]]
            yield document["table"], f"{row['row']}  vs  {row['program']}", row["ratio"], min(rounds), max(rounds)


def svg(documents):
    rows = list(bars(documents))
    top = max([2.0] + [most for *_, most in rows])
    least = min([0.5] + [low for *_, low, _ in rows])
    scale = WIDTH / (math.log(top) - math.log(least))
    place = lambda ratio: LEFT + (math.log(ratio) - math.log(least)) * scale
    parts, y, table = [], TOP, None
    for name, label, ratio, low, high in rows:
        if name != table:
            table = name
            y += 12
            parts.append(f'<text x="8" y="{y + 13}" font-weight="bold">{escape(TITLES[name])}</text>')
            y += ROW
        begin, end = sorted([place(1), place(ratio)])
        parts.append(f'<text x="{LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(label)}</text>')
        parts.append(f'<rect x="{begin:.1f}" y="{y + 3}" width="{max(end - begin, 1):.1f}" height="{ROW - 7}" '
                     f'fill="{COLOURS[name]}" opacity="{1 if ratio >= 1 else 0.5}"/>')
        parts.append(f'<line x1="{place(low):.1f}" x2="{place(high):.1f}" y1="{y + ROW / 2 - 0.5}" '
                     f'y2="{y + ROW / 2 - 0.5}" stroke="#222"/>')
        parts.append(f'<text x="{max(end, place(high)) + 6:.1f}" y="{y + 13}">{ratio:.2f}</text>')
        y += ROW
    ticks = [tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if least <= tick <= top]
    grid = [f'<line x1="{place(tick):.1f}" x2="{place(tick):.1f}" y1="{TOP}" y2="{y}" '
            f'stroke="{"#222" if tick == 1 else "#ddd"}"/><text x="{place(tick):.1f}" y="{y + 15}" '
            f'text-anchor="middle">{tick:g}</text>' for tick in ticks]
    first = documents[0]
    note = f"{first['processor']}, {first['threads']} threads, {first['date'][:10]}"
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 70}" height="{y + 26}" '
            'font-family="sans-serif" font-size="12">'
            f'<rect width="100%" height="100%" fill="white"/>'
            '<text x="8" y="18" font-size="15">How many times as fast mmgen is</text>'
            f'<text x="8" y="36" fill="#555">{escape(note)}</text>')
    return "\n".join([head] + grid + parts + ["</svg>"]) + "\n"


def png(documents, path):
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    rows = list(bars(documents))[::-1]
    figure, axes = pyplot.subplots(figsize=(9, 1 + 0.28 * len(rows)))
    for index, (name, label, ratio, low, high) in enumerate(rows):
        axes.barh(index, ratio - 1, left=1, color=COLOURS[name])
        axes.plot([low, high], [index, index], color="#222", linewidth=1)
    axes.set_xscale("log")
    axes.axvline(1, color="#222", linewidth=1)
    axes.set_yticks(range(len(rows)), [row[1] for row in rows])
    axes.set_xlabel("how many times as fast mmgen is")
    axes.set_title(f"{documents[0]['processor']}, {documents[0]['threads']} threads, {documents[0]['date'][:10]}")
    figure.tight_layout()
    figure.savefig(path, dpi=150)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+")
    parser.add_argument("-o", "--output", required=True, help=".svg, or .png")
    options = parser.parse_args()
    documents = [document for document in load(options.results) if document["ratios"]]
    if not documents:
        sys.exit("there is nothing to draw: no file holds a ratio")
    if options.output.endswith(".png"):
        png(documents, options.output)
    else:
        with open(options.output, "w") as file:
            file.write(svg(documents))


if __name__ == "__main__":
    main()
