"""spaCy: a pipeline over texts in several processes, with an error in the midst."""

from __future__ import annotations

import spacy
from spacy.language import Language


@Language.component("shout")
def shout(doc):
    if doc.text.endswith("bad"):
        raise ValueError("bad text")
    return doc


if __name__ == "__main__":
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("shout")
    texts = [f"This is text {n}. It has two sentences." for n in range(100)]
    docs = list(nlp.pipe(texts, n_process=2, batch_size=10))
    print(len(docs), sum(len(list(doc.sents)) for doc in docs), [t.text for t in docs[-1]])
    pairs = nlp.pipe([(text, n) for n, text in enumerate(texts)], as_tuples=True, n_process=2)
    print(sum(n for _, n in pairs))
    try:
        list(nlp.pipe(["fine", "all bad"], n_process=2))
    except ValueError as error:
        print("error:", str(error).splitlines()[0])
