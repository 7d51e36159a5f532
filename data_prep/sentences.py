"""English sentences made by a small grammar, the text that the embedded corpus speaks."""

import itertools
import json
import pathlib
import random
import re

# Original text; the words were chosen for a wide range of sounds, not for sense.
_GRAMMAR = json.loads(pathlib.Path(__file__).with_suffix('.json').read_text())


def sentence(index: int) -> str:
    """Returns the sentence of number `index`; the same number always gives the same sentence."""
    draw = random.Random(f'sentence {index}')
    words = {key: draw.sample(choices, 2) for key, choices in _GRAMMAR['words'].items()}
    text = draw.choice(_GRAMMAR['templates']).format(**words)
    text = re.sub(r'\b([Aa]) (?=[aeiou])', r'\1n ', text)
    return text[0].upper() + text[1:]


def distinct_sentences(count: int) -> list[str]:
    """Returns the first `count` sentences, in order of their numbers, without repetitions."""
    distinct = {}
    for index in itertools.count():
        if len(distinct) == count:
            return list(distinct)
        distinct[sentence(index)] = None
