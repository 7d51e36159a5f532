"""The run folder: one configuration, written once, held against every later start."""

import contextlib
import json
import os
import re
import shlex
from typing import NamedTuple

from fgsep_jax import buckets, config as config_lib, files, validate
from fgsep_jax.data import records
from fgsep_jax.data.source import open_dataset
from fgsep_jax.names import part, shown

# What may change between two starts of one run without making it another run, besides how it is
# evaluated.
MAY_CHANGE = (
    'training.epochs',
    'training.minutes',
    'training.patience_epochs',
    'training.wandb',
    'training.log_steps',
    'training.checkpoint_steps',
    'training.keep_checkpoints',
    'training.audio_examples',
    'training.gates',
    'training.shard_optimizer',
    'data.read_threads',
    'data.prefetch_batches',
    'data.dir',
)
# What a run writes into its folder besides config.json; report and evaluation read no other.
CONTENTS = (
    'training_data.json',
    'metrics.jsonl',
    'run.log',
    'wandb',
    'checkpoints',
    'tensorboard',
    'gates',
    'evaluation',
    'audio',
)
# Of runs in a bucket: all, and all of those below a folder; what a model is read from.
OWN, OWN_BELOW = (
    buckets.beside('config.json', '|'.join(f'{re.escape(x)}(/.*)?' for x in CONTENTS), below=below)
    for below in (False, True)
)
MODEL = buckets.beside('config.json', r'training_data\.json|(evaluation|checkpoints)/.*')

_DIGEST_LETTERS = 12
_MOST_NAMED = 10  # runs, in one message


def may_change(key, config):
    """Whether a key may change between two starts of a run without making it another run."""
    ends_schedule = key == 'training.epochs' and config.training.schedule == 'cosine'
    return key.startswith('evaluation.') or key in MAY_CHANGE and not ends_schedule


def default(config):
    """Folder of a run that was given none: runs of several seeds do not share one."""
    seed = f'-seed{config.seed}' if config.seed else ''
    return os.path.join('runs', f'{config.experiment}-{config.preset}{seed}')


def results(workdir, name, system=''):
    """Folder of the results called `name`; of the model's own system, or of another one's."""
    parts = [name, *([system] if system else [])]
    return os.path.join(workdir, 'evaluation', *map(part, parts))


def check(workdir, config):
    """Checks that a folder can be written to, and holds no run or one of the same configuration.

    Raises:
      ConfigError: the folder cannot be, or holds a run of another configuration, or a data set, or
        files of somebody else that have the names of a run's.
      OSError: a part of the run is a link.
    """
    _check_path(workdir, flag='--workdir=')
    above = files.nearest(workdir)
    if not os.path.isdir(above):
        raise config_lib.ConfigError(f'--workdir={workdir}: {above} is a file, not a folder')
    if not os.access(above, os.W_OK | os.X_OK):
        raise config_lib.ConfigError(
            f'--workdir={workdir}: {above} cannot be written to; give another --workdir'
        )
    checkpoints = os.path.join(workdir, 'checkpoints')
    if os.path.islink(checkpoints) and not os.path.isdir(checkpoints):
        raise config_lib.ConfigError(
            f'{checkpoints} is a link to {shown(os.readlink(checkpoints))}, which is no folder'
        )
    # Checkpoints may lie on another disk.
    files.refuse_links(workdir, 'config.json', *(x for x in CONTENTS if x != 'checkpoints'))
    if not os.path.exists(os.path.join(workdir, 'config.json')):
        there = os.listdir(workdir) if os.path.isdir(workdir) else ()
        if is_data_set(workdir):
            raise config_lib.ConfigError(
                f'--workdir={workdir} is the folder of a data set, which --config.data.dir names;'
                ' give the run a folder of its own'
            )
        in_the_way = [
            name
            for name in CONTENTS
            if name in there and not _is_empty(os.path.join(workdir, name))
        ]
        if in_the_way:
            raise config_lib.ConfigError(
                f'--workdir={workdir} holds {", ".join(in_the_way)} and no config.json: a run would'
                ' overwrite them, or add to them. Give it a folder of its own; if they are of a'
                ' run, copy its config.json back'
            )
        return
    before = files.flatten(read_config(workdir).to_dict())
    now = files.flatten(config.to_dict())
    changed = [
        f'  {key}: {before.get(key)!r} before, {now.get(key)!r} now'
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key) and not may_change(key, config)
    ]
    if changed:
        raise config_lib.ConfigError(
            f'{workdir} holds a run of another configuration:\n'
            + '\n'.join(changed)
            + '\nGive another --workdir, or the same configuration to resume it.'
        )


def is_data_set(folder):
    """Whether a folder holds a data set, or what a job left of one."""
    there = os.listdir(folder) if os.path.isdir(folder) else ()
    return any(name == records.DATASET_FILE or records.SHARD in name for name in there)


