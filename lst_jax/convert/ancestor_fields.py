"""Which fields the params.json of the PyTorch ancestor may have, of which type, and what an absent one means.

These are facts of the released code (facebookresearch/lst, revision 32c7f4c of 2026): the pydantic classes TrainArgs,
DataloaderArgs, ByteLatentTransformerArgs, PatcherArgs, DistributedArgs and OptimArgs. All but PatcherArgs refuse a field that
they do not have. A type that ends in "?" may be null.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class Field(NamedTuple):
    """The type of a field in JSON, and its default."""

    kind: str
    default: Any


def _fields(*groups: tuple[str, Any, str]) -> dict[str, Field]:
    return {name: Field(kind, default) for kind, default, names in groups for name in names.split()}


MODEL = _fields(
    ("int", -1, "vocab_size output_size"),
    ("int", 0, "pm_size"),
    ("int", 1, "patching_batch_size"),
    ("int", 3, "encoder_hash_byte_group_nb_functions"),
    ("int", 4, "full_logging_n_layers"),
    ("int", 8, "n_layers n_layers_global n_layers_local_decoder n_layers_local_encoder"),
    ("int", 8, "n_heads n_heads_global n_heads_local_decoder n_heads_local_encoder"),
    ("int", 42, "seed"),
    ("int", 256, "multiple_of"),
    ("int", 512, "dim dim_global dim_local_decoder dim_local_encoder"),
    ("int", 1024, "max_seqlen"),
    ("int", 2048, "max_length"),
    ("int", 30000, "encoder_hash_byte_group_vocab"),
    ("int?", 2, "eos_id"),
    ("int?", None, "head_dim n_kv_heads n_kv_heads_global dim_token dim_token_emb dim_patch_emb conv_kernel_size"),
    ("int?", None, "patcher_curr_align_steps patcher_curr_mixed_steps max_patch_length max_encoder_seq_length"),
    ("int?", None, "cross_attn_window_encoder cross_attn_window_decoder cross_attn_k cross_attn_nheads"),
    ("int?", None, "local_attention_window_len ngram_vocab_sizes"),
    ("float", 0, "dropout"),
    ("float", 1.0, "ffn_dim_multiplier"),
    ("float", 1e-5, "norm_eps"),
    ("float", 1e4, "rope_theta"),
    ("float?", None, "init_base_std patch_size patching_threshold patching_threshold_add"),
    ("float?", None, "encoder_preds_low_entropy_toks encoder_preds_random_toks"),
    ("str", "disabled", "init_std_factor alpha_depth"),
    ("str", "causal", "attn_bias_type"),
    ("str", "cuda", "patching_device"),
    ("str", "swiglu", "non_linearity"),
    ("str", "all", "layer_ckpt attn_to_keep"),
    ("str", "current", "init_use_depth"),
    ("str", "rmsnorm", "norm_type"),
    ("str", "vanilla", "architecture"),
    ("str?", "sdpa", "attn_impl"),
    ("str?", None, "patching_mode patching_thresholds_str global_local_decoder_residual_layer downsampling_by_pooling"),
    ("str?", None, "encoder_ngram_table_dir encoder_ngram_to_size_str entropy_model_checkpoint_dir"),
    ("bool", True, "cross_attn_use_flex_attention use_rope recompute_attn init_use_gaussian norm_affine pre_norm"),
    ("bool", True, "share_encoder_decoder_emb use_fsdp"),
    ("bool", False, "rope_use_fp32_in_outer_product weight_tying patch_in_forward monotonicity encoder_lm_loss"),
    ("bool", False, "tie_local_encoder_decoder_logits use_local_encoder_transformer pad_to_max_length"),
    ("bool", False, "encoder_enable_byte_ngrams encoder_enable_byte_group_hash cross_attn_encoder cross_attn_decoder"),
    ("bool", False, "cross_attn_all_layers_decoder cross_attn_all_layers_encoder cross_attn_init_by_pooling"),
    ("bool", False, "log_patch_lengths recompute_fc1_out recompute_fc3_out custom_bwd tokenize_with_bpe_delimiter"),
    ("bool", False, "tie_local_encoder_decoder entropy_model_is_ngram_model sequence_parallel loss_parallel"),
    ("bool", False, "fuse_sequence_parallel"),
    ("any", None, "encoder_hash_byte_group_size"),
)
DATA = _fields(
    ("str?", None, "s3_profile root_dir preprocess_dir"),
    ("str?", "transformer_100m", "entropy_model_name"),
    ("str", "arrow", "file_format"),
    ("str", "exact", "async_persist_type"),
    ("int", 2, "batch_size"),
    ("int", 2048, "seq_len"),
    ("int", 42, "seed"),
    ("int", 64, "prefetch_size buffer_size"),
    ("int", 20, "arrow_batch_size"),
    ("int", 12288, "max_encoder_seq_length"),
    ("bool", True, "add_bos add_eos load_async pad_to_max_length add_patches"),
    ("bool", False, "enable_byte_ngrams"),
    ("list?", None, "dataset_files"),
    ("dict", {}, "sources tokenizer_args patcher_args"),
)
TOKENIZER = _fields(("str", "bytes", "name"), ("dict?", None, "init_kwargs"))
PATCHER = _fields(
    ("str", "entropy", "patching_mode"),
    ("str", "cuda", "patching_device device"),
    ("str?", None, "entropy_model_checkpoint_dir"),
    ("float", 1.335442066192627, "threshold"),
    ("float?", None, "threshold_add"),
    ("float", 4.5, "patch_size"),
    ("int", 1, "patching_batch_size"),
    ("int?", None, "max_patch_length patcher_curr_align_steps patcher_curr_mixed_steps"),
    ("bool", False, "realtime_patching monotonicity log_time"),
)
DISTRIBUTED = _fields(
    ("int", 1, "dp_shard dp_replicate tp_size"),
    ("int", 8, "compile_cache_size_limit"),
    ("str", "bf16", "model_dtype"),
    ("str", "no_shard", "fsdp_type"),
    ("str", r"layers\.[0-9]+\.", "float8_filter"),
    ("str", "forkserver", "spawn_method"),
    ("str?", None, "float8_recipe"),
    ("bool", True, "allow_bf16_reduced_precision_reduction"),
    ("bool", False, "selective_activation_checkpointing compile matmul_allow_tf32 detect_anomaly"),
)
OPTIM = _fields(
    ("float", 3e-4, "lr"),
    ("float", 0.1, "weight_decay lr_min_ratio decay_fraction"),
    ("float", 1e-8, "epsilon"),
    ("float", 0.9, "beta1"),
    ("float", 0.95, "beta2"),
    ("float", 1.0, "clip cycle_length cosine_theta"),
    ("float", 0.5, "exp_factor"),
    ("int", 2000, "warmup"),
    ("int", 1000, "annealing_step"),
    ("str", "cosine", "scheduler"),
)
TRAIN = _fields(
    ("str", "lingua", "name"),
    ("str", "", "dump_dir"),
    ("int", 42, "seed"),
    ("int", 1, "grad_acc_steps"),
    ("int", 1000, "gc_collect_freq steps"),
    ("int?", None, "probe_freq max_steps async_eval_gpus eval_on_gpus"),
    ("bool", False, "debug_dynamo train_entropy_model"),
    ("dict", {}, "data optim distributed env checkpoint profiling logging"),
    ("dict?", {}, "model"),
    ("dict?", None, "entropy_model eval"),
)
SECTIONS = {
    "": TRAIN,
    "model": MODEL,
    "data": DATA,
    "data.tokenizer_args": TOKENIZER,
    "data.patcher_args": PATCHER,
    "distributed": DISTRIBUTED,
    "optim": OPTIM,
}
KINDS = {"int": int, "float": (int, float), "str": str, "bool": bool, "dict": dict, "list": list, "any": object}


def section(params: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The fields of a section of params.json with their defaults: a field that is absent or null has its default.

    Example: section({"data": {"seq_len": 8}}, "data")["seq_len"] -> 8
    """
    found: Any = params
    for part in filter(None, path.split(".")):
        found = found[part] if isinstance(found, Mapping) and part in found else {}
    return with_defaults(found if isinstance(found, Mapping) else {}, SECTIONS[path])


def with_defaults(found: Mapping[str, Any], fields: Mapping[str, Field]) -> dict[str, Any]:
    """The fields, each with its value or its default. Those of another name are left out."""
    return {
        name: field.default if name not in found or found[name] is None else found[name]
        for name, field in fields.items()
    }


def problems(found: Mapping[str, Any], fields: Mapping[str, Field], prefix: str = "") -> Iterator[str]:
    """What is wrong with the fields of a section: one that it does not have, or a value of another type.

    Example: problems({"dim": "8", "dims": 8}, MODEL) -> "dim='8': must be a whole number", "dims=8: is not known"
    """
    for name, value in found.items():
        if name not in fields:
            if value is not None:
                yield f"{prefix}{name}={value!r}: is not known"
        elif value is not None and not _is(value, fields[name].kind):
            yield f"{prefix}{name}={value!r}: must be {_NAMES[re.sub(r'[?]$', '', fields[name].kind)]}"


_NAMES = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "dict": "a mapping",
    "list": "a list",
}


def _is(value: Any, kind: str) -> bool:
    kind = kind.rstrip("?")
    return isinstance(value, KINDS[kind]) and (kind in ("bool", "any") or not isinstance(value, bool))
