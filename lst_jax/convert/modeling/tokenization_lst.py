"""A tokenizer of transformers around a SentencePiece model of any kind; copied beside models, runs without lst_jax.

Directories have it only where the SentencePiece model cannot be written exactly as a tokenizer.json:

    AutoTokenizer.from_pretrained(DIRECTORY, trust_remote_code=True)

Encoding gives BOS <|text|> text; markers and units are added tokens, whose ids tokenizer_config.json lists.
"""

import os
import shutil

import sentencepiece
from transformers import PreTrainedTokenizer

TEXT_MARKER = "<|text|>"


class LstTokenizer(PreTrainedTokenizer):
    """Text by SentencePiece itself, between added tokens."""

    vocab_files_names = {"vocab_file": "tokenizer.model"}
    model_input_names = ["input_ids", "attention_mask"]

    def __init__(self, vocab_file, **kwargs):
        """Loads tokenizer.model."""
        self.vocab_file = vocab_file
        self.text_model = sentencepiece.SentencePieceProcessor(model_file=vocab_file)
        super().__init__(**kwargs)

    @property
    def vocab_size(self):
        """Text pieces, without added tokens."""
        return self.text_model.get_piece_size()

    def get_vocab(self):
        """Every token and its id."""
        return {self.text_model.id_to_piece(i): i for i in range(self.vocab_size)} | self.added_tokens_encoder

    def build_inputs_with_special_tokens(self, token_ids_0, token_ids_1=None):
        """BOS <|text|> before the ids."""
        return [self.bos_token_id, self.convert_tokens_to_ids(TEXT_MARKER), *token_ids_0, *(token_ids_1 or [])]

    def get_special_tokens_mask(self, token_ids_0, token_ids_1=None, already_has_special_tokens=False):
        """1 for what `build_inputs_with_special_tokens` adds."""
        if already_has_special_tokens:
            return [int(token in self.added_tokens_decoder) for token in token_ids_0]
        return [1, 1] + [0] * (len(token_ids_0) + len(token_ids_1 or []))

    def convert_tokens_to_string(self, tokens):
        """Text runs as SentencePiece decodes them, added tokens as they are."""
        runs, held = [[]], self.added_tokens_encoder
        for token in tokens:
            if token in held:
                runs += [token, []]
            else:
                runs[-1].append(token)
        return "".join(run if isinstance(run, str) else self.text_model.decode_pieces(run) for run in runs)

    def save_vocabulary(self, save_directory, filename_prefix=None):
        """Copies tokenizer.model."""
        path = os.path.join(
            save_directory, f"{filename_prefix}-tokenizer.model" if filename_prefix else "tokenizer.model"
        )
        if os.path.abspath(path) != os.path.abspath(self.vocab_file):
            shutil.copyfile(self.vocab_file, path)
        return (path,)

    def _tokenize(self, text, **kwargs):
        return self.text_model.encode(text, out_type=str)

    def _convert_token_to_id(self, token):
        return self.text_model.piece_to_id(token)

    def _convert_id_to_token(self, index):
        return self.text_model.id_to_piece(index)
