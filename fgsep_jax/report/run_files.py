"""Reads the parts of a run folder; what is damaged is named and left out."""

import glob
import io
import os
import zipfile

import numpy as np
import soundfile

from fgsep_jax import files, names
from fgsep_jax.report import results

RATES = (1000, 400_000)  # hertz; what can be a sample rate
_ROLES = ('mixture', 'reference', 'estimate')


def read_curves(folder, problems):
    """{(kind, name): (step_N, value_N)} of metrics.jsonl, e.g. ('validation', 'loss').

    Args:
        folder: of the run.
        problems: list to which a sentence is added for a file that cannot be read.
    """
    path, points = os.path.join(folder, 'metrics.jsonl'), {}
    if not os.path.lexists(path):
        return {}
    try:
        lines = files.read_bytes(path, results.ResultsError, most=1 << 30).splitlines(keepends=True)
    except results.ResultsError as error:
        problems.append(str(error))
        return {}
    bad = 0
    for line in lines:
        try:
            row = files.parse_json(line, results.ResultsError, where=path)
        except results.ResultsError:
            bad += line.endswith(b'\n')  # else the last line of a run that was killed
            continue
        if not isinstance(row.get('kind'), str) or not files.is_number(row.get('step')):
            bad += 1
            continue
        for name, value in row.items():
            if name not in ('kind', 'step') and files.is_number(value) and abs(value) < 1e30:
                points.setdefault((row['kind'], name), []).append((row['step'], value))
    if bad:
        problems.append(
            f'{path}: {bad} of {names.counted(len(lines), "line")} cannot be read and are left out'
        )
    return {key: tuple(np.array(value, float).T) for key, value in points.items()}


def read_gates(folder, problems):
    """({step: gate_KN in 0..1}, words for the utterance they are of) of gates/*.npz.

    Args:
        folder, problems: as in `read_curves`.
    """
    found, probe = {}, 'an utterance that its files do not name'
    for path in sorted(glob.glob(os.path.join(glob.escape(folder), 'gates', '*.npz'))):
        try:
            file = io.BytesIO(files.read_bytes(path, ValueError))
            with zipfile.ZipFile(file) as packed:
                if sum(one.file_size for one in packed.infolist()) > files.MOST_BYTES:
                    raise ValueError('more than gates can be')
            file.seek(0)
            step = os.path.splitext(os.path.basename(path))[0]
            if not (step.isascii() and step.isdecimal() and len(step) < 19):
                raise ValueError('its name must be the number of a step')
            with np.load(file) as content:
                if 'gate_KN' not in content or ('id' in content and 'split' not in content):
                    raise ValueError('it must hold gate_KN, and split beside id')
                gate_KN = content['gate_KN']
                if (
                    gate_KN.ndim != 2
                    or gate_KN.dtype != np.uint8
                    or not gate_KN.size
                    or any(gate_KN.shape[1] != other.shape[1] for other in found.values())
                ):
                    raise ValueError(
                        f'gate_KN is {gate_KN.dtype}{list(gate_KN.shape)}, must be uint8[frames,'
                        ' units] of as many units as in the other files'
                    )
                found[int(step)] = gate_KN.astype(np.float32) / 255
                if 'id' in content:
                    probe = f'{content["split"]} utterance {content["id"]}'
        except Exception as error:  # parsers of zip, of npy and of what is packed in them
            problems.append(f'{path} cannot be read ({files.why(error)}) and is left out')
    return found, probe


def read_examples(folder, problems):
    """{data set: {example id: content of example.json, with its folder under 'folder'}}.

    Args:
        folder, problems: as in `read_curves`.
    """
    found = {}
    pattern = os.path.join(glob.escape(folder), 'audio', '*', '*', 'example.json')
    for path in sorted(glob.glob(pattern)):
        where = os.path.dirname(path)
        try:
            content = files.read_json(path, ValueError, halves=True)
            _check_example(content, where)
        except (OSError, ValueError, RuntimeError) as error:
            problems.append(f'{where}: its sounds are left out ({files.why(error)})')
            continue
        found.setdefault(content['data_set'], {})[content['id']] = {**content, 'folder': where}
    return found


def _check_example(content, where):
    """Raises ValueError for an unusable example: key, value and rule."""

    def check(fields, key, is_right, rule, prefix='example.json: '):
        if key not in fields:
            raise ValueError(f'{prefix}{key} is missing, must be {rule}')
        if not is_right(fields[key]):
            raise ValueError(f'{prefix}{key} = {fields[key]!r:.60}, must be {rule}')

    for key in ('id', 'data_set'):
        check(content, key, _is_text, 'a text')
    for key in ('snr_db', 'seconds'):
        check(content, key, files.is_number, 'a number')
    check(content, 'files', lambda value: isinstance(value, dict), 'an object')
    for name in content['files']:
        check(content['files'], name, lambda value: isinstance(value, dict), 'an object')
        about, prefix = content['files'][name], f'{name}: '
        check(about, 'role', lambda value: value in _ROLES, f'one of {", ".join(_ROLES)}', prefix)
        if about['role'] != 'mixture':
            check(about, 'source', _is_text, 'a text', prefix)
        if about['role'] == 'estimate':
            check(about, 'system', _is_text, 'a text', prefix)
            check(about, 'scores', _are_numbers, 'an object of numbers', prefix)
    roles = [about['role'] for about in content['files'].values()]
    if roles.count('mixture') != 1 or 'reference' not in roles:
        raise ValueError('a mixture and references are needed')
    for name in content['files']:
        if not names.is_below(name, where):
            raise ValueError(f'{name!r} is no file in its folder')
        if not os.path.isfile(os.path.join(where, name)):  # a pipe would wait for its writer
            raise ValueError(f'{name!r} is no file')
        try:
            info = soundfile.info(os.fsencode(os.path.join(where, name)))
        except soundfile.LibsndfileError as error:
            raise ValueError(f'{name}: {error.error_string}') from error
        if info.channels != 1 or not info.frames or not RATES[0] <= info.samplerate <= RATES[1]:
            raise ValueError(
                f'{name} has {names.counted(info.channels, "channel")},'
                f' {names.counted(info.frames, "sample")} at'
                f' {info.samplerate} Hz; one channel with sound is needed'
            )


def _is_text(value):
    return isinstance(value, str)


def _are_numbers(value):
    return isinstance(value, dict) and all(map(files.is_number, value.values()))
