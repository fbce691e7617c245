"""The params.json of the PyTorch ancestor, which is the configuration of its training, as ours and back.

    {"model": {...}, "data": {"tokenizer_args": {...}, "patcher_args": {...}, ...}, "distributed": {"model_dtype": ...}, ...}

Files with the fields of "model" alone, and no section, are read too.
"""

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from lst_jax.config import (
    Config,
    DataConfig,
    EvalConfig,
    InterleaveConfig,
    ModelConfig,
    OptimConfig,
    PatchingConfig,
    SourceConfig,
    TrainConfig,
    VocabConfig,
)
from lst_jax.convert.ancestor import ancestor_config, model_config_from_ancestor, model_problems
from lst_jax.convert.ancestor_fields import DATA, DISTRIBUTED, PATCHER, SECTIONS, problems, section, with_defaults
from lst_jax.core import json_files
from lst_jax.core.errors import ConfigError, DataError
from lst_jax.core.vocab import Vocab
from lst_jax.data.patching import Aligned, Curriculum, Static
from lst_jax.data.patching.base import DEFAULT_SIZE
from lst_jax.data.text import load_tokenizer
from lst_jax.recipes.validate import validate

UNITS = 502  # speech_vocab_size_unit where the tokenizer's arguments do not give it
DTYPES = {
    "fp32": "float32",
    "bf16": "bfloat16",
    "fp16": "float32",
}  # model_dtype -> model.compute_dtype; fp16 is widened
# patching_mode -> data.patching.strategy; at inference a curriculum is static, there and here
STRATEGIES = {"lst_static": Static.name, "lst_align": Aligned.name, "lst_curriculum": Curriculum.name}
# of its tokenizer: name, type and words for the type
ARGUMENTS = (("bpe_tokenizer_path", str, "a text"), ("speech_vocab_size_unit", int, "a whole number"))


@dataclasses.dataclass(frozen=True)
class Params:
    """A params.json whose model is one that we have."""

    path: pathlib.Path
    sections: Mapping[str, Any]
    model: ModelConfig

    @property
    def vocab_size(self) -> int:
        """Ids of the joint vocabulary."""
        return self.sections["model"]["vocab_size"]

    @property
    def tokenizer_path(self) -> str | None:
        """Where its training read the text tokenizer, in its own words; None where that is not said."""
        return self._tokenizer_arguments.get("bpe_tokenizer_path")

    @property
    def _tokenizer_arguments(self) -> Mapping[str, Any]:
        return section(self.sections, "data.tokenizer_args")["init_kwargs"] or {}

    def config(self, tokenizer: str) -> Config:
        """The whole configuration, with the text tokenizer at that path.

        Its data are named as the ancestor's training names them: whoever trains on gives a recipe with their own.
        Raises: DataError naming what does not go with the tokenizer, or what no run of ours can be.
        """
        pieces = load_tokenizer(tokenizer)
        units = self._units(pieces.get_piece_size(), tokenizer)
        try:
            config = Config(
                name=section(self.sections, "")["name"],
                seed=section(self.sections, "")["seed"],
                vocab=VocabConfig(pieces.get_piece_size(), units),
                model=self.model,
                data=self._data(tokenizer, pieces.space_id() is not None),
                optim=self._optim(),
                eval=EvalConfig(every=self._steps, sources=()),
                train=TrainConfig(steps=self._steps),
            )
            validate(config)
        except ConfigError as error:
            raise DataError(f"{self.path}: makes a run with {error}; or give a recipe, as --config") from error
        return config

    @property
    def _steps(self) -> int:
        return max(1, section(self.sections, "")["steps"])

    def _units(self, text_size: int, tokenizer: str) -> int:
        """The number of ids for speech units. Raises: DataError where the sizes contradict each other."""
        said = self._tokenizer_arguments.get("speech_vocab_size_unit", UNITS if "data" in self.sections else None)
        others = Vocab(text_size, 0).size
        units = self.vocab_size - others
        if units < 1 or said not in (None, units):
            raise DataError(
                f"{self.path}: vocab_size={self.vocab_size} is not the {text_size} pieces of {tokenizer}, 6 markers and unused "
                f"ids, and {'at least 1 unit' if said is None else f'speech_vocab_size_unit={said}'}; give the tokenizer that "
                "it was trained with, as --tokenizer"
            )
        return units

    def _data(self, tokenizer: str, has_space: bool) -> DataConfig:
        data, patcher = section(self.sections, "data"), section(self.sections, "data.patcher_args")
        model, distributed = self.sections["model"], section(self.sections, "distributed")
        tokens = model["max_encoder_seq_length"] or data["max_encoder_seq_length"]
        if _says_patches(self.sections):
            strategy, size = STRATEGIES[patcher["patching_mode"]], patcher["patch_size"]
        else:
            strategy, size = Static.name, model["patch_size"] or DEFAULT_SIZE
        folder = f"{data['root_dir']}/" if data["root_dir"] else ""
        sources = [
            SourceConfig(name, "utterance" if "on_the_fly" in name else "text", f"{folder}{name}", float(share))
            for name, share in data["sources"].items()
            if share > 0  # its training takes others for sources that are not read
        ]
        align_steps = patcher["patcher_curr_align_steps"] or 0
        return DataConfig(
            tokenizer=tokenizer,
            sources=tuple(sources) or (SourceConfig("text", "text", "data/text"),),
            rows=data["batch_size"] * distributed["dp_shard"] * distributed["dp_replicate"],
            row_tokens=tokens,
            row_patches=min(model["max_seqlen"], tokens),
            patching=PatchingConfig(
                strategy=strategy,
                static_size=int(size),
                aligned_to="word",
                silence="separate",
                boundary_noise_ms=0.0,
                tau1=align_steps,
                tau2=max(align_steps, patcher["patcher_curr_mixed_steps"] or 0),
                marker_opens_patch=strategy != Aligned.name,
            ),
            interleave=InterleaveConfig(text_ends_in_space=has_space),
        )

    def _optim(self) -> OptimConfig:
        found = section(self.sections, "optim")
        return OptimConfig(
            peak_lr=float(found["lr"]),
            warmup_steps=min(found["warmup"], self._steps - 1),
            final_lr_ratio=float(found["lr_min_ratio"]),
            beta1=float(found["beta1"]),
            beta2=float(found["beta2"]),
            eps=float(found["epsilon"]),
            weight_decay=float(found["weight_decay"]),
            clip_norm=float(found["clip"]),
        )


