"""Score filters and masks of generation. Run: python generation.py"""
import torch
from fixture import case
from torchmultimodal.utils.attention import get_causal_attention_mask, get_extended_attention_mask
from torchmultimodal.utils.generate import LogitsFilterTopK, LogitsFilterTopP, get_logits_mask


def filters():
    ties = torch.tensor([[1.0, 3.0, 3.0, 2.0, 3.0], [0.5, 0.5, 0.5, 0.5, 0.5]])
    for label, config, inputs in [
            ("3", dict(top_k=3), torch.randn(4, 9)), ("0", dict(top_k=0), torch.randn(2, 5)),
            ("1", dict(top_k=1), torch.randn(4, 9)), ("beyond", dict(top_k=50), torch.randn(2, 5)),
            ("ties", dict(top_k=2), ties), ("kept", dict(top_k=1, min_tokens_to_keep=3), torch.randn(3, 7)),
            ("value", dict(top_k=2, filter_value=-100.0), torch.randn(3, 7))]:
        case(f"LogitsFilterTopK-{label}", "LogitsFilterTopK", config, lambda: dict(logits=inputs),
             target=LogitsFilterTopK(**config), vjp=False)
    for label, config, inputs in [
            ("0.7", dict(top_p=0.7), torch.randn(4, 9) * 2), ("1", dict(top_p=1.0), torch.randn(2, 5)),
            ("0", dict(top_p=0.0), torch.randn(3, 6)), ("0.95", dict(top_p=0.95), torch.randn(5, 20) * 3),
            ("kept", dict(top_p=0.1, min_tokens_to_keep=3), torch.randn(3, 7)),
            ("value", dict(top_p=0.5, filter_value=-100.0), torch.randn(3, 7))]:
        case(f"LogitsFilterTopP-{label}", "LogitsFilterTopP", config, lambda: dict(logits=inputs),
             target=LogitsFilterTopP(**config), vjp=False)


def masks():
    for label, args in [("both", dict(in_seq_len=2, out_seq_len=3, num_in_tokens=4, num_out_tokens=5)),
                        ("out", dict(in_seq_len=0, out_seq_len=1, num_in_tokens=3, num_out_tokens=4))]:
        case(f"get_logits_mask-{label}", "get_logits_mask", inputs=dict, target=get_logits_mask, args=args, vjp=False)
    for label, args in [("square", dict(tgt_seq_len=4)), ("wide", dict(tgt_seq_len=3, src_seq_len=5))]:
        case(f"get_causal_attention_mask-{label}", "get_causal_attention_mask", inputs=dict,
             target=get_causal_attention_mask, args=args, vjp=False)
    for shape in ((2, 5), (2, 3, 5), (2, 1, 3, 5)):
        case(f"get_extended_attention_mask-{len(shape)}d", "get_extended_attention_mask",
             inputs=lambda: dict(attention_mask=(torch.rand(shape) > 0.4).long()), target=get_extended_attention_mask,
             vjp=False)


if __name__ == "__main__":
    torch.manual_seed(1)
    filters()
    masks()
