"""English sentences made by a small grammar, the text that the embedded corpus speaks."""

import itertools
import random
import re

# Original text; the words were chosen for a wide range of sounds, not for sense.
_NAMES = (
    'Agnes', 'Boris', 'Cecily', 'Duncan', 'Edith', 'Felix', 'Greta', 'Hugo', 'Imogen', 'Jasper',
    'Kitty', 'Leon', 'Martha', 'Noel', 'Olga', 'Percy', 'Quentin', 'Rosa', 'Silas', 'Thelma',
    'Ursula', 'Victor', 'Wendy', 'Xavier', 'Yvonne', 'Zachary', 'my uncle', 'the baker',
    'her sister', 'our neighbour', 'the captain', 'a young nurse', 'the old clockmaker',
    'your cousin', 'the new teacher', 'a tired painter', 'the judge', 'their aunt',
)  # fmt: skip
_VERBS = (
    'found', 'carried', 'painted', 'dropped', 'measured', 'sold', 'borrowed', 'polished',
    'fixed', 'hid', 'forgot', 'wrapped', 'pushed', 'collected', 'described', 'repaired',
    'followed', 'weighed', 'brought', 'chose', 'unlocked', 'photographed', 'emptied', 'built',
    'admired', 'washed', 'counted', 'noticed', 'threw away', 'cleaned', 'lifted', 'moved',
)  # fmt: skip
_ADJECTIVES = (
    'yellow', 'heavy', 'broken', 'quiet', 'enormous', 'thin', 'ancient', 'cheap', 'shiny',
    'wooden', 'bitter', 'frozen', 'purple', 'round', 'dusty', 'strange', 'soft', 'crooked',
    'fragile', 'narrow', 'empty', 'loud', 'warm', 'green', 'jagged', 'valuable', 'smooth',
    'wet', 'pale', 'gentle', 'rusty', 'sharp', 'early', 'rough', 'beautiful', 'dark',
)  # fmt: skip
_THINGS = (
    'bicycle', 'kettle', 'suitcase', 'violin', 'map', 'ladder', 'garden chair', 'telescope',
    'basket of apples', 'umbrella', 'letter', 'hammer', 'jar of honey', 'coat', 'lantern',
    'typewriter', 'pair of shoes', 'box of matches', 'blanket', 'mirror', 'fishing rod',
    'wheel', 'bottle', 'piano', 'carpet', 'bag of flour', 'statue', 'window frame', 'teapot',
    'clock', 'drum', 'pile of newspapers', 'rope', 'shovel', 'cheese', 'photograph', 'engine',
    'thermometer', 'vase', 'bread knife', 'radio', 'jacket', 'sailing boat', 'fence',
)  # fmt: skip
_PLACES = (
    'in the kitchen', 'behind the station', 'near the river', 'under the bridge',
    'at the edge of the forest', 'beside the church', 'on the roof', 'in a small village',
    'outside the theatre', 'along the beach', 'at the airport', 'between two tall houses',
    'in the museum', 'by the fountain', 'across the valley', 'on the third floor',
    'inside the old barn', 'next to the bakery', 'above the harbour', 'down in the cellar',
    'on a park bench', 'at the corner shop', 'in the middle of the road', 'past the lighthouse',
)  # fmt: skip
_TIMES = (
    'yesterday', 'last winter', 'on Thursday morning', 'before breakfast', "at nine o'clock",
    'just after midnight', 'every other week', 'in the spring', 'a few minutes ago',
    'during the storm', 'on the first of May', 'when the bell rang', 'long before sunrise',
    'twice in July', 'after the concert', 'while it was raining', 'this afternoon',
    'on her birthday', 'shortly before noon', 'by the end of the year',
)  # fmt: skip
_REASONS = (
    'because nobody else would', 'although the price was high', 'and then went home',
    'but never told us why', 'so the children laughed', 'and we were all surprised',
    'since the weather had changed', 'even though it was late', 'which pleased everyone',
    'but the door was locked', 'and asked for a cup of tea', 'without saying a word',
    'as if it were nothing', 'because the bus was full', 'and whistled all the way',
    'until the lights went out', 'so I had to wait outside', 'but it was far too big',
)  # fmt: skip
_COUNTS = (
    'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten', 'eleven', 'twelve',
    'fifteen', 'twenty', 'thirty one', 'forty', 'fifty six', 'a hundred',
)  # fmt: skip
_GROUPS = (
    'sailors', 'geese', 'students', 'white horses', 'cyclists', 'musicians', 'tourists',
    'farmers', 'black cats', 'lorries', 'dancers', 'engineers', 'sheep', 'postmen', 'gardeners',
)  # fmt: skip
_DOINGS = (
    'waited', 'argued', 'slept', 'marched slowly', 'gathered', 'got lost', 'stood still',
    'turned around', 'had to stop', 'appeared', 'rested', 'crossed the road', 'sang',
)  # fmt: skip
_TEMPLATES = (
    '{name[0]} {verb[0]} the {adjective[0]} {thing[0]} {place[0]}.',
    '{name[0]} {verb[0]} a {thing[0]} {place[0]} {time[0]}.',
    '{time[0]}, {name[0]} {verb[0]} the {adjective[0]} {thing[0]}, {reason[0]}.',
    'Did {name[0]} see the {adjective[0]} {thing[0]} {place[0]}, '
    'or was it {count[0]} {adjective[1]} {group[0]}?',
    '{count[0]} {group[0]} {doing[0]} {place[0]} {time[0]}, {reason[0]}.',
    'The {thing[0]} and the {adjective[0]} {thing[1]} were left {place[0]} {time[0]}.',
    '{place[0]}, {count[0]} {adjective[0]} {group[0]} {doing[0]}, '
    'and {name[0]} {verb[0]} the {thing[0]}.',
    '{name[0]} said that the {adjective[0]} {thing[0]} was {place[0]}, {reason[0]}.',
    'I have never seen such a {adjective[0]}, {adjective[1]} {thing[0]} {place[0]}.',
    'Please tell {name[0]} that {count[0]} {group[0]} {doing[0]} {place[0]}.',
    '{name[0]} and {name[1]} {verb[0]} the {thing[0]} {time[0]}, {reason[0]}.',
    'What would {name[0]} do with a {adjective[0]} {thing[0]} and {count[0]} {group[0]}?',
)
_WORDS = {
    'name': _NAMES,
    'verb': _VERBS,
    'adjective': _ADJECTIVES,
    'thing': _THINGS,
    'place': _PLACES,
    'time': _TIMES,
    'reason': _REASONS,
    'count': _COUNTS,
    'group': _GROUPS,
    'doing': _DOINGS,
}


def sentence(index: int) -> str:
    """Returns the sentence of number `index`; the same number always gives the same sentence."""
    draw = random.Random(f'sentence {index}')
    words = {key: draw.sample(choices, 2) for key, choices in _WORDS.items()}
    text = draw.choice(_TEMPLATES).format(**words)
    text = re.sub(r'\b([Aa]) (?=[aeiou])', r'\1n ', text)
    return text[0].upper() + text[1:]


def distinct_sentences(count: int) -> list[str]:
    """Returns the first `count` sentences, in order of their numbers, without repetitions."""
    distinct = {}
    for index in itertools.count():
        if len(distinct) == count:
            return list(distinct)
        distinct[sentence(index)] = None
