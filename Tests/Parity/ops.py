"""Basic operations of PyTorch in f32, forward and gradient, into Fixtures/ops. Run: python ops.py

Entry `L` of the index: `op`, `args`, the names of `inputs`, `outputs` and `grads`; tensors are `L/in/NAME`,
`L/out/NAME`, `L/cotangent/NAME`, `L/grad/NAME` and, for buffers that the call changes, `L/after/NAME`.
"""
import os

import torch
from torchmultimodal.modules.optimizers.anyprecision import AnyPrecisionAdamW  # noqa: E402
from fixture import METADATA, ROOT, copied, save_json
from safetensors.torch import save_file
from torch import randn
from torch.nn import functional as F

TENSORS, INDEX = {}, []


def add(label, op, function, inputs, fixed=(), buffers=(), **args):
    """One entry. Float inputs get a gradient unless named in `fixed`; `buffers` are inputs changed in place."""
    values = {k: v.clone() for k, v in inputs.items()}
    for key, value in values.items():
        if value.dtype.is_floating_point and key not in fixed and key not in buffers:
            value.requires_grad_()
    result = function(*values.values())
    result = result if isinstance(result, (tuple, list)) else (result,)
    outputs = {str(i): v for i, v in enumerate(result)} if len(result) > 1 else {"output": result[0]}
    wanted = {k: v for k, v in outputs.items() if v.requires_grad}
    cotangents = {k: randn(v.shape) for k, v in wanted.items()}
    grads = {}
    if wanted:
        sum((v * cotangents[k]).sum() for k, v in wanted.items()).backward()
        grads = {k: v.grad for k, v in values.items() if v.grad is not None}
    for kind, tensors in (("in", inputs), ("out", outputs), ("cotangent", cotangents), ("grad", grads),
                          ("after", {k: values[k] for k in buffers})):
        TENSORS.update({f"{label}/{kind}/{k}": v for k, v in copied(tensors).items()})
    INDEX.append(dict(name=label, op=op, args=args, inputs=list(inputs), outputs=list(outputs), grads=list(grads),
                      after=list(buffers)))


def convolutions():
    conv = {"conv2d": F.conv2d, "conv3d": F.conv3d, "conv_transpose2d": F.conv_transpose2d,
            "conv_transpose3d": F.conv_transpose3d}
    plans = [
        ("conv2d", "plain", (2, 3, 6, 7), (4, 3, 3, 3), {}),
        ("conv2d", "stride-pad", (2, 3, 7, 8), (4, 3, 3, 4), dict(stride=[2, 3], padding=[1, 2])),
        ("conv2d", "dilation", (1, 2, 9, 8), (3, 2, 3, 2), dict(dilation=[2, 3], padding=[2, 1])),
        ("conv2d", "groups", (2, 4, 5, 5), (6, 2, 3, 3), dict(groups=2, padding=[1, 1])),
        ("conv2d", "one", (2, 5, 3, 4), (3, 5, 1, 1), {}),
        ("conv3d", "plain", (1, 2, 4, 5, 6), (3, 2, 3, 3, 3), {}),
        ("conv3d", "stride-pad", (2, 3, 5, 6, 7), (2, 3, 4, 3, 2), dict(stride=[2, 1, 3], padding=[2, 1, 0])),
        ("conv3d", "dilation", (1, 2, 5, 6, 7), (3, 2, 2, 3, 2), dict(dilation=[2, 1, 3], padding=[1, 1, 2])),
        ("conv3d", "one", (2, 4, 2, 3, 4), (5, 4, 1, 1, 1), {}),
        ("conv3d", "wide", (1, 17, 3, 4, 5), (19, 17, 3, 3, 3), dict(padding=[1, 1, 1])),
        ("conv_transpose2d", "stride-pad", (2, 3, 4, 5), (3, 4, 3, 4), dict(stride=[2, 3], padding=[1, 2],
                                                                           output_padding=[1, 0])),
        ("conv_transpose3d", "plain", (1, 2, 3, 4, 3), (2, 3, 3, 3, 3), {}),
        ("conv_transpose3d", "stride", (1, 3, 2, 3, 4), (3, 2, 4, 4, 4), dict(stride=[2, 2, 2], padding=[1, 1, 1])),
        ("conv_transpose3d", "output-padding", (2, 2, 3, 2, 4), (2, 3, 3, 2, 3),
         dict(stride=[2, 1, 3], padding=[1, 0, 2], output_padding=[1, 0, 2])),
        ("conv_transpose3d", "dilation", (1, 2, 3, 3, 2), (2, 2, 2, 3, 2), dict(dilation=[2, 1, 3], padding=[1, 1, 0])),
    ]
    for op, label, x, w, args in plans:
        out = w[1] if "transpose" in op else w[0]
        add(f"{op}-{label}", op, lambda x, w, b: conv[op](x, w, b, **args),
            dict(input=randn(x), weight=randn(w) * 0.3, bias=randn(out)), **args)
    add("conv3d-no-bias", "conv3d", lambda x, w: F.conv3d(x, w, padding=1),
        dict(input=randn(1, 2, 3, 4, 3), weight=randn(2, 2, 3, 3, 3)), padding=[1, 1, 1])
    add("linear", "linear", F.linear, dict(input=randn(2, 3, 5), weight=randn(4, 5), bias=randn(4)))
    add("linear-no-bias", "linear", F.linear, dict(input=randn(7, 33), weight=randn(65, 33)))


