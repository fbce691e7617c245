"""The Latent Speech-Text Transformer (Lu et al., arXiv 2510.06195) in PyTorch, for `transformers` 4.51 and later.

Speech units and text pieces share one vocabulary. Only the local networks see every unit. The large transformer runs
over patches: runs of units, and each text piece as a patch of its own.

    tokens ─► patch encoder ─► patches ─► global transformer ─► patch decoder ─► logits of the token after each token

    model = AutoModelForCausalLM.from_pretrained(FOLDER, trust_remote_code=True)
    model(input_ids, attention_mask).logits          # the patches follow from the ids, or from `patch_starts`
    model.generate(input_ids, max_new_tokens=50)     # the global transformer takes one step per patch, not per token

A row is one document: BOS, then runs of text behind the marker <|text|> and of units behind <|speech|>. A token sees
the patches that have ended before it or with it, as far as the tokens up to it tell. A short last patch of a run ends
with the token behind the run. Padding may stand anywhere: it is what `attention_mask` says, not what the ids are.
Rows are packed to the left inside the model, so that all numbers and windows count tokens, never padding.

In a model with `text_bypasses_local_networks`, text goes to the global transformer as embeddings of its width, and only
units and <|speech|> pass the local networks.

Names of arrays end in their axes:  B rows · T columns given · N new tokens of a row · S tokens known · M patches that
end in this call · C queries that share a range of keys · Q vectors per patch · R = patches·Q · E, D local and global
width · H, K heads and their width · V vocabulary.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.utils import ModelOutput

from .attention_lst import rows  # each module is named here: transformers 4 copies no others
from .cache_lst import LstCache
from .configuration_lst import LstConfig
from .networks_lst import GlobalTransformer, PatchDecoder, PatchEncoder, RMSNorm
from .patches_lst import UNSAID, Layout, lay_out

FORWARDED = ("use_cache", "logits_to_keep", "output_hidden_states", "output_attentions")  # what `generate` may pass on


@dataclass
class LstOutput(ModelOutput):
    """What `forward` returns. The last four are there with `output_hidden_states=True`.

    hidden_states: [B, T, E] before the first layer, and behind each layer of the patch encoder and the patch decoder.
        Zeros for tokens that do not pass these networks.
    patch_states: [B, M, D] before the first layer of the global transformer, and behind each, of the patches that
        ended in this call.
    patch_numbers: [B, M], their numbers in the row, -1 where a row has fewer of them.
    token_patches: [B, T], the number of each token's patch, -1 for padding.
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    past_key_values: LstCache | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    patch_states: tuple[torch.Tensor, ...] | None = None
    patch_numbers: torch.Tensor | None = None
    token_patches: torch.Tensor | None = None


