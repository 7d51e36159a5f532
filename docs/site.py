"""What the site (mkdocs.yml) changes in pages that are first of all read as files."""

import pathlib
import re

from mkdocs.structure.files import File

TOP = pathlib.Path(__file__).parent.parent
FROM_THE_TOP = {
    'README.md': 'index.md',
    'CONTRIBUTING.md': 'contributing.md',
    'CHANGELOG.md': 'changelog.md',
}


def on_files(files, config):
    """Pages of the top level become pages of the site."""
    for name, page in FROM_THE_TOP.items():
        text = (TOP / name).read_text().replace('](docs/', '](')
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown, **_):
    """Links to pages of the top level lead to them here; those to code become its path."""
    for name, page in FROM_THE_TOP.items():
        markdown = re.sub(rf'\]\((\.\./)?{name}', f']({page}', markdown)
    return re.sub(r'(?<!!)\[([^\]]+)\]\(\.\./[^)]*\)', r'\1', markdown)
