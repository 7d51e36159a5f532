"""VCTK 0.92 or 0.80 as it is delivered."""

import collections
import posixpath
import re

from data_prep import recordings
from data_prep.recordings import Recording, TreeError


def read(root: str, *, copies: list | None = None) -> list[Recording]:
    """VCTK 0.92 (`wav48_silence_trimmed/p225/p225_001_mic1.flac`, first microphone only) or 0.80
    (`wav48/p225/p225_001.wav`), also converted to another form; all of it is test; `copies`: see
    `distinct`."""
    layout = (
        'wav48_silence_trimmed/p225/p225_001_mic1.flac (release 0.92) or '
        '[VCTK-Corpus/]wav48/p225/p225_001.wav (release 0.80), or .wav, .flac, ... of these names'
    )
    files = recordings.list_files(root)
    pattern = re.compile(
        r'(?:(?P<above>.*)/)?(?P<speaker>[ps]\d+)/(?P<name>(?P=speaker)_\d+)(?:_mic1)?\.\w+'
    )
    matches = {path: match for path in files if (match := pattern.fullmatch(path))}
    if not matches:
        raise recordings.wrong_tree(root, layout, list(files))
    named = collections.defaultdict(set)
    for match in matches.values():
        named[match['name']].add(match['above'])
    twice = next((places for places in named.values() if len(places) > 1), None)
    if twice:
        places = ' and '.join(sorted(str(place or '.') for place in twice))
        raise TreeError(
            f'{root} holds both releases of VCTK, or one twice: {places}; give the folder of one '
            'of them'
        )
    forms = recordings.in_forms(
        root, files, {path: match['name'] for path, match in matches.items()}
    )
    utterances = [
        Recording(
            matches[path]['name'],
            matches[path]['speaker'],
            posixpath.join(root, path),
            'test',
            others=others,
        )
        for path, others in forms.items()
    ]
    return recordings.distinct(utterances, copies)
