"""How written English words are spoken: words to look up, and phones for words that no dictionary has.

The rules only have to be near enough for forced alignment, where the word is known and only its place is sought.
Phones are the 39 of the CMU dictionary (ARPAbet without stress).
"""

import os
import re
import unicodedata
from collections.abc import Callable

from lst_jax.core.errors import DataError
from lst_jax.data import line_files
from lst_jax.storage import objects
from lst_jax.storage.place import Place, to_place

VERSION = "1"  # enters the aligner's name: another version may place words elsewhere
SYMBOLS = {"&": "and", "%": "percent", "+": "plus", "=": "equals", "@": "at", "$": "dollars", "£": "pounds"}
ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()
PHONES = frozenset(
    "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH".split()
)
LETTERS = {
    "a": "EY",
    "b": "B IY",
    "c": "S IY",
    "d": "D IY",
    "e": "IY",
    "f": "EH F",
    "g": "JH IY",
    "h": "EY CH",
    "i": "AY",
    "j": "JH EY",
    "k": "K EY",
    "l": "EH L",
    "m": "EH M",
    "n": "EH N",
    "o": "OW",
    "p": "P IY",
    "q": "K Y UW",
    "r": "AA R",
    "s": "EH S",
    "t": "T IY",
    "u": "Y UW",
    "v": "V IY",
    "w": "D AH B AH L Y UW",
    "x": "EH K S",
    "y": "W AY",
    "z": "Z IY",
}
# Tried in order at each place, the longer pattern before the shorter; `^` and `$` are the word's ends; None says the
# doubled letter once.
RULES = [
    (re.compile(pattern), phones)
    for pattern, phones in [
        (r"tion(?=s?$)", "SH AH N"),
        (r"sion(?=s?$)", "ZH AH N"),
        (r"ture(?=s?$)", "CH ER"),
        (r"ous$", "AH S"),
        (r"igh", "AY"),
        (r"eigh", "EY"),
        (r"ough", "AO"),
        (r"augh", "AO"),
        (r"tch", "CH"),
        (r"sch", "S K"),
        (r"dge", "JH"),
        (r"^kn", "N"),
        (r"^gn", "N"),
        (r"^wr", "R"),
        (r"^ps", "S"),
        (r"mb$", "M"),
        (r"^gh", "G"),
        (r"^x(?=[aeiouy])", "Z"),
        (r"^x", "EH K S"),
        (r"ch", "CH"),
        (r"sh", "SH"),
        (r"th", "TH"),
        (r"ph", "F"),
        (r"wh", "W"),
        (r"ck", "K"),
        (r"ng$", "NG"),
        (r"ng", "NG G"),
        (r"nk", "NG K"),
        (r"qu", "K W"),
        (r"gh", ""),
        (r"sc(?=[eiy])", "S"),
        (r"(bb|dd|ff|gg|kk|ll|mm|nn|pp|rr|ss|tt|vv|zz)", None),
        (r"cc(?=[eiy])", "K S"),
        (r"cc", "K"),
        (r"air", "EH R"),
        (r"ear", "IH R"),
        (r"eer", "IH R"),
        (r"oor", "AO R"),
        (r"our", "AO R"),
        (r"are$", "EH R"),
        (r"ore", "AO R"),
        (r"ar", "AA R"),
        (r"er", "ER"),
        (r"ir", "ER"),
        (r"ur", "ER"),
        (r"or", "AO R"),
        (r"ee", "IY"),
        (r"ea", "IY"),
        (r"ai", "EY"),
        (r"ay", "EY"),
        (r"ei", "EY"),
        (r"ey$", "IY"),
        (r"ey", "EY"),
        (r"ie$", "IY"),
        (r"ie", "IY"),
        (r"oa", "OW"),
        (r"oe$", "OW"),
        (r"oi", "OY"),
        (r"oy", "OY"),
        (r"oo", "UW"),
        (r"ou", "AW"),
        (r"ow$", "OW"),
        (r"ow", "AW"),
        (r"au", "AO"),
        (r"aw", "AO"),
        (r"ew", "UW"),
        (r"eu", "UW"),
        (r"ue$", "UW"),
        (r"ui", "UW"),
        (r"a(?=[bcdfgjklmnpstvz]e(s|d)?$)", "EY"),
        (r"e(?=[bcdfgjklmnpstvz]e(s|d)?$)", "IY"),
        (r"i(?=[bcdfgjklmnpstvz]e(s|d)?$)", "AY"),
        (r"o(?=[bcdfgjklmnpstvz]e(s|d)?$)", "OW"),
        (r"u(?=[bcdfgjklmnpstvz]e(s|d)?$)", "UW"),
        (r"(?<=[dt])ed$", "AH D"),
        (r"ed$", "D"),
        (r"(?<=[bcdfghjklmnprstvz])es$", "Z"),
        (r"(?<=.)le$", "AH L"),
        (r"(?<=[a-z])e$", ""),
        (r"a$", "AH"),
        (r"a", "AE"),
        (r"e", "EH"),
        (r"i$", "IY"),
        (r"i", "IH"),
        (r"o$", "OW"),
        (r"o", "AA"),
        (r"u$", "UW"),
        (r"u", "AH"),
        (r"^y", "Y"),
        (r"y$", "IY"),
        (r"y(?=[aeou])", "Y"),
        (r"y", "IH"),
        (r"c(?=[eiy])", "S"),
        (r"c", "K"),
        (r"g(?=[eiy])", "JH"),
        (r"g", "G"),
        (r"x", "K S"),
        (r"j", "JH"),
        (r"q", "K"),
        (r"h", "HH"),
        (r"'", ""),
        (r"(?<=[aeiou])s(?=[aeiou])", "Z"),
        (r"s", "S"),
        *((letter, letter.upper()) for letter in "bdfklmnprtvwz"),
    ]
]


