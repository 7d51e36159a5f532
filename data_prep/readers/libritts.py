"""LibriTTS as it is delivered."""

import posixpath
import re

from data_prep import recordings
from data_prep.recordings import Recording

SPLITS = {
    'train-clean-100': 'train',
    'train-clean-360': 'train',
    'dev-clean': 'validation',
    'test-clean': 'test',
}


def read(root: str, *, copies: list | None = None) -> list[Recording]:
    """`LibriTTS/{train-clean-100,...}/<spk>/<chapter>/<spk>_<chapter>_<par>_<utt>.wav`;
    `copies`: see `distinct`."""
    layout = (
        f'[LibriTTS/]{{{",".join(SPLITS)}}}/<speaker>/<chapter>/'
        '<speaker>_<chapter>_<paragraph>_<utterance>.wav'
    )
    files = recordings.list_files(root)
    pattern = re.compile(
        r'(?:.*/)?(?P<part>[^/]+)/(?P<speaker>\d+)/(?P<chapter>\d+)/'
        r'(?P<name>(?P=speaker)_(?P=chapter)_\d+_\d+)\.\w+'
    )
    matches = {path: match for path in files if (match := pattern.fullmatch(path))}
    named = {
        path: (match['part'], match['name'])
        for path, match in matches.items()
        if match['part'] in SPLITS
    }
    if not named:
        raise recordings.wrong_tree(root, layout, list(files))
    utterances = {}
    for path, others in recordings.in_forms(root, files, named).items():
        part, name = named[path]
        recording = Recording(
            name,
            matches[path]['speaker'],
            posixpath.join(root, path),
            SPLITS[part],
            others=others,
        )
        utterances[recording.id] = recording
    return recordings.distinct(list(utterances.values()), copies)
