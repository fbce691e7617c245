"""What the two sources say, as lower-case words: the prompts as they are read aloud, the Jargon File's prose."""

import re

DOC_CHARS = (100, 5_000)  # of one Jargon File document

# --- prompts ----------------------------------------------------------------------------------------------------------

# Where the transcript is not what is read: (prompt, or '' for all of them; written; read; why). "heard": a free decode
# shows the words read, and the audio aligns with them better than with those written.
MENDS = (
    ("conf-adminmenu-menu8", "umute", "unmute", "typo"),
    ("queue-periodic-announce", "represenatives", "representatives", "typo"),
    ("unidentified-no-callback", "Un-indentified", "unidentified", "typo"),
    ("unidentified-no-callback", "witheld", "withheld", "typo"),
    ("letters/exclaimation-point", "exclaimation", "exclamation", "typo"),
    ("digits/h-40", "fourtieth", "fortieth", "typo"),
    ("phonetic/x_p", "xray", "x ray", "spelling"),
    ("priv-callee-options", "thru", "through", "spelling"),
    ("demo-instruct", "28.8", "twenty eight point eight", "the one number not read digit by digit"),
    ("demo-moreinfo", "www.asterisk.org", "w w w dot asterisk dot org", "address"),
    ("demo-abouttotry", "I am about", "I'm about", "heard"),
    ("demo-congrats", "help you to get", "help you get", "heard"),
    ("demo-congrats", "you will navigate", "you'll navigate", "heard"),
    ("demo-congrats", "you are using", "you're using", "heard"),
    ("demo-echotest", "You are about", "you're about", "heard"),
    ("demo-instruct", "Finally,", "", "not heard: 0.2 s of audio for it"),
    ("demo-nogo", "I am afraid", "I'm afraid", "heard"),
    ("dir-instr", "you are", "you're", "heard"),
    ("followme/pls-hold-while-try", "you are", "you're", "heard"),
    ("followme/sorry", "you are", "you're", "heard"),
    ("followme/status", "you are", "you're", "heard"),
    ("invalid", "I am sorry, that's", "I'm sorry, that is", "heard"),
    ("pbx-invalid", "I am sorry,", "I am sorry, but", "heard"),
    ("pbx-invalidpark", "I am sorry,", "I am sorry, but", 'heard ("but" or "that")'),
    ("privacy-unident", "you are", "you're", "heard"),
    ("vm-savefolder", "the message", "this message", "heard"),
    ("vm-tmpexists", "greetings", "greeting", "heard"),
    ("confbridge-mute-extended", "you will", "you'll", "heard"),
    ("confbridge-mute-extended", "can not", "cannot", "read as one word"),
    ("", "re-", "re", "one word, as in its other uses"),
    ("", "De-activated", "deactivated", "one word, as in its other uses"),
    ("", "voice mail", "voicemail", "written both ways"),
    ("", "mail box", "mailbox", "written both ways"),
    ("", "touchtone", "touch tone", "written both ways"),
)
DIGITS = dict(zip("0123456789", "zero one two three four five six seven eight nine".split(), strict=True))
SYMBOLS = {"*": "star", "#": "pound", "@": "at"}
SPELLED = "AM PM IAX IP IVR MGCP NBS PBX USB".split()  # read letter by letter; PIN and SIP are read as words


def words_only(text: str) -> str:
    """Lower-case words with apostrophes, single spaces: `It's "re-done"!` -> `it's re done`."""
    return " ".join(re.findall(r"[a-z]+(?:'[a-z]+)*", text.lower().replace("’", "'")))


def clean_prompt(name: str, raw: str) -> str:
    """The words read aloud in one prompt; empty for a prompt of tones or silence.

    Example: `press 1 or # (beep)` -> `press one or pound`.
    """
    text = re.sub(r"\[[^]]*\]|\([^)]*\)|<[^>]*>", " ", raw)
    for where, written, read, _ in MENDS:
        if where in ("", name):
            if where and written not in text:
                raise ValueError(f"MENDS[{name}]={written!r}: must be in the transcript; it reads {raw!r}")
            text = text.replace(written, read)
    text = re.sub(r"\b([AP])\.M\.", r"\1M", text)
    text = re.sub(rf"\b(?:{'|'.join(SPELLED)})\b", lambda m: " ".join(m[0]), text)
    text = re.sub(r"\b3D\b", "3 D", text)
    return words_only("".join(f" {w} " if (w := DIGITS.get(c) or SYMBOLS.get(c)) else c for c in text))


def read_transcripts(lines: str) -> dict[str, str]:
    """Prompt name -> cleaned transcript, in file order.  Example: `vm-and: And.` -> `{'vm-and': 'and'}`."""
    pairs = (line.split(":", 1) for line in lines.splitlines() if line and not line.startswith(";"))
    return {name: clean_prompt(name, raw) for name, raw in pairs}


# --- the Jargon File --------------------------------------------------------------------------------------------------

