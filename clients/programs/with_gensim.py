"""gensim: topics learned in several processes."""

from __future__ import annotations

import numpy as np
from gensim.corpora import Dictionary
from gensim.models import LdaMulticore

if __name__ == "__main__":
    chance = np.random.default_rng(0)
    words = [[f"w{n}" for n in range(k * 20, k * 20 + 20)] for k in range(3)]
    texts = [list(chance.choice(words[n % 3], 30)) for n in range(300)]
    dictionary = Dictionary(texts)
    corpus = [dictionary.doc2bow(text) for text in texts]
    model = LdaMulticore(corpus, 3, dictionary, workers=2, passes=8, random_state=1)
    topics = [{word for word, _ in model.show_topic(topic, 5)} for topic in range(3)]
    pure = sum(len({int(word[1:]) // 20 for word in topic}) == 1 for topic in topics)
    print(len(topics), "topics", "of several words" if pure else "of none")
    print(sorted({len(model[document]) > 0 for document in corpus}))
