"""A made-up world: people, what is true of them, stories that tell some of it, and questions about all of it.

words.py      the lexicon: names, things, and the patterns of sentences
facts.py      who there is, what is true of each, and in which of four ways each fact is told
sentences.py  sentences from patterns, each for training, for validation or for the items
stories.py    documents that tell facts, for the synthesiser and as texts
items.py      questions: a story and its endings
write.py      the directory that `lst prepare world` makes
"""