EXPANSIONS = {
    'e.g.': 'for example', 'i.e.': 'that is', 'etc.': 'et cetera', 'esp.': 'especially', 'vs.': 'versus',
    'usu.': 'usually', 'orig.': 'originally', 'approx.': 'approximately', 'var.': 'variant', 'pl.': 'plural',
    'Dr.': 'doctor', 'Mr.': 'mister', 'U.S.': 'u s', 'U.K.': 'u k', '&': 'and', '%': ' percent ',
}  # fmt: skip
LETTERWISE = set("AI CPU IBM IO IP IRC ISP MIT OS UI UK URL USA".split())  # as are those without a vowel
POS = r"(?:n|v|vi|vt|adj|adv|interj|excl|prefix|suffix|infix|quant|imp|pl|abbrev|prov|obs)\."
REFERENCE = re.compile(r"^\W*(?:see|compare|cf|syn|synonym for|contrast|also|antonym|oppose)\b[^.]*\.?\W*$", re.I)
NOT_PROSE = re.compile(  # symbols, other scripts, names with dots, code, versions, times, man pages
    r"[=_\\|~^<>@#$*+/`´·]|[^\x00-\xff—‘’“”]|\.\w|\d[a-zA-Z]|[a-zA-Z]\d|\d[.:]\d|[a-z][A-Z]|\(\d|-\d"
)
VULGAR = re.compile(
    r"fuck|shit|cunt|penis|vagina|nigger|faggot|\brap(?:e|ist)|\bcock|\btits|bitch|whore|masturbat", re.I
)
ONES = " one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen \
eighteen nineteen".split(" ")
TENS = "  twenty thirty forty fifty sixty seventy eighty ninety".split(" ")


def number_words(n: int) -> str:
    """An integer below a billion in words, 1100 to 1999 as years.  Example: 1984 -> `nineteen eighty four`."""
    if n == 0:
        return "zero"
    if 1100 <= n <= 1999 and n % 100:
        tail = f"oh {ONES[n % 100]}" if n % 100 < 10 else number_words(n % 100)
        return f"{number_words(n // 100)} {tail}"
    for size, name in ((1_000_000, "million"), (1_000, "thousand"), (100, "hundred")):
        if n >= size:
            return f"{number_words(n // size)} {name} {number_words(n % size) if n % size else ''}".strip()
    return ONES[n] if n < 20 else f"{TENS[n // 10]} {ONES[n % 10]}".strip()


def decade_words(n: int) -> str:
    """Example: 1980 -> `nineteen eighties`."""
    words = number_words(n)
    return f"{words[:-1]}ies" if words.endswith("y") else f"{words}s"


def spell_out(capitals: str) -> str:
    """Example: `HTTP` -> `H T T P`, `MIT` -> `M I T`, but `BASIC` -> `BASIC`."""
    return " ".join(capitals) if capitals in LETTERWISE or not re.search("[AEIOUY]", capitals) else capitals


def clean_prose(paragraph: str) -> str:
    """The prose sentences of one paragraph, normalised; cross-references, code and notation are left out.

    Example: `1. [Unix] A {kluge}, e.g. in 1984. See {crock}.` -> `unix a kluge for example in nineteen eighty four`.
    """
    text = re.sub(r"[{}]", "", re.sub(rf"^(?:\d+\w?\. *)?(?:{POS}[ ,]*)*", "", " ".join(paragraph.split())))
    for short, full in EXPANSIONS.items():
        text = re.sub(rf"(?<!\w){re.escape(short)}(?!\w)", full, text)
    sentences = re.split(r"(?<=[.!?])[”’)\]]* +(?=[“‘(\[A-Z0-9])", text)
    text = " ".join(s for s in sentences if not REFERENCE.match(s) and not NOT_PROSE.search(s.replace("--", " ")))
    text = re.sub(r"\b(\d{3}0)'?s\b", lambda m: decade_words(int(m[1])), text)
    text = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text)
    text = re.sub(r"\b\d{1,9}\b", lambda m: f" {number_words(int(m[0]))} ", text)
    return words_only(re.sub(r"\b[A-Z]{2,6}\b", lambda m: spell_out(m[0]), text))


def read_jargon(text: str) -> list[str]:
    """One document per entry, split at paragraphs where it is too long; short and vulgar ones left out.

    An entry is a headword at the left margin, a pronunciation indented by one and paragraphs indented by four.
    """
    documents = []
    for entry in re.split(r"\n(?=\S)", text[text.index("\n(TM)\n") :]):
        if VULGAR.search(entry):
            continue
        paragraphs = [clean_prose(p) for p in re.split(r"\n\s*\n", entry) if p.startswith("    ")]
        document = ""
        for paragraph in filter(None, paragraphs):
            if len(document) + len(paragraph) >= DOC_CHARS[1]:
                documents.append(document)
                document = ""
            document = f"{document} {paragraph}".strip()
        documents.append(document)
    return [d for d in dict.fromkeys(documents) if DOC_CHARS[0] <= len(d) <= DOC_CHARS[1]]