def read(path: pathlib.Path) -> Params:
    """Reads the file. Raises: DataError, one line that names everything for which the model cannot be ours."""
    found = json_files.read(path, "copy it again", kind=None)
    if isinstance(found, dict) and "model" not in found:
        found = {"model": found}
    if not isinstance(found, dict) or not isinstance(found["model"], dict) or "vocab_size" not in found["model"]:
        raise DataError(f"{path}: vocab_size is missing; give the arguments of the model, as the ancestor wrote them")
    wrong = [*_wrong_types(found)]
    if wrong := [*model_problems(found["model"]), *(wrong or _contradictions(found))]:
        raise DataError(f"{path}: {'; '.join(wrong)}; use a checkpoint of another model, or correct params.json")
    dtype = section(found, "distributed")["model_dtype"] if "distributed" in found else "fp32"
    model = model_config_from_ancestor(found["model"], DTYPES[dtype])
    return Params(path, found | {"model": section(found, "model")}, model)


def _wrong_types(found: Mapping[str, Any]) -> Iterator[str]:
    """Fields outside "model" that are of a wrong type."""
    for path, fields in SECTIONS.items():
        if path != "model":
            yield from problems(_known(found, path, fields), fields, f"{path}." if path else "")
    shares, arguments = section(found, "data")["sources"], section(found, "data.tokenizer_args")["init_kwargs"]
    if isinstance(shares, dict) and not all(isinstance(share, int | float) for share in shares.values()):
        yield "data.sources: must be numbers by name"
    for name, kind, words in ARGUMENTS if isinstance(arguments, dict) else ():
        value = arguments.get(name)
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            yield f"data.tokenizer_args.init_kwargs.{name}={value!r}: must be {words}"


def _contradictions(found: Mapping[str, Any]) -> Iterator[str]:
    """What the fields outside "model", all of the right type, ask for that we do not have."""
    if section(found, "")["train_entropy_model"] is True:
        yield "train_entropy_model=True: must be false, as entropy models have another architecture"
    name, dtype = section(found, "data.tokenizer_args")["name"], section(found, "distributed")["model_dtype"]
    if "data" in found and name not in ("lst", "bytes"):  # "bytes" is the default, which no tokenizer has
        yield f"data.tokenizer_args.name={name!r}: must be 'lst'"
    if dtype not in DTYPES:
        yield f"distributed.model_dtype={dtype!r}: must be one of {', '.join(DTYPES)}"
    if _says_patches(found):
        mode, size = (section(found, "data.patcher_args")[name] for name in ("patching_mode", "patch_size"))
        if mode not in STRATEGIES:
            yield f"data.patcher_args.patching_mode={mode!r}: must be one of {', '.join(STRATEGIES)}"
        elif isinstance(size, float) and not size.is_integer() and STRATEGIES[mode] != Aligned.name:
            yield f"data.patcher_args.patch_size={size}: must be a whole number"


def _says_patches(found: Mapping[str, Any]) -> bool:
    """Whether the file says how its training cuts speech; else its patches are those of "model"."""
    data = found["data"] if "data" in found else None
    return isinstance(data, Mapping) and isinstance(data.get("patcher_args"), Mapping)


def _known(found: Mapping[str, Any], path: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The section's fields of known names: others do not decide what the model computes."""
    for part in filter(None, path.split(".")):
        found = found[part] if isinstance(found, Mapping) and isinstance(found.get(part), Mapping) else {}
    return {name: value for name, value in found.items() if name in fields}


def params_of(config: Config, tokenizer: str) -> dict[str, Any]:
    """The params.json of a model of ours, with every field of the sections that its programs read.

    Args: `tokenizer` is the path at which they will find the text tokenizer.
    Raises: DataError where the ancestor has no such model.
    """
    data, patching = config.data, config.data.patching
    model = ancestor_config(
        config.model, config.joint_vocab.size, patching.static_size, data.row_patches, data.row_tokens
    )
    dtypes = {ours: theirs for theirs, ours in DTYPES.items() if theirs != "fp16"}
    arguments = {"bpe_tokenizer_path": tokenizer, "speech_vocab_size_unit": config.vocab.unit_slots}
    aligned = patching.strategy == Aligned.name
    patcher = {"patching_mode": "lst_align" if aligned else "lst_static", "patch_size": float(patching.static_size)}
    rows = {"seq_len": data.row_patches, "max_encoder_seq_length": data.row_tokens}
    return {
        "name": config.name,
        "seed": config.seed,
        "model": model,
        "data": with_defaults(
            rows
            | {
                "tokenizer_args": {"name": "lst", "init_kwargs": arguments},
                "patcher_args": with_defaults(patcher, PATCHER),
                "file_format": "json",
            },
            DATA,
        ),
        "distributed": with_defaults({"model_dtype": dtypes[config.model.compute_dtype]}, DISTRIBUTED),
    }