def norms():
    add("layer_norm", "layer_norm", lambda x, w, b: F.layer_norm(x, (6,), w, b, 1e-5),
        dict(input=randn(2, 3, 6) * 2 + 1, weight=randn(6), bias=randn(6)), normalized_shape=[6], eps=1e-5)
    add("layer_norm-2d", "layer_norm", lambda x, w, b: F.layer_norm(x, (3, 4), w, b, 1e-3),
        dict(input=randn(2, 3, 4), weight=randn(3, 4), bias=randn(3, 4)), normalized_shape=[3, 4], eps=1e-3)
    add("layer_norm-far", "layer_norm", lambda x, w, b: F.layer_norm(x, (32,), w, b, 1e-5),
        dict(input=randn(3, 32) + 100, weight=randn(32), bias=randn(32)), normalized_shape=[32], eps=1e-5)
    add("group_norm", "group_norm", lambda x, w, b: F.group_norm(x, 3, w, b, 1e-5),
        dict(input=randn(2, 6, 4, 3) + 1, weight=randn(6), bias=randn(6)), num_groups=3, eps=1e-5)
    for training in (False, True):
        for shape in ((4, 3, 2, 2, 3), (6, 3)):
            mode = "train" if training else "eval"
            add(f"batch_norm-{mode}-{len(shape)}d", "batch_norm",
                lambda x, m, v, w, b: F.batch_norm(x, m, v, w, b, training=training, momentum=0.1, eps=1e-5),
                dict(input=randn(shape) * 2 + 1, running_mean=randn(3), running_var=torch.rand(3) + 0.5,
                     weight=randn(3), bias=randn(3)),
                buffers=("running_mean", "running_var"), training=training, momentum=0.1, eps=1e-5)


def activations():
    x = torch.cat([randn(20) * 3, torch.tensor([0.0, -0.0, 20.0, -20.0])])
    functions = {
        "relu": F.relu, "gelu": F.gelu, "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
        "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x), "silu": F.silu, "sigmoid": torch.sigmoid,
        "tanh": torch.tanh, "exp": torch.exp, "softplus": F.softplus, "leaky_relu": lambda x: F.leaky_relu(x, 0.2),
        "abs": torch.abs, "neg": torch.neg, "square": torch.square, "sin": torch.sin, "cos": torch.cos}
    for name, function in functions.items():
        add(name, name, function, dict(input=x / (4 if name == "exp" else 1)))
    positive = torch.rand(3, 4) + 0.1
    for name in ("log", "sqrt", "rsqrt", "reciprocal"):
        add(name, name, getattr(torch, name), dict(input=positive))
    add("pow", "pow", lambda x: x ** 1.7, dict(input=positive), exponent=1.7)
    add("clamp", "clamp", lambda x: x.clamp(-1, 0.5), dict(input=x), min=-1.0, max=0.5)
    for dim in (-1, 1):
        for name in ("softmax", "log_softmax"):
            add(f"{name}-{dim}", name, lambda x: getattr(F, name)(x, dim=dim), dict(input=randn(2, 5, 7) * 4), dim=dim)
    far = randn(3, 6) + torch.tensor([[1000.0], [-1000.0], [0.0]])
    far[2, 3] = float("-inf")
    add("softmax-extreme", "softmax", lambda x: F.softmax(x, -1), dict(input=far), fixed=("input",), dim=-1)
    add("logsumexp", "logsumexp", lambda x: torch.logsumexp(x, 1), dict(input=randn(3, 5) * 5), dim=1)
    for op, function in {"add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div,
                         "maximum": torch.maximum, "minimum": torch.minimum}.items():
        add(f"{op}-broadcast", op, function, dict(a=randn(2, 3, 1, 5), b=torch.rand(3, 4, 1) + 0.5))
    add("where", "where", torch.where, dict(condition=torch.rand(3, 4) > 0.5, a=randn(3, 4), b=randn(4)))
    add("masked_fill", "masked_fill", lambda x, m: x.masked_fill(m, -7.5),
        dict(input=randn(2, 3, 4), mask=torch.rand(3, 4) > 0.5), value=-7.5)


