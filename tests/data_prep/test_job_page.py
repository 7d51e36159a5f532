"""The page of a job shows names as they are, whatever they are."""

import re

import pytest

from data_prep import report
import test_names


def page(name):
    histograms = dict.fromkeys(('snr_db', 'seconds', 'source_rms_db', 'mixture_rms_db'), {'1': 2})
    counts = {'examples': 2, 'hours': 0.5, 'num_speakers': 3, 'shards': 1}
    skipped = [{'name': name, 'kind': name, 'detail': f'{name}: cut'}]
    content = {
        'name': 'made',
        'snr_rule': 'measured',
        'splits': {'train': {**counts, 'histograms': histograms}},
        'files': {
            'good': 1,
            'total': 2,
            'converted': {name: 1},
            'beside': {'other': {name: 1}, 'audio': {name: 2}, 'example': name},
        },
        'skipped_files': skipped,
        'skipped_mixtures': skipped,
        'notes': {'Classes': {name: {'files': 1, 'kept': name}}, 'Warnings': [f'{name} ends']},
    }
    return report.to_markdown(content).encode().decode().split('\n')


@pytest.mark.parametrize('name', test_names.HOSTILE)
def test_every_name_is_text(name):
    for line, usual in zip(page(name), page('plain'), strict=True):
        assert not re.search('<[a-z/!?]', line) and not test_names.BAD.search(line)
        if usual.startswith('|'):
            columns = [re.findall(r'(?:^|[^\\])(?:\\\\)*(\|)', one) for one in (line, usual)]
            assert columns[0] == columns[1], line


@pytest.mark.parametrize(
    'hours, said',
    [(1.254, '1.25 hours'), (0.1, '0.10 hours'), (0.0999, '6.0 minutes'), (1 / 60, '1.0 minutes')]
    + [(0.0105, '38 seconds'), (0.0, '0 seconds')],
)
def test_a_short_length_is_no_hours(hours, said):
    assert report.duration(hours) == said
