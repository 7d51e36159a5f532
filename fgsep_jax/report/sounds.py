"""Which test examples a report lets its reader hear, and what is said of them."""

from fgsep_jax.report.players import Listening, Track
from fgsep_jax.report.runs import SYSTEMS
from fgsep_jax.report.scores import utf8

SEXES = {'F': 'female', 'M': 'male'}
HIDDEN = ('untrained',)  # scored, but nothing to listen to


def examples(results, data_set, count=1):
    """Listenings of a split: of the examples that most groups have sounds of.

    Args:
      results: Results of one task.
      data_set: name of the results.
      count: of the split, at most.
    """
    groups = {}  # of each example
    for row in results.runs.itertuples():
        for name in _sounds(results, row, data_set):
            groups.setdefault(name, set()).add(row.group)
    names = sorted(groups, key=lambda name: (-len(groups[name]), name))
    return [_listening(results, data_set, name) for name in names[:count]]


def common_example(results, data_set):
    """The Listening of a test set that most groups have sounds of, or None."""
    return next(iter(examples(results, data_set)), None)


def _sounds(results, row, data_set):
    """{id: example.json} of a run's sounds that belong to its results on a data set."""
    there = {
        utf8(name): about
        for (where, name), about in row.folder.examples.items()
        if utf8(where) == data_set
    }
    if not there:
        return {}
    rows = results.scores[(results.scores.run == row.run) & (results.scores.data_set == data_set)]
    return {name: there[name] for name in sorted(there.keys() & set(rows.id))}


def _listening(results, data_set, name):
    """One example with the sounds of the first seed of every group that has them."""
    tracks, oracles, first = [], {}, None
    for group in results.groups:
        runs = results.runs[results.runs.group == group.group].itertuples()
        abouts = [there[name] for run in runs if name in (there := _sounds(results, run, data_set))]
        if abouts:
            first = first or abouts[0]
            tracks += _tracks(abouts[0], '', group.label)
        for about in abouts:
            for system in {file.get('system') for file in about['files'].values()} - {None, ''}:
                if system not in HIDDEN:
                    oracles.setdefault(system, _tracks(about, system, SYSTEMS.get(system, system)))
    for system in sorted(oracles):
        tracks += oracles[system]
    given = [
        Track(file['role'], file.get('source', ''), path=f'{first["folder"]}/{path}')
        for path, file in first['files'].items()
        if file['role'] != 'estimate'
    ]
    given.sort(key=lambda track: track.role != 'mixture')
    facts = {'input SNR': f'{first["snr_db"]:.1f} dB', 'length': f'{first["seconds"]:.2f} s'}
    scores = results.scores
    rows = scores[(scores.data_set == data_set) & (scores.id == name)].drop_duplicates('source')
    classes = [label for label in rows.get('class', ()) if isinstance(label, str) and label]
    if classes:
        facts['classes'] = ' over '.join(classes)
    sexes = [SEXES.get(sex) for sex in rows.get('sex', ())]
    if sexes and all(sexes):
        facts['speakers'] = ', '.join(sexes)
    title = f'{data_set}: {name}'
    return Listening(f'{data_set}-{name}', title, data_set, name, (*given, *tracks), facts)


def _tracks(about, system, label):
    return [
        Track('estimate', file['source'], label, f'{about["folder"]}/{path}', file['scores'])
        for path, file in about['files'].items()
        if file['role'] == 'estimate' and file['system'] == system
    ]
