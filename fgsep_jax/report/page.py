"""The report as one page that opens from disk: tables that sort, figures, sounds."""

import html
import importlib.resources
import re

from fgsep_jax import names
from fgsep_jax.report import items, sound
from fgsep_jax.report.picture import picture
from fgsep_jax.report.text import cell_text, is_numeric

VERDICTS = ('reproduced', 'not reproduced', 'undecided', 'no claim')


def render(sections, *, title, within=False):
    """The page as HTML text; styles, scripts, figures and sounds are inside it.

    Args:
        sections: Sections.
        title: of the page.
        within: whether it stands in another page, which has a heading.
    """
    assets = importlib.resources.files('fgsep_jax.report')
    links = ''.join(
        f'<li><a href="#part-{section.name}">{_text(section.title)}</a></li>'
        for section in sections
    )
    return _PAGE.format(
        title=_text(title),
        within=' class="within"' if within else '',
        links=links,
        css=(assets / 'page.css').read_text(),
        js=(assets / 'page.js').read_text(),
        body='\n'.join(map(_section, sections)),
    )


def _text(value):
    return html.escape(names.shown(value))


def _section(section):
    intro = f'<p class="intro">{_text(section.text)}</p>' if section.text else ''
    if section.notes:
        intro += (
            '<ul class="notes">'
            + ''.join(f'<li>{_text(note)}</li>' for note in section.notes)
            + '</ul>'
        )
    makers = {items.Table: _table, items.Figure: _figure, items.Listening: _listening}
    parts = ''.join(makers[type(item)](item) for item in section.items)
    name = f'part-{section.name}'
    return (
        f'<section id="{name}" aria-labelledby="{name}-title"><h2 id="{name}-title">'
        f'{_text(section.title)}</h2>{intro}{parts}</section>'
    )


def _table(table):
    name = table.name
    numeric = [is_numeric(table, i) for i in range(len(table.columns))]
    heads = ''.join(
        f'<th scope="col" class="{"number" if number else "words"}'
        f'{" published" if column.published else ""}" aria-sort="none"><button type="button">'
        + ('<small>published</small> ' if column.published else '')
        + f'{_text(column.label)}</button></th>'
        for column, number in zip(table.columns, numeric)
    )
    rows = ''.join(
        '<tr>'
        + ''.join(
            _cell(cell, column, number, first=not i)
            for i, (cell, column, number) in enumerate(zip(row, table.columns, numeric))
        )
        + '</tr>'
        for row in table.rows
    )
    note = f'<p class="note">{_text(table.note)}</p>' if table.note else ''
    whole = f'<table class="sortable"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'
    return _item(
        name,
        table.title,
        _scroll(name, whole) + note,
        {'CSV': f'tables/{table.name}.csv', 'Markdown': f'tables/{table.name}.md'},
    )


def _item(name, title, content, files):
    """A part with its heading and links to its files, {label: path}."""
    links = ' '.join(f'<a href="{path}">{label}</a>' for label, path in files.items())
    return (
        f'<div class="item" id="{name}"><h3 id="{name}-title">{_text(title)}</h3>{content}'
        f'<p class="files">{links}</p></div>'
    )


def _scroll(name, content):
    """Content that may be wider than the page; scrolls by keyboard too."""
    return (
        f'<div class="scroll" role="region" aria-labelledby="{name}-title" tabindex="0">'
        f'{content}</div><p class="wider">Wider than the page: scrolls sideways.</p>'
    )


def _cell(cell, column, number, *, first):
    tag, scope = ('th', ' scope="row"') if first else ('td', '')
    kind = ['number' if number else 'words', *(['published'] if column.published else [])]
    value = ''
    if cell is None:
        kind.append('missing')
        inner = '<span aria-label="no run">\N{EN DASH}</span>'
    elif isinstance(cell, items.Estimate):
        value = f' data-value="{cell.value!r}"'
        inner = f'{cell.value:.{column.digits}f}'.replace('-', '\N{MINUS SIGN}')
        if cell.low is not None:
            inner += (
                f' <span class="interval">[{cell.low:.{column.digits}f},'
                f' {cell.high:.{column.digits}f}]</span>'
            ).replace('-', '\N{MINUS SIGN}')
        if cell.note:
            inner += f' <span class="flag">{_text(cell.note)}</span>'
    else:
        if isinstance(cell, (int, float)):
            value = f' data-value="{cell!r}"'
        inner = _text(cell_text(cell, column.digits))
        span = re.fullmatch(r'[\d,]+ to ([\d,]+)', inner)
        if span:  # sorted by its upper end
            value = f' data-value="{span[1].replace(",", "")}"'
        verdict = next(
            (one for one in VERDICTS if column.key == 'verdict' and inner.startswith(one)), None
        )
        if verdict:
            inner = f'<span class="verdict {verdict.replace(" ", "-")}">{inner}</span>'
    return f'<{tag}{scope} class="{" ".join(kind)}"{value}>{inner}</{tag}>'


