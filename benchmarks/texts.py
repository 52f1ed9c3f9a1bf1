"""Texts as an analyser and an embedder meet them: topics, frequent and rare words, no two alike."""

import random
from collections.abc import Sequence

from tokenizers import Tokenizer

from quarry_common.embedding.tokenizer import read_tokenizer

TOPICS = 200
TOPIC_WORDS = 120
TOPIC_SHARE = 0.45
RARE_SHARE = 0.04


class Writer:
    """Writes texts from the words of the embedder's vocabulary, which is ordered by frequency.

    The same seed gives the same texts.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        ranked = sorted(Tokenizer.from_str(read_tokenizer()).get_vocab().items(), key=lambda item: item[1])
        self._words = [word for word, _ in ranked if word.isascii() and word.isalpha() and len(word) > 1]
        self._topics = [self._random.sample(self._words[300:], TOPIC_WORDS) for _ in range(TOPICS)]

    def topic(self) -> Sequence[str]:
        """Return the words of one topic."""
        return self._random.choice(self._topics)

    def text(self, topic: Sequence[str], words: int) -> str:
        """Return sentences of `words` words in all, in paragraphs."""
        written: list[str] = []
        while words > 0:
            length = min(words, self._random.randint(7, 22))
            sentence = " ".join(self._word(topic) for _ in range(length))
            end = ".\n\n" if self._random.random() < 0.15 else ". "
            written.append(sentence.capitalize() + end)
            words -= length
        return "".join(written).strip()

    def queries(self, count: int) -> list[str]:
        """Return that many different queries of three to eight words, each within a topic."""
        found: dict[str, None] = {}
        while len(found) < count:
            topic = self.topic()
            length = self._random.randint(3, 8)
            found[" ".join(self._word(topic, share=0.7) for _ in range(length))] = None
        return list(found)

    def _word(self, topic: Sequence[str], share: float = TOPIC_SHARE) -> str:
        chance = self._random.random()
        if chance < share:
            return self._random.choice(topic)
        if chance > 1 - RARE_SHARE:
            # A name or a number: the tokenizer takes it apart, the index finds it once.
            return f"{self._random.choice(self._words)}{self._random.randint(10, 99_999)}"
        # Few words make up most of a text, as in any language.
        return self._words[int(len(self._words) * self._random.random() ** 4)]
