"""Which test examples a report lets its reader hear, and what is said of them."""

from fgsep_jax.report import items
from fgsep_jax.report.tables_common import SYSTEMS, other_splits, test_sets

SEXES = {'F': 'female', 'M': 'male'}
HIDDEN = ('untrained',)  # scored, but nothing to listen to


def examples(groups, count=1):
    """Listening examples of every test set and other split.

    Args:
        groups: Groups of both tasks.
        count: of each split, at most.

    Returns:
        Listenings, of each split those that most systems have sounds of.
    """
    found = []
    for task in ('speech', 'foreground'):
        members = [group for group in groups if group.task == task]
        for data_set in test_sets(members) + other_splits(members):
            found += [
                _listening(members, data_set, name) for name in _ids(members, data_set)[:count]
            ]
    return found


def common_example(groups, data_set):
    """The Listening of a test set that most systems have sounds of, or None."""
    names = _ids(groups, data_set)
    return _listening(groups, data_set, names[0]) if names else None


def _ids(groups, data_set):
    """Ids of the examples with sounds, the most widely shared first."""
    counts = {}
    for group in groups:
        for name in {name for run in group.runs for name in _of(run, data_set)}:
            counts[name] = counts.get(name, 0) + 1
    return sorted(counts, key=lambda name: (-counts[name], name))


def _of(run, data_set):
    """{id: example.json} of a run's sounds that belong to its results on a data set."""
    scored = {name for result in run.results.get(data_set, {}).values() for name in result.rows}
    return {name: about for name, about in run.examples.get(data_set, {}).items() if name in scored}


def _listening(groups, data_set, name):
    """One example with the sounds of the first seed of every group that has them."""
    tracks, oracles, first, row = [], {}, None, {}
    for group in groups:
        runs = [run for run in group.runs if name in _of(run, data_set)]
        for run in runs[:1]:
            about = _of(run, data_set)[name]
            first = first or about
            row = row or next(
                (result.rows.get(name, {}) for result in run.results[data_set].values()), {}
            )
            tracks += _tracks(about, '', group.label)
        for run in runs:
            about = _of(run, data_set)[name]
            for system in {one.get('system') for one in about['files'].values()} - {None, ''}:
                if system not in HIDDEN:
                    oracles.setdefault(system, _tracks(about, system, SYSTEMS.get(system, system)))
    for system in sorted(oracles):
        tracks += oracles[system]
    given = [
        items.Track(one['role'], one.get('source', ''), '', _path(first, path), {})
        for path, one in first['files'].items()
        if one['role'] != 'estimate'
    ]
    given.sort(key=lambda track: track.role != 'mixture')
    facts = {'input SNR': f'{first["snr_db"]:.1f} dB', 'length': f'{first["seconds"]:.2f} s'}
    classes = [
        row[f'class_{one}'] for one in ('foreground', 'background') if row.get(f'class_{one}')
    ]
    if classes:
        facts['classes'] = ' over '.join(classes)
    sexes = [value for key, value in row.items() if key.startswith('sex_')]
    if sexes and all(sex in SEXES for sex in sexes):
        facts['speakers'] = ', '.join(SEXES[sex] for sex in sexes)
    return items.Listening(
        f'{data_set}-{name}', f'{data_set}: {name}', data_set, name, (*given, *tracks), facts
    )


def _tracks(about, system, label):
    return [
        items.Track('estimate', one['source'], label, _path(about, path), one['scores'])
        for path, one in about['files'].items()
        if one['role'] == 'estimate' and one['system'] == system
    ]


def _path(about, path):
    return f'{about["folder"]}/{path}'
