"""What the PyTorch ancestor uses of xformers, computed by PyTorch: xformers itself has no such kernel for CPUs.

`install()` puts it under the name `xformers`, and empty modules where only training uses the real ones. Facts of its interface:
queries, keys and values are [B, T, heads, channels]. A block-diagonal causal mask is of row-major sequences of the given
lengths; a local one of window w shows the last w positions.
"""

import sys
import types

NAMES = ("xformers", "xformers.ops", "xformers.profiler", "wandb")


def install() -> None:
    """Makes `import xformers.ops` find the stand-ins. Call it before the ancestor is imported."""
    import torch

    class AttentionBias:
        """A mask, as a tensor of True where a query may look."""

        def __init__(self, lengths=None, window=None):
            self.lengths, self.window = lengths, window

        @classmethod
        def from_seqlens(cls, q_seqlen):
            return cls(list(q_seqlen))

        def make_local_attention(self, window):
            return type(self)(self.lengths, window)

        def visible(self, size):
            position = torch.arange(size)
            behind = position[:, None] - position[None, :]
            shown = behind >= 0
            if self.window is not None:
                shown &= behind < self.window
            if self.lengths is not None:
                document = torch.repeat_interleave(torch.tensor(self.lengths))
                shown &= document[:, None] == document[None, :]
            return shown

    def memory_efficient_attention(query, key, value, attn_bias=None):
        q, k, v = (x.transpose(1, 2) for x in (query, key, value))
        mask = None if attn_bias is None else attn_bias.visible(q.shape[2])
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2)

    bias = types.SimpleNamespace(
        LowerTriangularMask=AttentionBias,
        BlockDiagonalCausalMask=AttentionBias,
        LocalAttentionFromBottomRightMask=lambda window_left, window_right: AttentionBias(None, window_left + 1),
    )
    modules = {name: types.ModuleType(name) for name in NAMES}
    package, ops = modules["xformers"], modules["xformers.ops"]
    package.ops, package.profiler, ops.AttentionBias = ops, modules["xformers.profiler"], AttentionBias
    package.profiler.MemSnapshotsProfiler = package.profiler.PyTorchProfiler = object
    ops.fmha = types.SimpleNamespace(attn_bias=bias, memory_efficient_attention=memory_efficient_attention)
    sys.modules.update(modules)
    library = torch.library.Library("xformers_flash", "DEF")
    library.define("flash_fwd(Tensor x) -> Tensor")
    install.library = library  # it goes when nothing refers to it