def _check_path(workdir, *, flag=''):
    """Raises ConfigError where Orbax could not name what is in a folder."""
    path = os.path.abspath(workdir)
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise config_lib.ConfigError(
            f'{flag}{shown(workdir)}: {shown(path)} is no UTF-8, and checkpoints can neither be'
            ' written to such a path nor read from it; rename it, or give another'
        ) from error


def _is_empty(path):
    """Whether a path is a folder with nothing in it, as a start leaves that was killed early."""
    return os.path.isdir(path) and not os.listdir(path)


def check_saved(workdir, config, saved):
    """Holds the configuration of a run against the one that its checkpoint was saved with.

    Args:
      workdir: run folder.
      config: the run's ConfigDict.
      saved: {section: {key: value}} out of the checkpoint.

    Raises:
      ConfigError: they differ in what makes the model or its training.
    """
    saved = files.flatten(config_lib.upgraded(saved))
    now = files.flatten(config.to_dict())
    changed = [
        f'{key} = {now[key]!r}, saved with {saved[key]!r}'
        for key in sorted(now.keys() & saved.keys())
        if now[key] != saved[key] and not may_change(key, config)
    ]
    if changed:
        raise config_lib.ConfigError(
            f'{os.path.join(workdir, "config.json")} was changed or damaged after the checkpoint'
            f' was saved: {"; ".join(changed)}. Put these values back; if the checkpoints are those'
            " of another run, put this run's back"
        )


def check_trained_on(workdir, data):
    """Holds what a run is said to be trained on against what its checkpoint is of.

    Args:
      workdir: run folder.
      data: repr of the RecordSource out of the checkpoint; None of earlier versions.

    Raises:
      ConfigError: they differ.
    """
    said = training_data(workdir)
    about, train = {'name': said.get('name')}, said.get('train')
    if isinstance(train, dict):
        about |= {key: train.get(key) for key in ('examples', 'fingerprint')}
    words = [f'{key}={value}' for key, value in about.items() if value]
    if data and not all(re.search(rf'\b{re.escape(word)}[,)]', data) for word in words):
        raise config_lib.ConfigError(
            f'{os.path.join(workdir, "training_data.json")} says that the run was trained on'
            f' {shown(", ".join(words))}, its checkpoint was saved with {shown(data)}: one of them'
            " is another run's. Put this run's back"
        )


class Heard(NamedTuple):
    """The speakers (or recordings) that weights were trained on.

    Attributes:
      digests: set, see `digests`.
      complete: whether these are all; unknown ones make no claim possible.
    """

    digests: frozenset = frozenset()
    complete: bool = False

    @classmethod
    def of(cls, listed, complete=True):
        """Of a list read from a file; nobody is known where it is none."""
        is_list = isinstance(listed, list) and all(isinstance(one, str) for one in listed)
        return cls(frozenset(listed), complete is True) if listed and is_list else cls()


def claim(workdir, config, train_source, *, before=None):
    """Makes the run folder and writes the configuration and what the run is trained on, once
    nothing can refuse it any more.

    Args:
      workdir: run folder.
      config: the run's ConfigDict.
      train_source: RecordSource of the training split.
      before: Heard by the weights that the training starts from; None for random ones.
    """
    os.makedirs(workdir, exist_ok=True)
    metadata = train_source.metadata
    about = {
        'name': metadata['name'],
        'dir': _absolute(train_source.directory),
        'sample_rate': metadata['sample_rate'],
        'train': {
            'examples': len(train_source),
            'speakers': len(train_source.speakers),
            'speaker_digests': sorted(digests(train_source.speakers)),
            'fingerprint': metadata['splits'][train_source.split].get('fingerprint'),
        },
    }
    if modules := config_lib.modules(config):
        about['modules'] = modules
    if before is not None:
        about['before'] = {
            'speaker_digests': sorted(before.digests),
            'complete': before.complete,
        }
    about = json.dumps(files.with_digest(about), indent=2) + '\n'
    for folder in (workdir, os.path.join(workdir, 'gates')):
        files.clean(folder)
    files.write(  # config.json first: what else is there is a run's where it is
        {
            os.path.join(workdir, 'config.json'): config_lib.to_json(config, digest=True),
            os.path.join(workdir, 'training_data.json'): about,
        }
    )


def data_dir(workdir, config):
    """Folder of the data set that a run was trained on, from wherever the command is given.

    A relative one is looked for where the run found it, here, and in the folders above the run's.
    """
    plain = config_lib.data_dir(config)
    if _absolute(plain) == plain:
        return plain
    recorded = training_data(workdir).get('dir')
    above = os.path.abspath(workdir)
    places = [recorded] if isinstance(recorded, str) and os.path.isabs(recorded) else []
    places.append(os.path.abspath(plain))
    while above != os.path.dirname(above):
        above = os.path.dirname(above)
        places.append(os.path.join(above, plain))
    found = next((place for place in places if os.path.isdir(place)), places[0])
    return plain if found == os.path.abspath(plain) else found