def losses():
    logits, target = lambda: randn(6, 5) * 2, lambda: torch.randint(0, 5, (6,))
    ignored = target()
    ignored[1] = ignored[4] = -100
    ce = F.cross_entropy
    add("cross_entropy", "cross_entropy", ce, dict(input=logits(), target=target()))
    add("cross_entropy-sum", "cross_entropy", lambda x, t: ce(x, t, reduction="sum"),
        dict(input=logits(), target=target()), reduction="sum")
    add("cross_entropy-none", "cross_entropy", lambda x, t: ce(x, t, reduction="none"),
        dict(input=logits(), target=ignored), reduction="none", ignore_index=-100)
    add("cross_entropy-ignore", "cross_entropy", ce, dict(input=logits(), target=ignored), ignore_index=-100)
    add("cross_entropy-smoothing", "cross_entropy", lambda x, t: ce(x, t, label_smoothing=0.1),
        dict(input=logits(), target=target()), label_smoothing=0.1)
    add("cross_entropy-ignore-smoothing", "cross_entropy", lambda x, t: ce(x, t, ignore_index=2, label_smoothing=0.2),
        dict(input=logits(), target=torch.tensor([2, 0, 1, 2, 4, 3])), ignore_index=2, label_smoothing=0.2)
    masked = logits()
    masked[:, 1] = -torch.finfo(torch.float32).max
    add("cross_entropy-masked", "cross_entropy", ce, dict(input=masked, target=torch.tensor([0, 2, 3, 4, 2, 0])))
    for name in ("mse_loss", "l1_loss", "smooth_l1_loss"):
        add(name, name, getattr(F, name), dict(input=randn(3, 4), target=randn(3, 4)))
    add("bce_with_logits", "bce_with_logits", F.binary_cross_entropy_with_logits,
        dict(input=randn(3, 4) * 5, target=torch.rand(3, 4)), fixed=("target",))
    add("kl_div", "kl_div", lambda x, t: F.kl_div(x, t, reduction="batchmean"),
        dict(input=torch.log_softmax(randn(3, 5), -1), target=torch.softmax(randn(3, 5), -1)), fixed=("target",),
        reduction="batchmean")


def products():
    for label, a, b in [("2d", (3, 5), (5, 4)), ("batch", (2, 3, 5), (2, 5, 4)), ("broadcast", (2, 1, 3, 5), (4, 5, 2)),
                        ("heads", (2, 3, 4, 5), (2, 3, 5, 4)), ("shared", (2, 3, 5), (5, 4)),
                        ("tall", (65, 33), (33, 17)), ("deep", (3, 300), (300, 5))]:
        add(f"matmul-{label}", "matmul", torch.matmul, dict(a=randn(a), b=randn(b)))
    add("matmul-transposed", "matmul_transposed", lambda a, b: a @ b.transpose(-1, -2),
        dict(a=randn(2, 3, 4, 5), b=randn(2, 3, 6, 5)), note="b is transposed over its last two axes")
    mask = torch.ones(5, 5).tril().bool()
    q = lambda: randn(2, 3, 5, 4)
    add("attention", "attention", F.scaled_dot_product_attention, dict(q=q(), k=q(), v=q()))
    add("attention-mask", "attention", lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, attn_mask=m),
        dict(q=q(), k=q(), v=q(), mask=mask))
    add("attention-causal", "attention", lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
        dict(q=q(), k=q(), v=q()), is_causal=True)
    add("attention-cross", "attention", F.scaled_dot_product_attention,
        dict(q=q(), k=randn(2, 3, 7, 4), v=randn(2, 3, 7, 6)))