class LstForCausalLM(PreTrainedModel, GenerationMixin):
    """The three networks, as a causal language model over the joint vocabulary."""

    config_class = LstConfig
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = True  # `num_items_in_batch`, for Trainer
    _no_split_modules = ["PatchEncoder", "Block", "PatchDecoder"]
    _supports_sdpa = True
    _is_stateful = True  # `generate` asks for no assistant: it would want a cache of its own kind

    def __init__(self, config: LstConfig):
        """Of parameters as `_init_weights` draws them."""
        super().__init__(config)
        width, local, self.bypass = (
            config.hidden_size,
            config.patch_encoder["width"],
            config.text_bypasses_local_networks,
        )
        self.first_local = config.unit_offset - 1 if self.bypass else 0  # the least id that passes the local networks
        self.patch_encoder = PatchEncoder(config, config.vocab_size - self.first_local)
        self.global_transformer = GlobalTransformer(config)
        self.patch_decoder = PatchDecoder(config)
        if self.bypass:
            self.text_embeddings = nn.Embedding(self.first_local, width)
            self.token_embedding_projection = None
            if config.queries_per_patch * local != width:
                self.token_embedding_projection = nn.Linear(config.queries_per_patch * local, width, bias=False)
            self.speech_projection = nn.Linear(local, width, bias=False)
            self.text_norm = RMSNorm(config, width)
            self.output = nn.Linear(width, config.vocab_size, bias=False)
        self.post_init()

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        past_key_values: LstCache | None = None,
        labels: torch.Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        position_ids: torch.Tensor | None = None,
        patch_starts: torch.Tensor | None = None,
        patch_ends: torch.Tensor | None = None,
        inputs_embeds: None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        num_items_in_batch: int | torch.Tensor | None = None,
        return_dict: bool | None = None,
    ) -> LstOutput | tuple:
        """Logits [B, T, V] of the token after each token, and the loss where there are labels.

        Args:
            input_ids: [B, T], behind the tokens that `past_key_values` (of an earlier call) knows of.
            attention_mask: [B, T or more], of which the last T columns count; 0 = padding.
            labels: [B, T], the ids themselves, and -100 where nothing is to be learned.
            logits_to_keep: so many last columns, or these columns only; 0 = all.
            position_ids: [B, T], accepted where they count the tokens of a row, which they do anyway.
            patch_starts: [B, T], True or 1 where a unit opens a patch. Other tokens always do. -1 = by the static rule,
                and None = everywhere by it.
            patch_ends: [B, T], True or 1 where a patch is known to end; -1 or None = by `patches_lst.find_boundaries`.
            num_items_in_batch: what the summed loss is divided by; None = the number of labels.
        Raises: ValueError for what the model cannot use.
        """
        _refuse(inputs_embeds=inputs_embeds, output_attentions=output_attentions or None)
        real_BT = _checked(input_ids, attention_mask, past_key_values)
        cache = LstCache(keeps=bool(use_cache)) if past_key_values is None else past_key_values
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        token_states, patch_states = ([], []) if output_hidden_states else (None, None)
        h_BTE, at, column_BT = self.hidden(
            input_ids, real_BT, position_ids, (patch_starts, patch_ends), cache, (token_states, patch_states)
        )
        logits_BTV = self.get_output_embeddings()(h_BTE[:, kept])
        output = LstOutput(logits=logits_BTV, past_key_values=cache if cache.keeps else None)
        if labels is not None:
            output.loss = _loss(logits_BTV, labels, num_items_in_batch)
        if output_hidden_states:
            output.hidden_states = tuple(_to_columns(x, at, column_BT) for x in token_states)
            output.patch_states = tuple(patch_states)
            output.patch_numbers = at.patches.number_BN.masked_fill(~at.real_BM, -1)
            number_BN = at.all.number_BS.gather(1, at.tokens.number_BN)
            output.token_patches = number_BN.gather(1, column_BT).masked_fill(~real_BT, -1)
        return output.to_tuple() if return_dict is False else output

    def hidden(self, token_BT, real_BT, position_BT, given, cache: LstCache, states=(None, None)):
        """Normed states [B, T, E] of columns behind those that the cache knows of, where they lie, and their columns."""
        before_B = cache.known(real_BT)
        column_BT, chosen_BN = _packed(real_BT)
        if position_BT is not None and ((position_BT != before_B[:, None] + column_BT) & real_BT).any():
            raise ValueError(
                "position_ids: must count the tokens of a row from 0, as a row is one document; leave them out, and "
                "give each document a row of its own"
            )
        given_BT2 = torch.stack([_boundaries(x, token_BT) for x in given], 2)
        at = lay_out(
            token_BT.gather(1, chosen_BN),
            given_BT2.gather(1, chosen_BN[..., None].expand(-1, -1, 2)),
            before_B,
            real_BT.sum(1),
            any(x is not None for x in given),
            cache,
            self.config,
        )
        id_BN = (at.new_local_tokens() - self.first_local).clamp(min=0)
        h_BNE, x_BMW = self.patch_encoder(id_BN, at, cache, states[0])
        if not self.bypass:
            global_BMD = self.global_transformer(x_BMW, at, cache, states[1])
            h_BNE = self.patch_decoder(h_BNE, global_BMD, at, cache, states[0])
            return rows(h_BNE, column_BT), at, column_BT
        global_BMD = self.global_transformer(self._mixed(x_BMW, at), at, cache, states[1])
        local_BM = _new(at, at.all.number_BS.gather(1, at.number_BL.gather(1, _first_tokens(at))))
        h_BNE = self.patch_decoder(h_BNE, rows(global_BMD, local_BM), at, cache, states[0])
        return self._joined(h_BNE, global_BMD, at, column_BT), at, column_BT

    def prepare_inputs_for_generation(
        self,
        input_ids,
        past_key_values=None,
        attention_mask=None,
        patch_starts=None,
        patch_ends=None,
        **kwargs,
    ):
        """The columns that the cache does not know yet. Boundaries are those of the prompt; the rule decides behind it."""
        known = 0 if past_key_values is None else past_key_values.get_seq_length()
        new = (input_ids if attention_mask is None else attention_mask).shape[1] - known
        if not 0 < new <= input_ids.shape[1]:
            raise ValueError(
                f"past_key_values: knows {known} of {known + new} columns; give the ids, or the attention_mask, of all of "
                "them and of at least one more"
            )
        given = {"patch_starts": patch_starts, "patch_ends": patch_ends}
        given = {key: _padded(x, known + new)[:, known:] for key, x in given.items() if x is not None}
        return {
            "input_ids": input_ids[:, -new:].contiguous(),
            "past_key_values": past_key_values,
            "attention_mask": attention_mask,
            **given,
            **{key: kwargs[key] for key in FORWARDED if key in kwargs},
        }

    def _get_initial_cache_position(self, *arguments):
        """For transformers 4, which asks caches of its own kind for it; nothing here depends on the answer."""
        kwargs = arguments[-1]
        kwargs["cache_position"] = torch.zeros(1, dtype=torch.long, device=self.device)
        return kwargs

    def get_input_embeddings(self) -> nn.Embedding:
        """The table of the joint vocabulary; where text has a table of its own, that one."""
        return self.text_embeddings if self.bypass else self.patch_encoder.tok_embeddings

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Puts another in its place."""
        if self.bypass:
            self.text_embeddings = value
        else:
            self.patch_encoder.tok_embeddings = value

    def get_output_embeddings(self) -> nn.Linear:
        """The output projection, not tied to the input's."""
        return self.output if self.bypass else self.patch_decoder.output

    def set_output_embeddings(self, value: nn.Linear) -> None:
        """Puts another in its place."""
        if self.bypass:
            self.output = value
        else:
            self.patch_decoder.output = value

    def _mixed(self, x_BPW: torch.Tensor, at: Layout) -> torch.Tensor:
        """Inputs [B, M, D] of the global transformer: embedded text, and the vectors of local patches."""
        x_BPD = x_BPW if self.token_embedding_projection is None else self.token_embedding_projection(x_BPW)
        first_BM = at.all.first_BS.gather(1, at.patches.number_BN.clamp(max=at.all.first_BS.shape[1] - 1))
        first_BM = first_BM.clamp(max=at.token_BS.shape[1] - 1)
        id_BM = at.token_BS.gather(1, first_BM)
        text_BMD = self.text_embeddings(id_BM.clamp(max=self.first_local - 1))
        if not x_BPD.shape[1]:
            return text_BMD
        place_BM = at.place_BS.gather(1, first_BM).clamp(min=0)
        number_BM = at.locals.number_BS.gather(1, place_BM) - at.local_patches.first_B[:, None]
        is_text_BM1 = (id_BM < self.first_local)[..., None].to(text_BMD.device)
        return torch.where(is_text_BM1, text_BMD, rows(x_BPD, number_BM).to(text_BMD))

    def _joined(self, h_BNE, global_BMD, at: Layout, column_BT) -> torch.Tensor:
        """States [B, T, D]: the decoder's where a token is local, the normed global output where it is text."""
        number_BT = at.tokens.first_B[:, None] + column_BT
        place_BT = at.place_BS.gather(1, number_BT)
        speech_BND, text_BMD = self.speech_projection(h_BNE), self.text_norm(global_BMD)
        speech_BTD = rows(speech_BND, place_BT - at.local.first_B[:, None])
        text_BTD = rows(text_BMD, _new(at, at.all.number_BS.gather(1, number_BT)))
        return torch.where((place_BT < 0)[..., None].to(speech_BTD.device), text_BTD.to(speech_BTD), speech_BTD)

    def _init_weights(self, module: nn.Module) -> None:
        """Normal with σ = (input width)^-½, cut at ±3σ; norms start at 1."""
        if isinstance(module, (nn.Linear, nn.Embedding)):
            std = module.weight.shape[1] ** -0.5
            nn.init.trunc_normal_(module.weight, std=std, a=-3 * std, b=3 * std)
        elif isinstance(module, RMSNorm):
            nn.init.ones_(module.weight)

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        """False: `generate` leaves it to `forward` to make a cache."""
        return False


