"""Small valid inputs of the readers of named corpora: their texts, without the recordings that these name."""

import gzip
import json

from tests.fuzz.mutations import Files


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1).encode()


def _cut(number: int) -> dict:
    supervision = {"id": f"c{number}", "start": 0, "duration": 1.5, "language": "English", "speaker": "100"}
    supervision["custom"] = {"texts": ["Why do folks dive?", "WHY DO FOLKS DIVE"]}
    recording = {"id": "small/100/b/c", "sources": [{"type": "file", "channels": [0], "source": "download/c.flac"}]}
    return {
        "id": f"c{number}",
        "start": 2.5,
        "duration": 1.5,
        "channel": 0,
        "supervisions": [supervision],
        "recording": recording,
    }


def _podcast() -> dict:
    words = [{"startTime": f"{i}.100s", "endTime": f"{i}.900s", "word": word} for i, word in enumerate(("Hi", "you"))]
    tagged = [word | {"speakerTag": 1} for word in words]
    alternative = {"transcript": "Hi you", "confidence": 0.9, "words": words}
    return {"results": [{"alternatives": [alternative]}, {"alternatives": [{}]}, {"alternatives": [{"words": tagged}]}]}


def _giga() -> dict:
    segment = {"sid": "P1_S1", "speaker": "N/A", "begin_time": 1.5, "end_time": 3.0, "subsets": ["{XL}"]}
    audio = {"aid": "P1", "path": "audio/P1.opus", "segments": [segment | {"text_tn": "HELLO <COMMA> YOU"}] * 2}
    return {"dataset": "GigaSpeech", "subsets": {"XL": 1}, "audios": [audio, audio]}


def make() -> dict[str, Files]:
    """The files of each layout, by "layout-NAME"."""
    espnet = {"input": [{"feat": "a.wav", "filetype": "sound"}], "output": [{"text": "HELLO"}], "utt2spk": "s"}
    brain = {"wav": {"file": "a.wav", "start": 0, "stop": 16000}, "length": 1.5, "spk_id": 84, "words": "Hello"}
    pieces = {"duration_ms": [1500, 900], "label": ["hello", "yes"], "name": ["x_0.flac", "x_1.flac"]}
    nemo = {"audio_filepath": "a.wav", "offset": 0.5, "duration": 1.5, "text": "hello", "lang": "en", "speaker": 7}
    return {
        "layout-librispeech": {"1/2/1-2.trans.txt": b"1-2-0000 HELLO WORLD\n1-2-0001\tYES\n", "1/2/1-2-0001.wav": b""},
        "layout-mls": {
            "transcripts.txt": b"1_2_000000\thello world\n1_2_000001\tyes\n",
            "segments.txt": b"1_2_000000\thttp://x\t0.0\t1.5\n1_2_000001\thttp://x\t1.5\t9.25\n",
        },
        "layout-librilight": {
            "libriheavy_cuts_x.jsonl": b"".join(json.dumps(_cut(i)).encode() + b"\n" for i in (0, 1))
        },
        "layout-librilight-gz": {"libriheavy_cuts_x.jsonl.gz": gzip.compress(json.dumps(_cut(0)).encode(), mtime=0)},
        "layout-spotify": {"podcasts-transcripts/0/a/show_1/e.json": _json(_podcast())},
        "layout-gigaspeech": {"GigaSpeech.json": _json(_giga())},
        "layout-common-voice": {
            "train.tsv": b'client_id\tpath\tsentence\tlocale\n0a\tc1.mp3\tHe said "so.\ten\n0b\tc2\tYes.\ten\n'
        },
        "layout-ljspeech": {"metadata.csv": b"LJ001-0001|In 2|In two\nLJ001-0002|Yes|Yes\n"},
        "layout-vctk": {"wav48/p225/p225_001.wav": b"", "txt/p225/p225_001.txt": b"Please call.\n"},
        "layout-mfa": {"anna/a.lab": b"HELLO\nTHERE\n", "anna/a.wav": b"", "b.txt": b"\xef\xbb\xbfYes.", "b.wav": b""},
        "layout-kaldi": {
            "text": b"A-1 HELLO THERE\nA-2 YES\n",
            "wav.scp": b"recA a.wav\nrecB sox b.wav - |\n",
            "segments": b"A-1 recA 0.5 2.25\nA-2 recB 3 -1 1\n",
            "utt2spk": b"A-1 A\nA-2 A\n",
        },
        "layout-espnet": {"text": b"A-1 HELLO\n", "wav.scp": b"A-1 a.wav\n", "utt2dur": b"A-1 1.5\n"},
        "layout-espnet-json": {"data.json": _json({"utts": {"u1": espnet, "u2": espnet}})},
        "layout-speechbrain": {"train.json": _json({"u1": brain, "u2": brain | {"wav": "a.wav"}})},
        "layout-speechbrain-csv": {
            "train.csv": b'ID,duration,wav,start,stop,spk_id,wrd\nu1,1.5,a.wav,0,16000,84,"HI, YOU"\nu2,1,b.wav,,,,YES\n'
        },
        "layout-nemo": {"train.json": b"".join(json.dumps(nemo | {"id": i}).encode() + b"\n" for i in range(2))},
        "layout-peoples-speech": {
            "train/clean.json": json.dumps({"identifier": "x", "training_data": pieces}).encode() + b"\n",
            "train/clean/x_0.flac": b"",
        },
    }
