"""How choices are scored, in the words that stand beside every number. Nothing here needs JAX."""

from typing import Literal

Direction = Literal["s2s", "t2t", "s2t", "t2s"]  # modality of the prompt, then of the response
Rule = Literal["sum", "per_token", "per_patch", "per_second"]

RULES = {
    "sum": "sum",
    "per_token": "mean per token",
    "per_patch": "mean per patch",
    "per_second": "mean per second of speech",
}
BAND_RULES = ("sum", "per_token")  # the rules that tables show for each band; the file has all of them
GRIDS = {
    "restart": "the response's first patch starts with it",
    "continue": "the response goes on in the prompt's patches",
}
SCOPES = {"response": "the response given the prompt", "whole": "prompt and response"}
MEASURES = {
    "bits_per_text_token": "bits per text token",
    "bits_per_second_speech": "bits per second of speech",
    "bits_per_marker": "bits per modality marker",
    "bits_per_character": "bits per character of the texts",
    "perplexity_per_text_token": "perplexity per text token",
    "loss": "loss, nats per token",
}
