"""Whatever a run folder says of itself stands in a report as text, and nowhere else."""

import html.parser
import json
import os
import re

import numpy as np
import pytest

import fabricate
from fgsep_jax import names
from fgsep_jax.report import __main__ as command
import test_names

TEXTUAL = [name for name in test_names.HOSTILE if name]
QUICK = ('x"><img src=x onerror=alert(1)>', '..', 'a\0b|c\n# d', 'bad\udc80\ud800`_*]( <b>')


class Page(html.parser.HTMLParser):
    """The tags and attributes of a page, its ids, and what it refers to."""

    def __init__(self, content):
        super().__init__()
        self.tags, self.ids, self.addresses, self.text = set(), [], set(), ''
        self.feed(content)

    def handle_starttag(self, tag, attributes):
        self.tags |= {tag, *(name for name, _ in attributes)}
        for name, value in attributes:
            if name == 'id':
                self.ids.append(value)
            if name in ('href', 'src', 'xlink:href') and not value.startswith('data:'):
                self.addresses.add(value)

    def handle_data(self, data):
        self.text += data


def change(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def rename(run, name):
    """Gives every field of a run of 'alpha' a name, as an evaluation would have left it."""
    whole = name.encode(errors='replace').decode()  # half characters are refused in these
    change(run / 'config.json', experiment=name, preset=name)
    change(run / 'training_data.json', name=whole)
    for path in list(run.rglob('summary.json')):
        own = {'system': name} if path.parents[1].name == 'evaluation' else {}
        change(path, data_set=name, results=name, preset=name, **own)
    for room in ('evaluation', 'audio'):
        (run / room / 'alpha').rename(run / room / names.part(name))
    for path in list(run.rglob('example.json')):
        files = json.loads(path.read_text())['files']
        for about in files.values():
            about |= {key: name for key in ('source',) if key in about}
        change(path, data_set=name, files=files)
    for path in (run / 'gates').glob('*.npz'):
        np.savez(path, gate_KN=np.load(path)['gate_KN'], id=np.array(name), split=np.array(name))
    with open(run / 'metrics.jsonl', 'a') as file:
        file.write(json.dumps({'step': 50, 'kind': whole, whole: 1.0, 'loss': 1.0}) + '\n')


@pytest.fixture(scope='module')
def tags(tmp_path_factory):
    """Of a page of the same run with ordinary names."""
    folder = tmp_path_factory.mktemp('plain')
    make(folder, 'another')
    return Page((folder / 'out' / 'index.html').read_text()).tags


def make(folder, name):
    run = folder / 'runs' / os.fsdecode(b'<b>|\xff ')
    fabricate.run(run, 'convtasnet_glu', test_sets=('alpha',))
    rename(run, name)
    assert command.main([f'--runs={folder}/runs', f'--output_dir={folder}/out']) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    'name',
    [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in TEXTUAL[::18])],
)
def test_every_field_is_text(tmp_path, capsys, tags, name):
    make(tmp_path, name)
    said = capsys.readouterr()
    assert not re.search(r'[^\n]', said.err), said.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ['out', 'runs']
    files = {str(path.relative_to(tmp_path / 'out')) for path in (tmp_path / 'out').rglob('*')}
    assert all(re.fullmatch(r'[A-Za-z0-9_./-]+', path) for path in files)
    page = Page((tmp_path / 'out' / 'index.html').read_text())
    assert page.tags <= tags and len(page.ids) == len(set(page.ids))
    for address in page.addresses:
        assert address[1:] in page.ids if address.startswith('#') else address in files, address
    assert page.text.count(names.shown(name)) >= 5  # runs, Table 1, its figures, what is heard
    report = (tmp_path / 'out' / 'report.md').read_text()
    assert not re.search('<[a-z/!?]', report) and names.markdown(name, cell=True) in report
    for path in files:
        if path.startswith('figures/') and path in report:
            assert f']({path})' in report
    assert not test_names.BAD.search(re.sub(r'\n', '', report))