def was_rebuilt(workdir, metadata):
    """Whether the training split of a data set is another than a run recorded, if both tell."""
    before = training_data(workdir).get('train')
    before = before.get('fingerprint') if isinstance(before, dict) else None
    now = metadata['splits'].get('train', {}).get('fingerprint')
    return bool(before and now and before != now)


def digests(names):
    """Short digests of the names of speakers or recordings, a set: so many of them fit a file."""
    return {files.digest(name.encode(errors='surrogatepass'))[:_DIGEST_LETTERS] for name in names}


def trained_speakers(workdir, config):
    """Heard by a run, and by what it started from.

    The run recorded them when it started. One of an earlier version did not: its data set tells, if
    it is still there and the same. Nobody is known where the record is damaged.
    """
    if damage(workdir):
        return Heard()
    own = _recorded(workdir, 'train')
    if not own.complete:
        with contextlib.suppress(OSError, records.RecordError, config_lib.ConfigError):
            metadata = open_dataset(data_dir(workdir, config))
            if not was_rebuilt(workdir, metadata):
                listed = metadata['splits'].get('train', {}).get('speakers', ())
                own = Heard.of(sorted(digests(listed)))
    if not config.training.init_from:
        return own
    before = heard_before(workdir) or Heard()
    return Heard(own.digests | before.digests, own.complete and before.complete)


def heard_before(workdir):
    """Heard by what a run started from, as it recorded; None where it did not."""
    return _recorded(workdir, 'before') if 'before' in training_data(workdir) else None


def _recorded(workdir, key):
    recorded = training_data(workdir).get(key)
    if not isinstance(recorded, dict):
        return Heard()
    return Heard.of(recorded.get('speaker_digests'), recorded.get('complete', True))


def training_data(workdir):
    """Content of a run's training_data.json, {} where there is none or it is damaged."""
    return _training_data(workdir)[0]


def modules(workdir):
    """Files outside of the package that registered the parts of a run where it was trained."""
    found = training_data(workdir).get('modules')
    is_list = isinstance(found, list) and all(isinstance(file, str) for file in found)
    return found if is_list else []


def damage(workdir):
    """What is wrong with a run's training_data.json, as a sentence; '' of none at all, too."""
    return _training_data(workdir)[1]


def _training_data(workdir):
    """(content, what is wrong with it)"""
    path = os.path.join(workdir, 'training_data.json')
    if not os.path.lexists(path):  # of an earlier version
        return {}, ''
    try:
        content = files.read_json(path, config_lib.ConfigError, halves=True)
    except config_lib.ConfigError as error:
        return {}, str(error)
    if files.is_damaged(content):
        return {}, f'{path} is damaged: its digest does not match'
    return content, ''


def _absolute(folder):
    return folder if '://' in folder else os.path.abspath(folder)


def _no_run(workdir, path):
    """The ConfigError on a folder without the configuration of a run, with those that are below."""
    below = [os.path.dirname(found) for found in files.find(workdir, 'config.json')]
    if below:
        first = ''.join(f'\n  {shlex.quote(one)}' for one in below[:_MOST_NAMED])
        rest = len(below) - _MOST_NAMED
        return config_lib.ConfigError(
            f'{workdir} holds no run itself, there are some below:{first}'
            + (f'\n  and {rest} more' if rest > 0 else '')
        )
    url, place, then = buckets.url_of(workdir), workdir, ''
    if url and not buckets.at_orbax(url):
        place, then = os.path.basename(workdir), ' and copy it there'
    return config_lib.ConfigError(
        f'{workdir} holds no run: {path} is missing. Train one with `python -m fgsep_jax.main'
        f' --config=configs/convtasnet_glu.py --workdir={shlex.quote(place)}`{then}.'
    )


def read_config(workdir):
    """Configuration of the run in a folder, validated.

    Raises:
      ConfigError: there is no run, its configuration cannot be read or cannot work, or Orbax could
        not read from such a path.
    """
    _check_path(workdir)
    path = os.path.join(workdir, 'config.json')
    try:
        os.lstat(path)  # what else is in its place is named by who reads it
    except (FileNotFoundError, NotADirectoryError):
        raise _no_run(workdir, path) from None
    except OSError as error:  # a folder that may not be entered, links in a circle
        raise config_lib.ConfigError(f'{path} cannot be read: {files.why(error)}') from error
    data = files.read_bytes(path, config_lib.ConfigError)
    config = config_lib.from_json(data, where=path)
    config_lib.check_parts(config, modules(workdir), where=path)
    try:
        validate.validate(config, trained=True)
    except config_lib.ConfigError as error:
        raise config_lib.ConfigError(f'{path}: {error}') from error
    return config
