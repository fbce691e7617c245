"""Configuration of the Latent Speech-Text Transformer (arXiv 2510.06195) for `transformers`, see modeling_lst.py."""

from transformers import PretrainedConfig


class LstConfig(PretrainedConfig):
    """Sizes of the three networks, the vocabulary and the patch rule; without arguments those of the paper's 1B model.

    Ids below `unit_offset` are text pieces, special ids and the two markers, ids from there on are speech units.
    `static_size` is the number of units per patch. A network is a mapping of `layers`, `width`, `heads`, `ffn_width` and
    `window` (positions that attention looks back over, its own included; None = all). The windows of cross-attention
    count patches; `*_all_layers` says whether every local layer has one, or one only (the encoder's last, the
    decoder's first). `max_position_embeddings` is the length that the model was trained on; nothing breaks beyond it.

    `text_bypasses_local_networks`: only units and <|speech|> pass the local networks. `marker_opens_patch`: <|speech|>
    is the first token of the first patch of its run. `aligned_patches`: the model was trained on patches of words,
    which `patch_starts` gives.
    """

    model_type = "lst"

    def __init__(
        self,
        vocab_size=32508,
        unit_offset=32006,
        static_size=4,
        patch_encoder=None,
        global_transformer=None,
        patch_decoder=None,
        queries_per_patch=2,
        cross_heads=16,
        encoder_cross_window=1,
        decoder_cross_window=1,
        encoder_cross_all_layers=False,
        decoder_cross_all_layers=True,
        rope_theta=5e5,
        norm_eps=1e-5,
        text_bypasses_local_networks=False,
        marker_opens_patch=False,
        aligned_patches=False,
        max_position_embeddings=4096,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=32000,
        **kwargs,
    ):
        """Keeps them. Raises: ValueError where they do not fit together."""
        local = {"width": 1024, "heads": 16, "ffn_width": 2816, "window": 512}
        self.patch_encoder = patch_encoder or local | {"layers": 1}
        self.global_transformer = global_transformer or {
            "layers": 25,
            "width": 2048,
            "heads": 16,
            "ffn_width": 5632,
            "window": None,
        }
        self.patch_decoder = patch_decoder or local | {"layers": 9}
        if queries_per_patch != 1 and self.global_transformer["width"] == self.patch_decoder["width"]:
            raise ValueError(f"queries_per_patch={queries_per_patch}: must be 1 where the widths are equal; use 1")
        if kwargs.setdefault("tie_word_embeddings", False):  # transformers 4 would tie them by default
            raise ValueError("tie_word_embeddings=True: the model has an output matrix of its own; set it to false")
        self.vocab_size, self.unit_offset, self.static_size = vocab_size, unit_offset, static_size
        self.queries_per_patch, self.cross_heads = queries_per_patch, cross_heads
        self.encoder_cross_window, self.decoder_cross_window = encoder_cross_window, decoder_cross_window
        self.encoder_cross_all_layers = encoder_cross_all_layers
        self.decoder_cross_all_layers = decoder_cross_all_layers
        self.rope_theta, self.norm_eps = rope_theta, norm_eps
        self.text_bypasses_local_networks = text_bypasses_local_networks
        self.marker_opens_patch, self.aligned_patches = marker_opens_patch, aligned_patches
        self.max_position_embeddings = max_position_embeddings
        super().__init__(bos_token_id=bos_token_id, eos_token_id=eos_token_id, pad_token_id=pad_token_id, **kwargs)

    @property
    def hidden_size(self):
        """The global width."""
        return self.global_transformer["width"]

    @property
    def num_hidden_layers(self):
        """Layers of the global transformer."""
        return self.global_transformer["layers"]

    @property
    def num_attention_heads(self):
        """Heads of the global transformer."""
        return self.global_transformer["heads"]