def reductions():
    x = lambda: randn(2, 3, 4)
    for dims in ([0], [1], [-1], [0, 2], [0, 1, 2]):
        name = "".join(str(d) for d in dims)
        for op in ("sum", "mean"):
            add(f"{op}-{name}", op, lambda x: getattr(torch, op)(x, dim=dims), dict(input=x()), dim=dims, keepdim=False)
        for unbiased in (True, False):
            add(f"var-{name}-{'unbiased' if unbiased else 'biased'}", "var",
                lambda x: torch.var(x, dim=dims, unbiased=unbiased), dict(input=x() + 3), dim=dims, keepdim=False,
                unbiased=unbiased)
    add("sum-keepdim", "sum", lambda x: x.sum(1, keepdim=True), dict(input=x()), dim=[1], keepdim=True)
    for op in ("amax", "amin"):
        add(op, op, lambda x: getattr(torch, op)(x, dim=1), dict(input=x()), dim=[1], keepdim=False)
    add("norm", "norm", lambda x: x.norm(dim=-1), dict(input=x()), dim=[-1], p=2.0)
    add("normalize", "normalize", lambda x: F.normalize(x, dim=1), dict(input=x()), dim=1, eps=1e-12)
    for dim in (0, -1):
        add(f"cumsum-{dim}", "cumsum", lambda x: torch.cumsum(x, dim), dict(input=x()), dim=dim)
    add("cumsum-i64", "cumsum", lambda x: torch.cumsum(x, 1), dict(input=torch.randint(0, 9, (2, 5))), dim=1)
    for dim in (0, -1):
        add(f"argmax-{dim}", "argmax", lambda x: x.argmax(dim), dict(input=x()), fixed=("input",), dim=dim)
        add(f"argmin-{dim}", "argmin", lambda x: x.argmin(dim), dict(input=x()), fixed=("input",), dim=dim)
    add("argmax-ties", "argmax", lambda x: x.argmax(-1), dict(input=torch.tensor([[1.0, 3, 3, 2], [5, 5, 5, 5]])),
        fixed=("input",), dim=-1)
    add("topk", "topk", lambda x: torch.topk(x, 3, dim=-1), dict(input=randn(2, 7)), k=3, dim=-1)
    add("sort", "sort", lambda x: torch.sort(x, dim=-1, descending=True), dict(input=randn(2, 7)), dim=-1,
        descending=True)


def indexing():
    add("embedding", "embedding", lambda i, w: F.embedding(i, w),
        dict(indices=torch.tensor([[0, 3, 3], [4, 0, 1]]), weight=randn(5, 4)))
    add("embedding-padding", "embedding", lambda i, w: F.embedding(i, w, padding_idx=3),
        dict(indices=torch.tensor([[0, 3, 3], [4, 0, 1]]), weight=randn(5, 4)), padding_idx=3)
    for dim, shape in ((0, (2, 3)), (1, (2, 5)), (2, (2, 3))):
        index = torch.randint(0, (2, 3, 4)[dim], (2, 3, 4)[:dim] + (5,) + (2, 3, 4)[dim + 1:])
        add(f"gather-{dim}", "gather", lambda x, i: torch.gather(x, dim, i), dict(input=randn(2, 3, 4), index=index),
            dim=dim)
    add("index_select", "index_select", lambda x, i: x.index_select(1, i),
        dict(input=randn(2, 4, 3), index=torch.tensor([3, 0, 3])), dim=1)
    add("index_add", "index_add", lambda x, i, s: x.index_add(0, i, s),
        dict(input=randn(4, 3), index=torch.tensor([1, 3, 1, 0, 1]), source=randn(5, 3)), dim=0)
    add("cat", "cat", lambda a, b, c: torch.cat((a, b, c), 1),
        dict(a=randn(2, 1, 3), b=randn(2, 3, 3), c=randn(2, 2, 3)), dim=1)
    add("stack", "stack", lambda a, b: torch.stack((a, b), 1), dict(a=randn(2, 3), b=randn(2, 3)), dim=1)
    add("permute", "permute", lambda x: x.permute(0, 2, 3, 1), dict(input=randn(2, 3, 4, 2)), dims=[0, 2, 3, 1])
    add("slice", "slice", lambda x: x[:, 1:3, ::2], dict(input=randn(2, 4, 5)), note="x[:, 1:3, ::2]")
    add("pad", "pad", lambda x: F.pad(x, (1, 2, 0, 1)), dict(input=randn(2, 3, 4)), pad=[1, 2, 0, 1],
        note="last axis first, as in PyTorch")
    add("expand", "expand", lambda x: x.expand(3, 2, 4), dict(input=randn(2, 1)), sizes=[3, 2, 4])
    add("repeat", "repeat", lambda x: x.repeat(2, 3), dict(input=randn(2, 2)), repeats=[2, 3])
    add("flip", "flip", lambda x: x.flip(1), dict(input=randn(2, 3)), dims=[1])
    add("tril", "tril", lambda x: x.tril(1), dict(input=randn(4, 5)), diagonal=1)
    add("cdist", "cdist_squared", lambda a, b: torch.cdist(a, b) ** 2, dict(a=randn(5, 3), b=randn(4, 3)),
        fixed=("a", "b"))