def _figure(figure):
    from fgsep_jax.report import style  # and matplotlib, which pages of sounds do without

    name = figure.name
    svg, width = style.inline(figure)
    svg = svg.replace('<svg', '<svg aria-hidden="true" focusable="false"', 1)
    note = f'<figcaption class="note">{_text(figure.note)}</figcaption>' if figure.note else ''
    size = f'min-width:{min(width, 620):.0f}px;max-width:{1.5 * width:.0f}px'
    drawing = (
        f'<div class="drawing" role="img" aria-label="{_text(figure.description)}"'
        f' style="{size}">{svg}</div>'
    )
    return _item(
        name,
        figure.title,
        f'<figure>{_scroll(name, drawing)}{note}</figure>',
        {'SVG': f'figures/{figure.name}.svg', 'PNG': f'figures/{figure.name}.png'},
    )


def _listening(example):
    """One example: the mixture, then the references and each system, a column a source."""
    looks = _looks(example)
    top = max(look.level_FK.max() for look in looks)
    players = {}
    for track, look in zip(example.tracks, looks):
        system = {'mixture': 'Mixture', 'reference': 'Reference'}.get(track.role, track.system)
        players.setdefault(system, []).append(_player(track, system, example, look, top))
    facts = ''.join(
        f'<div><dt>{_text(key)}</dt><dd>{_text(value)}</dd></div>'
        for key, value in example.facts.items()
    )
    rows = ''.join(
        f'<div class="system"><h4>{_text(system)}</h4>'
        f'<div class="players">{"".join(parts)}</div></div>'
        for system, parts in players.items()
    )
    return (
        f'<details class="item example" open id="{example.name}"><summary><h3>'
        f'{_text(example.title)}</h3></summary><dl>{facts}</dl>{rows}</details>'
    )


def _looks(example):
    """A Look of every track; the sounds of those that have none go into the page."""
    read = [
        track.signal or sound.read(track.path) for track in example.tracks if track.look is None
    ]
    signals = [signal_T for signal_T, _ in read]
    made = iter(
        items.Look(
            seconds=len(signal_T) / rate,
            point_P2=sound.envelope(signal_T),
            level_FK=sound.mel_db(signal_T, rate),
            url=sound.packed(signal_T, rate),
        )
        for signal_T, (_, rate) in zip(
            sound.level_matched(signals) if example.matched else signals, read
        )
    )
    return [track.look or next(made) for track in example.tracks]


def _player(track, system, example, look, top):
    source = f'{"source " if track.source.isdigit() else ""}{track.source}'
    label = ', '.join(part for part in (system, source, example.title) if part)
    scores = ''.join(
        f'<div><dt>{_METRICS.get(metric, metric)}</dt><dd>{value:.1f} dB</dd></div>'
        for metric, value in track.scores.items()
        if metric in _METRICS
    )
    points = look.point_P2
    path = (
        'M'
        + 'L'.join(
            [f'{i},{-high * 30:.1f}' for i, (_, high) in enumerate(points)]
            + [f'{i},{-low * 30:.1f}' for i, (low, _) in reversed(list(enumerate(points)))]
        )
        + 'Z'
    )
    drawn = picture(look.level_FK, low=top - 80, high=top)
    download = (
        f'<p class="files"><a href="{_text(look.url)}" download="{_text(look.name)}">'
        f'Download {_text(look.name)}</a></p>'
        if look.name
        else ''
    )
    return (
        f'<div class="player">{f"<h5>{_text(source)}</h5>" if source else ""}'
        f'<div class="look"><svg viewBox="0 -32 {len(points) - 1} 64" preserveAspectRatio="none"'
        f' aria-hidden="true"><path d="{path}"/></svg><img alt="spectrogram of {_text(label)}"'
        f' src="{drawn}"><i class="playhead"></i></div>'
        f'<audio controls preload="metadata" aria-label="{_text(label)}"'
        f' data-seconds="{look.seconds:.3f}" src="{_text(look.url)}"></audio>{download}'
        + (f'<dl>{scores}</dl>' if scores else '')
        + '</div>'
    )


_METRICS = {'si_snri': 'SI-SNRi', 'sdri': 'SDRi', 'siri': 'SIRi', 'sar': 'SAR'}

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>{css}</style>
</head>
<body{within}>
<a class="skip" href="#main">Skip to the results</a>
<header><h1>{title}</h1>
<button type="button" id="theme">Theme: system</button></header>
<nav aria-label="Contents"><ul>{links}</ul></nav>
<main id="main">
{body}
</main>
<script>{js}</script>
</body>
</html>
"""
