"""What a command line means by its inputs, and where the parts of each go."""

import collections
import contextlib
import dataclasses
import functools
import glob
import os
import pathlib
import re

from fgsep_jax import files, names
from fgsep_jax.data.containers import BY_FFMPEG
from fgsep_jax.names import shown
from fgsep_jax.separation.manifest import MistakeError, written_into

NAME = '{path}/{file}_{source}'
# What is taken out of folders: libsndfile's forms, and those that ffmpeg reads.
SUFFIXES = frozenset([
    'wav', 'wave', 'flac', 'ogg', 'oga', 'opus', 'mp3', 'aif', 'aiff', 'aifc', 'au', 'snd', 'caf',
    'w64', 'rf64', *(suffix[1:] for suffix in BY_FFMPEG),
])  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Job:
    """One recording and where its parts go.

    Attributes:
      source: path of the recording.
      label: what it is called in messages.
      outputs: {name of the part: path below the output folder}.
    """

    source: str
    label: str
    outputs: dict


def listed(words, within=()):
    """The inputs that the words mean.

    Returns:
      ([(path of the file, folder below the output folder)], {suffix: how many were passed over}).

    Raises:
      MistakeError: a word means nothing that is there.
    """
    inputs, passed = [], collections.Counter()
    listed_in = functools.cache(written_into)
    for word in words:
        if word == '-':
            inputs.append(('-', ''))
        elif word.startswith('@') and not os.path.exists(word):
            try:
                text = os.fsdecode(files.read_bytes(word[1:], MistakeError))
            except MistakeError as error:
                raise MistakeError(f'{shown(word)}: {shown(error)}') from error
            lines = text.removeprefix('\ufeff').replace('\r\n', '\n').split('\n')
            numbered = [(n, line) for n, line in enumerate(lines, 1) if not _says_nothing(line)]
            if not numbered:
                raise MistakeError(f'{shown(word)}: this list is empty')
            if (key := os.path.realpath(word[1:])) in within:
                raise MistakeError(f'{shown(word)}: this list names itself')
            for number, line in numbered:
                try:
                    inner, more = listed([line], (*within, key))
                except MistakeError as error:
                    raise MistakeError(f'{shown(word)}, line {number}: {error}') from error
                inputs += inner
                passed += more
        elif os.path.isdir(word):
            inner = list(_below(word, passed, listed_in))
            if not inner:
                kinds = ', '.join(f'{n} {kind}' for kind, n in passed.most_common(5))
                raise MistakeError(f'{shown(word)}: no audio in this folder ({kinds or "empty"})')
            inputs += inner
        elif os.path.lexists(word):
            inputs.append((word, ''))
        elif matches := _matches(os.path.expanduser(word)):
            meant = [path for path in matches if not _is_part(path, listed_in)]
            if count := len(matches) - len(meant):
                passed['written by this command'] += count
            if not meant:
                ours = names.counted(count, 'part')
                raise MistakeError(
                    f'{shown(word)}: no recordings, but {ours} that this command wrote'
                )
            inner, more = listed(meant)
            inputs += inner
            passed += more
        else:
            pattern = glob.has_magic(word)
            what = 'no file fits this pattern' if pattern else 'there is no such file or folder'
            raise MistakeError(f'{shown(word)}: {what}')
    seen, once = set(), []
    for path, folder in inputs:
        if (key := os.path.realpath(path) if path != '-' else '-') not in seen:
            seen.add(key)
            once.append((path, folder))
    return once, passed


def _says_nothing(line):
    """Whether a line of a list is empty, or a comment: behind a # nothing that is there."""
    is_comment = line.lstrip().startswith('#') and not os.path.lexists(line) and not _matches(line)
    return is_comment or not line.strip()


def _matches(pattern):
    """What a pattern stands for, without the companions that it does not name itself."""
    named = {*pattern.split(os.sep)}
    return [
        path
        for path in sorted(glob.glob(pattern, recursive=True))
        if not any(part not in named and names.is_companion(part) for part in path.split(os.sep))
    ]


