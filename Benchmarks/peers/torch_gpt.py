"""A strong GPT in plain PyTorch, to be measured beside `mmgen bench`; prints JSON lines.

    python torch_gpt.py decode --dtype f32,bf16,int8 --depths 128,1024,4096,8192 [--threads N]
    python torch_gpt.py train  --dtype f32,bf16 --length 1024 [--threads N]

Decoding: one product for queries, keys and values, a cache that is allocated once, `scaled_dot_product_attention` over
exactly the positions that are filled, weights of 8 bits through PyTorch's own weight-only product. Every step is
measured as written and under `torch.compile`, and the faster one counts. Training: the same network over a whole
sequence, fused AdamW, bf16 through autocast; as written and compiled likewise.
"""
import argparse
import json
import os
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

TYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "int8": torch.bfloat16}


class Int8Linear(nn.Module):
    """Bytes with a scale per output, inputs and results in bf16."""

    def __init__(self, linear):
        super().__init__()
        weight = linear.weight.detach().float()
        scales = weight.abs().amax(1).clamp(min=1e-8) / 127
        self.register_buffer("weight", (weight / scales[:, None]).round().to(torch.int8).contiguous())
        self.register_buffer("scales", scales.to(torch.bfloat16))
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().to(torch.bfloat16))

    def forward(self, x):
        rows = x.reshape(-1, x.shape[-1])
        y = torch._weight_int8pack_mm(rows, self.weight, self.scales).reshape(*x.shape[:-1], -1)
        return y if self.bias is None else y + self.bias


class Layer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm_in, self.norm_mid = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def split(self, x):
        batch, length, _ = x.shape
        return self.qkv(self.norm_in(x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)

    def rest(self, x, attended):
        batch, length, width = x.shape
        x = x + self.out(attended.transpose(1, 2).reshape(batch, length, width))
        hidden = self.up(self.norm_mid(x))
        return x + self.down(hidden * torch.sigmoid(1.702 * hidden))

    def step(self, x, keys, values, position):
        q, k, v = self.split(x)
        keys[:, :, position:position + 1] = k
        values[:, :, position:position + 1] = v
        seen = position + 1
        return self.rest(x, F.scaled_dot_product_attention(q, keys[:, :, :seen], values[:, :, :seen]))

    def forward(self, x):
        q, k, v = self.split(x)
        return self.rest(x, F.scaled_dot_product_attention(q, k, v, is_causal=True))


class GPT(nn.Module):
    def __init__(self, width, layers, heads, inputs, outputs, length):
        super().__init__()
        self.tokens = nn.Embedding(inputs + outputs, width)
        self.places = nn.Embedding(length, width)
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, outputs, bias=False)
        self.input_head = nn.Linear(width, inputs, bias=False)

    def step(self, ids, caches, position):
        x = self.tokens(ids) + self.places.weight[position]
        for layer, (keys, values) in zip(self.layers, caches):
            x = layer.step(x, keys, values, position)
        return self.head(self.norm(x))

    def loss(self, ids, inputs):
        """Both modalities' cross entropy, each over its own ids, as mmgen's loss."""
        x = self.tokens(ids) + self.places.weight[:ids.shape[1]]
        for layer in self.layers:
            x = layer(x)
        x = self.norm(x)
        own = self.input_head(x[:, :inputs]).flatten(0, 1)
        other = self.head(x[:, inputs:]).flatten(0, 1)
        total = F.cross_entropy(own.float(), ids[:, :inputs].flatten(), reduction="sum") + F.cross_entropy(
            other.float(), ids[:, inputs:].flatten(), reduction="sum")
        return total / ids.numel()


def reduced(module):
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Linear):
            setattr(module, name, Int8Linear(child))
        else:
            reduced(child)
    return module


def spread(body, repetitions, times):
    """Seconds of one call: the median, least and most of several measurements of `times` calls each."""
    values = []
    for _ in range(repetitions):
        began = time.perf_counter()
        for _ in range(times):
            body()
        values.append((time.perf_counter() - began) / times)
    return dict(seconds=statistics.median(values), least=min(values), most=max(values))


def fastest(ways, repetitions, shortest):
    """The fastest of several ways to do the same, each warmed up; a way that does not work is named and left out."""
    best = None
    for name, way in ways:
        try:
            way()
            began = time.perf_counter()
            way()
            times = max(1, int(shortest / max(time.perf_counter() - began, 1e-9)))
            found = dict(spread(way, repetitions, times), way=name)
        except Exception as error:  # torch.compile needs a compiler, and not every operation has a kernel
            print(f"{name}: {type(error).__name__}: {str(error).splitlines()[0][:200]}", file=sys.stderr)
            continue
        if best is None or found["seconds"] < best["seconds"]:
            best = found
    return best


def show(**row):
    print(json.dumps(row), flush=True)


@torch.no_grad()
def decode(options):
    for dtype in options.dtype.split(","):
        torch.manual_seed(0)
        depths = [int(depth) for depth in options.depths.split(",")]
        model = GPT(options.width, options.layers, options.heads, 1152, options.codes, max(depths) + 1)
        model = model.to(TYPES[dtype]).eval()
        if dtype == "int8":
            reduced(model)
        shape = (1, options.heads, max(depths) + 1, options.width // options.heads)
        caches = [(torch.randn(shape, dtype=TYPES[dtype]), torch.randn(shape, dtype=TYPES[dtype]))
                  for _ in range(options.layers)]
        ids = torch.zeros(1, 1, dtype=torch.long)
        torch._dynamo.reset()
        # The depth is a variable of the compiled step: compiling takes a minute, and only slices depend on it.
        compiled = torch.compile(model.step, dynamic=True)
        for depth in depths:
            ways = [("eager", lambda: model.step(ids, caches, depth))]
            if options.compile:
                ways.append(("compiled", lambda: compiled(ids, caches, depth)))
            best = fastest(ways, options.repetitions, options.shortest)
            if best:
                show(stage="decode", dtype=dtype, depth=depth, rate=1 / best["seconds"], **best)


def train(options):
    for dtype in options.dtype.split(","):
        torch.manual_seed(0)
        length, inputs = options.length, options.length // 2
        model = GPT(options.width, options.layers, options.heads, 1024 + inputs, options.codes, length)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
        ids = torch.cat([torch.randint(0, 1024, (1, inputs)), torch.randint(0, options.codes, (1, length - inputs))], 1)

        def step(loss):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == "bf16"):
                value = loss(ids, inputs)
            value.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        ways = [("eager", lambda: step(model.loss))]
        if options.compile:
            torch._dynamo.reset()
            compiled = torch.compile(model.loss, dynamic=False)
            ways.append(("compiled", lambda: step(compiled)))
        best = fastest(ways, options.repetitions, 0)
        if best:
            show(stage="train-gpt", dtype=dtype, length=length, rate=1 / best["seconds"], **best)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["decode", "train"])
    parser.add_argument("--dtype", default="f32")
    parser.add_argument("--depths", default="128,1024,4096,8192")
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--codes", type=int, default=2048)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--shortest", type=float, default=0.3)
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    (decode if options.what == "decode" else train)(options)


if __name__ == "__main__":
    main()
