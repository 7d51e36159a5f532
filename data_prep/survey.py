"""What lies in a folder of recordings, as JSON: whose, how many, how long, at which rates.

python -m data_prep.survey --input_dir=recordings
"""

import collections
import contextlib
import hashlib
import json
import os

from data_prep.readers import folder, sounds as banks
from data_prep.readers.sounds import ROLES, SoundClass, label
from data_prep.recordings import list_files
from data_prep.tables import TreeError
from fgsep_jax import command_line
from fgsep_jax.data import audio_files


def probe(path: str) -> tuple[int, float]:
    """(rate, seconds) of a local audio file, by its header wherever that tells.

    Raises:
        BadInput: whatever is wrong with the file.
    """
    with (
        audio_files.for_libsndfile(path) as readable,
        audio_files.opened(readable, check=False) as (file, _),
    ):
        frames = file.frames
        if frames >= audio_files.UNKNOWN_FRAMES:
            frames = sum(len(block_TC) for block_TC in audio_files.blocks(file))
        return file.samplerate, frames / file.samplerate


def _classes(root: str) -> dict[str, SoundClass]:
    """{label: class}, all seen, of the folders in `foreground` and `background`.

    Of one name in both, that with more files is the class.
    """
    counts = collections.Counter()
    for path in list_files(root):
        role, *rest = path.split('/')
        if role in ROLES and len(rest) > 1 and label(rest[0]):
            counts[label(rest[0]), role] += 1
    return {name: SoundClass(name, role, True) for (name, role), _ in counts.most_common()[::-1]}


def _sounds(root: str, left_out: collections.Counter, copies: list) -> list[tuple]:
    """(role, class, recording, paths of its forms) of every sound."""
    classes = _classes(root)
    if not classes:
        return []
    sounds = banks.folder(root, classes=classes, ignored=left_out)
    sounds = banks.distinct(sounds, copies)
    return [
        (item.role, item.source_class, item.source_id, (item.path, *item.others)) for item in sounds
    ]


def _are_roles(tops: set[str]) -> bool:
    return tops >= {*ROLES} or bool(tops) and tops <= {*ROLES}


def survey(root: str) -> dict:
    """What lies in a local folder.

    Args:
        root: `foreground/<class>/*` and `background/<class>/*`, or `<speaker>/*`.
    Returns:
        `kind`: sounds, or speech; `recordings`: [{role, name (of speaker or class), recording,
        seconds, rate}]; `unusable`: {kind of fault: files}; `copies`: files that are copies of
        others; `doubts`: lines on folders that may be no people's; `left_out`: {folder: files} that
        are in both roles; `elsewhere`: audio files outside the folders of speakers and classes;
        `digest`: of names, sizes and times of all of them.
    Raises:
        TreeError: if it is not a folder, or its roles are written with capital letters.
    """
    files = list_files(root)
    tops = {path.split('/')[0] for path in files if '/' in path}
    sounds = _are_roles(tops)
    if not sounds and _are_roles({top.lower() for top in tops}):
        named = ' and '.join(sorted(top for top in tops if top.lower() in ROLES))
        raise TreeError(
            f'{root}: {named} would be taken for people: call the folders of sounds'
            f' {" and ".join(ROLES)}, in small letters'
        )
    left_out, copies, unusable = collections.Counter(), [], collections.Counter()
    if sounds:
        entries = _sounds(root, left_out, copies)
    elif tops:
        people = folder.read(root, copies=copies, split_by='recording')
        entries = [('', item.source_id, item.id, (item.path, *item.others)) for item in people]
    else:
        entries = []
    elsewhere = len([path for path in files if '/' not in path])
    if sounds:
        elsewhere = len(files) - len(entries) - len(copies) - left_out.total()
    recordings = []
    for role, name, recording, paths in entries:
        for path in paths:
            try:
                rate, seconds = probe(path)
            except audio_files.BadInput as bad:
                unusable[bad.kind] += 1
                continue
            entry = {'role': role, 'name': name, 'recording': recording}
            recordings.append({**entry, 'seconds': seconds, 'rate': rate})
            break
    digest = hashlib.sha256()
    for path in files:
        seen = ''  # of a link to nothing
        with contextlib.suppress(OSError):
            about = os.stat(os.path.join(root, path))
            seen = f'{about.st_size}\0{about.st_mtime_ns}'
        digest.update(f'{path}\0{seen}\0'.encode(errors='replace'))
    return {
        'kind': 'sounds' if sounds else 'speech',
        'recordings': recordings,
        'unusable': dict(unusable),
        'copies': len(copies),
        'doubts': [] if sounds else folder.groups_of_people(path for path in files if '/' in path),
        'left_out': dict(left_out),
        'elsewhere': elsewhere,
        'digest': digest.hexdigest(),
    }


def main(argv=None) -> None:
    """Prints the survey."""
    parser = command_line.Parser(__spec__.name, __doc__)
    parser.add_argument(
        '--input_dir',
        type=command_line.local_path,
        required=True,
        help='<speaker>/*, or foreground/<class>/* and background/<class>/*, of audio files',
    )
    args, _ = parser.parse(argv)
    try:
        command_line.show(json.dumps(survey(args.input_dir)))
    except (ValueError, OSError) as error:
        raise command_line.refusal(error) from error


if __name__ == '__main__':
    main()