def _is_part(path, listed_in):
    """Whether this command wrote a file, as a manifest in a folder above it says; `listed_in`: what
    that of a folder lists."""
    folder, name = os.path.split(path)
    real = pathlib.Path(os.path.realpath(folder), name)
    return any(str(real) in listed_in(above) for above in real.parents)


def _below(top, passed, listed_in):
    refused = []
    for parent, folders, entries in files.walked(top, lambda e: refused.append(e.filename)):
        folders[:] = [folder for folder in folders if not names.is_companion(folder)]
        for name in sorted(entries):
            suffix = os.path.splitext(name)[1].lower().removeprefix('.')
            if names.is_companion(name):
                continue
            if _is_part(os.path.join(parent, name), listed_in):
                passed['written by this command'] += 1
            elif suffix in SUFFIXES:
                yield os.path.join(parent, name), os.path.relpath(parent, top)
            else:
                passed[f'.{suffix}' if suffix else 'without a suffix'] += 1
    for folder in refused:  # its line will say why
        yield folder, os.path.relpath(folder, top)


def _identity(path):
    """What two names of one file share; None where there is none."""
    with contextlib.suppress(OSError):
        about = os.stat(path)
        return about.st_dev, about.st_ino


def jobs_of(inputs, args, parts, model, also=()):
    """A Job for each input; no part may replace one, nor a file that is read `also`.

    Of names that differ in case or accents' coding alone (NFC, NFD), which are one file on some
    disks, all but the first get a digest.

    Raises:
      MistakeError: two of them would meet in one name, or one would overwrite an input.
    """
    jobs, owner = [], {}  # {`folded` name: (name, path of the input, what names it)}
    originals = {*map(_identity, [*(path for path, _ in inputs), *also])} - {None}
    for path, folder in inputs:
        stem, kind = os.path.splitext(os.path.basename(path)) if path != '-' else ('stdin', '')
        about = {
            'path': '' if folder == '.' else folder,
            'file': stem,
            'model': names.part(model),
            'suffix': kind.removeprefix('.') or 'none',
        }
        for file in (stem, names.part(os.path.join(folder, stem), taken=[stem])):
            outputs = _outputs({**about, 'file': file}, args, parts)
            paths = [*outputs.values()]
            met = [owner[key] for key in map(names.folded, paths) if key in owner]
            if not met or any(name in paths for name, *_ in met):
                break
        for name in paths:
            where = os.path.join(args.output_dir, name)
            if _identity(where) in originals:
                raise MistakeError(
                    f'{shown(where)} is an input, and would be replaced: leave it out, another -o'
                )
        if met or len({*paths}) < len(paths):
            name, other, same = met[0] if met else (paths[0], path, None)
            helps = "--name='{path}/{file}_{suffix}_{source}' tells them apart"
            if same == about:
                helps = 'give the folder that holds both, or each another -o'
            raise MistakeError(
                f'{shown(other)} and {shown(path)} would both be written to {shown(name)}: {helps}'
            )
        owner |= {names.folded(name): (name, path, about) for name in paths}
        jobs.append(Job(path, shown(path) if path != '-' else 'standard input', outputs))
    return jobs


def _outputs(about, args, parts):
    """{part: path below the output folder}, of what `--name` may name but the part."""
    outputs = {}
    for part in parts:
        fields = {**about, 'source': names.part(part)}
        name = re.sub(r'\{(\w+)\}', lambda m: fields[m[1]], args.name) + f'.{args.format}'
        if not os.path.isabs(args.name):  # of a path that is empty a / is left
            name = name.lstrip('/')
        name = os.path.normpath(name)
        wrong = 'lies outside the output folder' if name.split(os.sep)[0] == '..' else ''
        if wrong := 'is absolute' if os.path.isabs(name) else wrong:
            raise MistakeError(f'--name={args.name}: {shown(name)} {wrong}: parts lie below -o')
        outputs[part] = name
    return outputs
