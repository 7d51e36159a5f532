"""VCTK 0.92 or 0.80 as it is delivered."""

from data_prep import recordings
from data_prep.recordings import Recording, TreeError

_LAYOUT = (
    'wav48_silence_trimmed/p225/p225_001_mic1.flac (release 0.92) or '
    '[VCTK-Corpus/]wav48/p225/p225_001.wav (release 0.80), or .wav, .flac, ... of these names'
)
_PATTERN = r'(?i:(?:(?P<above>.*)/)?(?P<speaker>[ps]\d+)/(?P<name>(?P=speaker)_\d+)(?:_mic1)?\.\w+)'


def read(root: str, *, copies: list | None = None) -> list[Recording]:
    """The utterances of VCTK 0.92 or 0.80, also converted to another form; all of it is test.

    They are `wav48_silence_trimmed/p225/p225_001_mic1.flac`, of the first microphone only, or
    `wav48/p225/p225_001.wav`.

    Args:
        root: the folder.
        copies: see `recordings.distinct`.
    Raises:
        TreeError: the tree is another one, or holds an utterance in two places.
    """
    places = {}

    def split_of(match):
        # Of an utterance that is there twice in one place, however written, one is a form.
        there = (match['above'] or '.', match['speaker'])
        first = places.setdefault(match['name'].lower(), there)
        if first != there:
            both = [above for above, _ in sorted((first, there))]
            both = both if both[0] != both[1] else ['/'.join(x) for x in sorted((first, there))]
            both = ' and '.join(both)
            raise TreeError(
                f'{root} holds both releases of VCTK, or one twice: {both}; give the folder of '
                'one of them'
            )
        return 'test'

    return recordings.read_named(root, _PATTERN, split_of, layout=_LAYOUT, copies=copies)
