"""The front door is one page, and no page points to what is not there."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r'^#+ (.*)$', page.read_text(), flags=re.M)
    return {re.sub(r'[^\w\- ]', '', text.lower()).replace(' ', '-') for text in headings}


def test_the_front_door_is_one_page():
    assert len((ROOT / 'README.md').read_bytes()) <= 15_000


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r'\]\(([^)\s]+)\)', page.read_text()):
        if re.match('https?:', target):
            continue
        path, _, anchor = target.partition('#')
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f'{page.name}: {target}'
        assert not anchor or anchor in anchors(there), f'{page.name}: {target}'


def test_every_page_is_reached_from_the_readme():
    front = (ROOT / 'README.md').read_text()
    for page in PAGES[1:]:
        assert f'docs/{page.name}' in front


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_tests_that_are_named_are_there(page):
    paths = [*(ROOT / 'tests').rglob('test_*.py')]
    there = {path.name for path in paths}
    there |= {name for path in paths for name in re.findall(r'def (test_\w+)', path.read_text())}
    for name in re.findall(r'`(?:tests/(?:\w+/)?)?(test_\w+(?:\.py|\.\.\.)?)`', page.read_text()):
        begins = name.removesuffix('...')
        assert name in there or begins != name and any(x.startswith(begins) for x in there), name


def test_every_configuration_is_in_the_guide():
    guide = (ROOT / 'docs' / 'train.md').read_text()
    paths = (path for path in (ROOT / 'configs').glob('*.py') if 'get_config' in path.read_text())
    assert not [path.name for path in paths if f'configs/{path.name}`' not in guide]