def _refuse(**arguments) -> None:
    for name, value in arguments.items():
        if value is not None:
            raise ValueError(f"{name}: is not supported, as patches follow from ids; leave it out")


def _checked(input_ids, attention_mask, past_key_values) -> torch.Tensor:
    """Which columns are tokens, bool [B, T]. Raises: ValueError."""
    t = input_ids.shape[1]
    if past_key_values is not None and not isinstance(past_key_values, LstCache):
        raise ValueError(
            f"past_key_values: must be what an earlier call returned, is a {type(past_key_values).__name__}; leave it out"
        )
    if attention_mask is None:
        return torch.ones_like(input_ids, dtype=torch.bool)
    if attention_mask.dim() != 2 or attention_mask.shape[1] < t:
        raise ValueError(
            f"attention_mask: must be [B, T], has {attention_mask.dim()} axes and the shape "
            f"{list(attention_mask.shape)} for {t} tokens; give 1 or 0 per token"
        )
    if ((attention_mask != 0) & (attention_mask != 1)).any():
        raise ValueError(
            "attention_mask: must be 1 or 0, as a row is one document; give each document a row of its own"
        )
    return attention_mask[:, -t:].bool()


def _packed(real_BT: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """For each column the number of its token among the new ones, and the columns [B, N] of the new tokens."""
    column_BT = (real_BT.cumsum(1) - 1).clamp(min=0)
    count = max(1, int(real_BT.sum(1).amax()))
    return column_BT, (~real_BT).to(torch.uint8).argsort(dim=1, stable=True)[:, :count]


def _boundaries(given_BT: torch.Tensor | None, like_BT: torch.Tensor) -> torch.Tensor:
    if given_BT is None:
        return torch.full_like(like_BT, UNSAID, dtype=torch.int8)
    if given_BT.shape != like_BT.shape:
        raise ValueError(
            f"patch_starts, patch_ends: have the shape {list(given_BT.shape)}, input_ids {list(like_BT.shape)}; give one "
            "value per token"
        )
    if given_BT.dtype != torch.bool and ((given_BT < UNSAID) | (given_BT > 1)).any():
        raise ValueError("patch_starts, patch_ends: must be 1, 0, or -1 for the static rule; give one of them")
    return given_BT.to(torch.int8)


def _padded(given_BT: torch.Tensor, columns: int) -> torch.Tensor:
    """Boundaries of so many columns, of which the rule decides the last ones."""
    return F.pad(given_BT.to(torch.int8), (0, max(0, columns - given_BT.shape[1])), value=UNSAID)


def _first_tokens(at: Layout) -> torch.Tensor:
    """The first token of each new local patch, by its number among local tokens."""
    own_BM, *_ = at.ranges(1)
    return own_BM.clamp(max=at.number_BL.shape[1] - 1)


def _new(at: Layout, number: torch.Tensor) -> torch.Tensor:
    """Numbers of patches to their numbers among those of this call."""
    return number - at.patches.first_B[:, None]


def _to_columns(h_BNE: torch.Tensor, at: Layout, column_BT: torch.Tensor) -> torch.Tensor:
    """States of new local tokens in their columns; zeros where a column's token is not local."""
    if at.place_BS is None:
        return rows(h_BNE, column_BT)
    place_BT = at.place_BS.gather(1, at.tokens.first_B[:, None] + column_BT)
    is_text_BT1 = (place_BT < 0)[..., None].to(h_BNE.device)
    return rows(h_BNE, place_BT - at.local.first_B[:, None]).masked_fill(is_text_BT1, 0)


def _loss(logits_BTV, labels_BT, items) -> torch.Tensor:
    """Cross-entropy in nats of each label given the tokens before it, summed over `items`, or on average."""
    if logits_BTV.shape[1] != labels_BT.shape[1]:
        raise ValueError("logits_to_keep: must be 0 beside labels; leave it out")
    logits, label = logits_BTV[:, :-1].flatten(0, 1).float(), labels_BT[:, 1:].flatten().to(logits_BTV.device)
    if items is None:
        return F.cross_entropy(logits, label)
    return F.cross_entropy(logits, label, reduction="sum") / items
