"""Measures mmgen beside other programs, in turn (A B A B), and prints the ratios.

    python compare.py TABLE -o RESULT.json [--mmgen PATH] [--python PATH] [--llama-bench PATH] [--gguf DIR] ...

TABLE is one of reference, process, reference8, torch, llama, training (tables.py says what each is). Nothing is
installed: the paths name what is there, and default to the environment variables MMGEN, TORCH_PYTHON, LLAMA_BENCH,
GGUF_DIR and MODELS_DIR. A program that fails is named, and its rows are missing. Needs Python 3.9 and nothing else.
"""
import argparse
import datetime
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time

import tables


def processor():
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"


def run(program, options):
    """Rows of one run, or none with the reason on standard error; and the peak of its memory in bytes."""
    environment = {key: value for key, value in os.environ.items()
                   if key not in ("OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS")}
    environment["OMP_NUM_THREADS"] = str(options.threads)
    print(f"# {program.label}: {shlex.join(program.command)}", file=sys.stderr, flush=True)
    began = time.monotonic()
    try:
        process = subprocess.Popen(program.command, stdout=subprocess.PIPE, stderr=None if options.verbose
                                   else subprocess.DEVNULL, env=environment, text=True)
        text = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"exit code {process.returncode}")
        rows = program.read(text, time.monotonic() - began)
    except (OSError, RuntimeError, ValueError, KeyError, IndexError) as error:
        print(f"# {program.label} failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return {}, None
    print(f"# {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return rows, usage.ru_maxrss * 1024


def collect(programs, options):
    """{row: {program: {"rate": [...], ...}}}, the memory of each program, in the order of the rows."""
    found, memory = {}, {}
    for turn in range(options.rounds):
        for program in programs:
            rows, peak = run(program, options)
            if peak:
                memory[program.label] = max(peak, memory.get(program.label, 0))
            for name, values in rows.items():
                entry = found.setdefault(name, {}).setdefault(program.name, {})
                for key, value in values.items():
                    entry.setdefault(key, []).append(value)
    return found, memory


def number(value):
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def ratios(found, ours, stand_ins):
    """For each of our rows and each program beside it: the ratio of the median rates, and of the rounds one by one."""
    result = []
    for name, entries in found.items():
        if ours not in entries:
            continue
        others = {other: entry for other, entry in entries.items() if other != ours}
        # A user of the other program would take whatever is fastest there.
        for stand_in in stand_ins.get(name, []):
            for other, entry in found.get(stand_in, {}).items():
                best = max((statistics.median(e["rate"]) for o, e in others.items() if o.split(" in ")[0] == other),
                           default=0)
                if other != ours and statistics.median(entry["rate"]) > best:
                    others = {o: e for o, e in others.items() if o.split(" in ")[0] != other}
                    others[f"{other} in {stand_in}"] = entry
        mine = entries[ours]["rate"]
        for other, entry in others.items():
            theirs = entry["rate"]
            result.append(dict(
                row=name, program=other, ours=statistics.median(mine), theirs=statistics.median(theirs),
                ratio=statistics.median(mine) / statistics.median(theirs),
                rounds=[a / b for a, b in zip(mine, theirs)],
                our_seconds=statistics.median(entries[ours]["seconds"]),
                their_seconds=statistics.median(entry["seconds"])))
    return result


def table(found, result, ours):
    lines = ["| | mmgen | of the limit | beside it | | ratio | round by round |", "|---|---|---|---|---|---|---|"]
    for name, entries in found.items():
        if ours not in entries:
            continue
        entry = entries[ours]
        share = entry.get("share") or []
        limit = f"{100 * statistics.median(share):.0f} % {entry['bound'][-1]}" if share and None not in share else ""
        rate, seconds = statistics.median(entry["rate"]), statistics.median(entry["seconds"])
        own = f"{number(rate)}/s ({number(seconds)} s)"
        beside = [row for row in result if row["row"] == name]
        for row in beside:
            lines.append(f"| {name} | {own} | {limit} | {row['program']} | {number(row['theirs'])}/s "
                         f"({number(row['their_seconds'])} s) | **{row['ratio']:.2f}** | "
                         f"{', '.join(f'{value:.2f}' for value in row['rounds'])} |")
        if not beside:
            lines.append(f"| {name} | {own} | {limit} | | | | |")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=tables.TABLES)
    parser.add_argument("-o", "--output", help="the result as JSON; it replaces what is there")
    parser.add_argument("--mmgen", default=os.environ.get("MMGEN", "mmgen"))
    parser.add_argument("--python", default=os.environ.get("TORCH_PYTHON"), help="a Python with PyTorch")
    parser.add_argument("--llama-bench", default=os.environ.get("LLAMA_BENCH"))
    parser.add_argument("--gguf", default=os.environ.get("GGUF_DIR"), help="folder of f32.gguf, q8_0.gguf, ...")
    parser.add_argument("--models", default=os.environ.get("MODELS_DIR"), help="folder of the models f32, bf16, int8")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--kinds", type=lambda text: text.split(","), help="f32,bf16,int8,int4: those to compare")
    parser.add_argument("--depths", type=lambda text: [int(word) for word in text.split(",")],
                        default=[128, 1024, 4096, 8192])
    parser.add_argument("--kv", help="mmgen's cache in the tables torch and llama; as many bits as the other's if not")
    parser.add_argument("--llama-cache", default="f16", help="llama.cpp's cache")
    parser.add_argument("--tokens", type=int, default=32, help="tokens that llama.cpp generates at each depth")
    parser.add_argument("--torch-arguments", type=shlex.split, default=[], help="more arguments for torch_gpt.py")
    parser.add_argument("--verbose", action="store_true", help="show what the programs say")
    options = parser.parse_args()
    for need in tables.NEEDS[options.table]:
        if not getattr(options, need):
            parser.error(f"the table {options.table} needs --{need.replace('_', '-')}")
    programs, stand_ins = tables.TABLES[options.table](options)
    date = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    found, memory = collect(programs, options)
    ours = next(program.name for program in programs if program.is_ours)
    result = ratios(found, ours, stand_ins)
    print(f"{options.table}: {tables.TABLES[options.table].__doc__.strip()}")
    print(f"{processor()}, {options.threads} threads, {date}, {options.rounds} rounds in turn\n")
    lines = table(found, result, ours)
    lines += ["", "Peak memory: " + ", ".join(f"{name} {bytes / 1e9:.2f} GB" for name, bytes in memory.items()) + "."]
    print("\n".join(lines))
    if options.output:
        document = dict(
            table=options.table, what=tables.TABLES[options.table].__doc__.strip(), date=date, processor=processor(),
            threads=options.threads, rounds=options.rounds, ratios=result, rows=found, peak_bytes=memory,
            markdown=lines,
            commands=[shlex.join(program.command) for program in programs])
        os.makedirs(os.path.dirname(os.path.abspath(options.output)), exist_ok=True)
        with open(options.output + ".new", "w") as file:
            json.dump(document, file, indent=1)
            file.write("\n")
        os.replace(options.output + ".new", options.output)
    return 0 if any(ours in entries for entries in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