def pools():
    largest = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
    mean = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
    plans = [
        ("1d", (2, 3, 9), [3], [2], [1]), ("2d", (2, 3, 9, 8), [3, 3], [2, 2], [1, 1]),
        ("2d-uneven", (1, 2, 9, 11), [2, 5], [3, 1], [0, 2]), ("3d", (2, 2, 5, 6, 7), [3, 3, 3], [1, 1, 1], [1, 1, 1]),
        ("3d-flat", (1, 3, 3, 9, 9), [1, 3, 3], [1, 2, 2], [0, 1, 1]), ("3d-even", (1, 2, 4, 6, 5), [2, 2, 2], [2, 2, 2], [0, 0, 0]),
        ("3d-head", (2, 3, 4, 3, 3), [2, 3, 3], [1, 1, 1], [0, 0, 0]), ("small", (2, 1, 1, 1), [3, 3], [2, 2], [1, 1])]
    for label, shape, kernel, stride, padding in plans:
        args = dict(kernel_size=kernel, stride=stride, padding=padding)
        axes = len(kernel)
        add(f"max_pool-{label}", "max_pool", lambda x: largest[axes](x, **args), dict(input=randn(shape)), **args)
        # Few different values, so that several of a window are the largest.
        add(f"max_pool-ties-{label}", "max_pool", lambda x: largest[axes](x, **args), dict(input=randn(shape).round()), **args)
        add(f"avg_pool-{label}", "avg_pool", lambda x: mean[axes](x, **args), dict(input=randn(shape)), **args)
        add(f"avg_pool-inside-{label}", "avg_pool", lambda x: mean[axes](x, **args, count_include_pad=False),
            dict(input=randn(shape)), count_include_pad=False, **args)
    for axes, adaptive in ((2, F.adaptive_avg_pool2d), (3, F.adaptive_avg_pool3d)):
        add(f"adaptive_avg_pool{axes}d", "adaptive_avg_pool", lambda x: adaptive(x, 1), dict(input=randn(2, 3, *(5, 4, 3)[:axes])))


def optimizers():
    """Five steps from fixed gradients: `in/parameter`, `in/gradient.STEP`, `out/STEP`."""
    plans = {
        "adamw": (torch.optim.AdamW, dict(lr=1e-2, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)),
        "adam": (torch.optim.Adam, dict(lr=1e-2, betas=(0.9, 0.999), eps=1e-8)),
        "sgd": (torch.optim.SGD, dict(lr=1e-1, momentum=0.9, weight_decay=1e-2)),
        "sgd-nesterov": (torch.optim.SGD, dict(lr=1e-1, momentum=0.9, nesterov=True)),
        "adam-decay": (torch.optim.Adam, dict(lr=1e-2, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.1)),
        "anyprecision": (AnyPrecisionAdamW, dict(lr=1e-2, betas=(0.9, 0.95), eps=1e-6, weight_decay=0.1)),
        "anyprecision-kahan": (AnyPrecisionAdamW, dict(
            lr=1e-2, betas=(0.9, 0.95), eps=1e-6, use_kahan_summation=True, momentum_dtype=torch.bfloat16))}
    for label, (kind, options) in plans.items():
        parameter = torch.nn.Parameter(randn(3, 5))
        optimizer = kind([parameter], **options)
        inputs, outputs = dict(parameter=parameter.detach().clone()), {}
        for step in range(5):
            parameter.grad = randn(3, 5)
            inputs[f"gradient.{step}"] = parameter.grad.clone()
            optimizer.step()
            outputs[str(step)] = parameter.detach().clone()
        name = f"optimizer-{label}"
        TENSORS.update({f"{name}/in/{k}": v for k, v in copied(inputs).items()})
        TENSORS.update({f"{name}/out/{k}": v for k, v in copied(outputs).items()})
        options = {k: str(v).removeprefix("torch.") if isinstance(v, torch.dtype) else v for k, v in options.items()}
        INDEX.append(dict(name=name, op=f"optimizer.{kind.__name__}", args=options, inputs=list(inputs),
                          outputs=list(outputs), grads=[], after=[]))


if __name__ == "__main__":
    torch.manual_seed(3)
    for part in (convolutions, norms, activations, losses, products, reductions, indexing, optimizers, pools):
        part()
    names = [entry["name"] for entry in INDEX]
    if len(set(names)) != len(names):
        raise ValueError("two entries share a name")
    folder = os.path.join(ROOT, "ops")
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "ops.safetensors")
    save_file(TENSORS, path, metadata=METADATA)
    save_json(os.path.join(folder, "index.json"), INDEX)
    print(len(INDEX), "entries", os.path.getsize(path), "bytes")
