"""LibriTTS as it is delivered."""

from data_prep import recordings
from data_prep.recordings import Recording

SPLITS = {
    'train-clean-100': 'train',
    'train-clean-360': 'train',
    'dev-clean': 'validation',
    'test-clean': 'test',
}
_LAYOUT = (
    f'[LibriTTS/]{{{",".join(SPLITS)}}}/<speaker>/<chapter>/'
    '<speaker>_<chapter>_<paragraph>_<utterance>.wav'
)
_PATTERN = (
    r'(?:.*/)?(?P<part>[^/]+)/(?P<speaker>\d+)/(?P<chapter>\d+)/'
    r'(?P<name>(?P=speaker)_(?P=chapter)_\d+_\d+)\.\w+'
)


def read(root: str, *, copies: list | None = None) -> list[Recording]:
    """`LibriTTS/{train-clean-100,...}/<spk>/<chapter>/<spk>_<chapter>_<par>_<utt>.wav`.

    Args:
        root: the folder.
        copies: see `recordings.distinct`.
    Raises:
        TreeError: the tree is another one.
    """
    return recordings.read_named(
        root, _PATTERN, lambda match: SPLITS.get(match['part']), layout=_LAYOUT, copies=copies
    )