def read_pronunciations(path: str | os.PathLike | Place) -> dict[str, str]:
    """Words and their phones from lines such as "prepend P R IY P EH N D".

    Raises: DataError naming file and line.
    """
    if objects.look(to_place(path)) is None:
        raise DataError(f"{path}: no such file; give lines of a word and its phones")
    found = {}
    for _, place, line in line_files.lines(path):
        word, *phones = line.split() or [""]
        if word and (not phones or not PHONES.issuperset(phones) or spoken_words(word) != [word]):
            raise DataError(
                f"{place}: must be a word [a-z'] and phones of the CMU dictionary without "
                "stress; write for example: prepend P R IY P EH N D"
            )
        if word:
            found[word] = " ".join(phones)
    return found


def spoken_words(written: str) -> list[str]:
    """The words [a-z'] that a written word is spoken as; none for bare punctuation.

    Example: "Fly-by," -> ["fly", "by"]; "42" -> ["forty", "two"]; "Waldo's" -> ["waldo's"]; "--" -> []
    """
    plain = unicodedata.normalize("NFKD", written.replace("’", "'").lower())
    for symbol, name in SYMBOLS.items():
        plain = plain.replace(symbol, f" {name} ")
    plain = re.sub(r"(?<=\d),(?=\d{3})", "", plain)
    plain = re.sub(r"(?<=\d)\.(?=\d)", " point ", plain)
    plain = re.sub(r"\d+", lambda match: f" {number_name(match[0])} ", plain)
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    words = (word.strip("'") if word not in ("'", "''") else "" for word in re.findall(r"[a-z']+", plain))
    return [word for word in words if word]


def number_name(digits: str) -> str:
    """An integer below a million in words; longer ones, and those with a leading zero, digit by digit.

    Example: "1905" -> "one thousand nine hundred five"; "007" -> "zero zero seven"
    """
    if len(digits) > 6 or (digits[0] == "0" and len(digits) > 1):
        return " ".join(ONES[int(d)] for d in digits)
    value = int(digits)
    if value < 20:
        return ONES[value]
    if value < 100:
        return TENS[value // 10] + (f" {ONES[value % 10]}" if value % 10 else "")
    for size, name in ((1000, "thousand"), (100, "hundred")):
        if value >= size:
            rest = f" {number_name(str(value % size))}" if value % size else ""
            return f"{number_name(str(value // size))} {name}{rest}"
    raise AssertionError("unreachable")


def guess(word: str, lookup: Callable[[str], str | None]) -> str:
    """Phones, separated by spaces, for a word [a-z'] that `lookup` (word to phones, or None) does not know.

    In this order: the possessive of a known word, two known words in one, letter names for words without a vowel,
    letter-to-sound rules.
    Example: "unmuted" -> phones of "un" + "muted"; "pbx" -> "P IY B IY EH K S"
    """
    if word.endswith("'s") and len(word) > 2:
        base = lookup(word[:-2]) or guess(word[:-2], lookup)
        return f"{base} {'AH Z' if base.split()[-1] in ('S', 'Z', 'SH', 'ZH', 'CH', 'JH') else 'Z'}"
    halves = [(word[:i], word[i:]) for i in range(2, len(word) - 2) if i > 2 or word[:2] in ("un", "re", "de", "in")]
    for left, right in sorted(halves, key=lambda pair: -min(map(len, pair))):
        if lookup(left) and lookup(right):
            return f"{lookup(left)} {lookup(right)}"
    if len(word) == 1 or not set(word) & set("aeiouy"):
        return " ".join(LETTERS[letter] for letter in word if letter in LETTERS)
    return by_rules(word) or " ".join(LETTERS[letter] for letter in word if letter in LETTERS)


def by_rules(word: str) -> str:
    """Phones by the letter-to-sound rules; "" where every letter is silent.

    Example: "dahdi" -> "D AE HH D IY"
    """
    phones, place = [], 0
    while place < len(word):
        sound, match = next((s, m) for p, s in RULES if (m := p.match(word, place)))
        phones.append(by_rules(match[0][0]) if sound is None else sound)
        place = match.end()
    return " ".join(" ".join(phones).split())
