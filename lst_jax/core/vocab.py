"""The joint vocabulary: text pieces, modality markers and speech units in one id space.

Layout (paper §2; the released code's ids are the case text_size=32000, unit_slots=502, vocabulary 32,508):

    0 .. text_size-1                   text pieces, with BOS and EOS among them
    text_size .. text_size+3           unused
    text_size+4                        <t>, opens every text run
    text_size+5                        <s>, opens every speech run
    text_size+6+u                      speech unit u, or piece u of units (data.unit_tokenizer), 0 <= u < unit_slots
"""

import dataclasses

PAD_ID = 0  # fills rows, as in the released code; padding is told by doc_id, never by this id
BOS_ID = 1  # of SentencePiece models like Llama-2's; tokenizers of other kinds have ids of their own
EOS_ID = 2
UNUSED_SLOTS = 4


@dataclasses.dataclass(frozen=True)
class Vocab:
    """Ids of the joint vocabulary. Pure arithmetic, hashable, usable as a static argument."""

    text_size: int
    unit_slots: int
    bos_id: int = BOS_ID  # opens documents; a text piece of this id is never in a text
    eos_id: int = EOS_ID  # ends documents; may be the same as `bos_id`

    @property
    def text_marker(self) -> int:
        """Id of `<t>`."""
        return self.text_size + UNUSED_SLOTS

    @property
    def speech_marker(self) -> int:
        """Id of `<s>`."""
        return self.text_marker + 1

    @property
    def unit_offset(self) -> int:
        """Token id of speech unit 0."""
        return self.speech_marker + 1

    @property
    def size(self) -> int:
        """V, the width of the one softmax over text and speech."""
        return self.unit_offset + self.unit_slots

    def is_speech(self, token):
        """True where `token` (int or integer array, numpy or JAX) is a speech unit. Markers are not."""
        return token >= self.unit_offset

    def is_text(self, token):
        """True where `token` is a text piece, BOS or EOS. Markers are not."""
        return token < self.text_size
