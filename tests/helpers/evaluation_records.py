"""Fields of one evaluation record of every kind."""

RATE = dict(rate=0.5, low=0.25, high=0.75, utterances=4, hits=2, substitutions=1, deletions=1, insertions=0)
COST = dict(unit_positions=42, base=147, ratio=42 / 147, speech_ratio=0.25)
SHARE = dict(groups=5, accuracy=0.6, low=0.4, high=0.8)
FILL = dict(
    sequences=10,
    distinct=9,
    batches=1,
    rows=8,
    row_tokens=64,
    row_patches=32,
    token_fill=0.9,
    unit_fill=0.8,
    prompt_shared=0.1,
    prompt_again=0.0,
    longest=40,
)
ABOUT = dict(step=40, source="valid", documents="interleaved", answering="greedy", patches="static")
FIELDS = {
    "likelihood": dict(step=40, values={"heldout/text/bits_per_text_token": 7.25, "heldout/text/loss": None}),
    "choices": dict(
        task="swuggy",
        path="gold.csv",
        step=40,
        config_hash="abc",
        results=[
            dict(
                direction="s2s",
                scored="response",
                patches="restart",
                patching="static patches of 4",
                note="voices averaged per id",
                items=10,
                chance=0.5,
                rules={"sum": SHARE, "per_token": SHARE},
                bands={"frequency": {"oov": {"sum": SHARE, "per_token": SHARE}}},
                fill=FILL,
                beyond_training_rows=0,
            )
        ],
    ),
    "asr": ABOUT
    | dict(
        task="asr",
        normaliser="english-1",
        wer=RATE,
        cer=RATE,
        context=COST,
        answers=[dict(id="a", reference="press one", answer="press")],
    ),
    "tts": ABOUT
    | dict(
        task="tts",
        normaliser="english-1",
        recogniser="ear",
        wer=RATE,
        cer=RATE,
        cer_of_the_recordings_units=RATE,
        generation=COST,
        seconds=3.5,
        seconds_of_the_recordings=4,
        answers=[dict(id="a", reference="press one", answer="press", units=7)],
    ),
    "probe": dict(
        step=40,
        source="valid",
        task="probe",
        patches="static",
        utterances=60,
        words=["the", "one"],
        occurrences=12,
        embeddings=dict(cosine_within=0.5, cosine_between=0.25, silhouette=-0.1),
        text_speech=[dict(same_word=0.1, other_word=0.0)],
        margins={"s2t": dict(items=2, mean_of_sums=1.0, mean_of_means=0.5, means=[0.25, 0.75])},
    ),
}
