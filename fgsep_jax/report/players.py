"""Sounds on a page: players with waveform, spectrogram and scores, and the page around them.

In plain Python: separating makes such pages, too, and does without the extra `report`.
"""

import dataclasses
import html
import importlib.resources
from typing import Any

from fgsep_jax import names
from fgsep_jax.report import sound
from fgsep_jax.report.parts import Named
from fgsep_jax.report.picture import picture

METRICS = {'si_snri': 'SI-SNRi', 'sdri': 'SDRi', 'siri': 'SIRi', 'sar': 'SAR'}


@dataclasses.dataclass(frozen=True)
class Drawn:
    """What is shown of a sound that the page does not hold itself.

    Attributes:
      seconds: its length.
      point_P2: lowest and highest sample of equal parts, in units of the peak.
      mel_FK: its mel spectrogram in dB.
      url: where a browser finds it.
      name: of the file that it is downloaded as; '' where it is not.
    """

    seconds: float
    point_P2: Any
    mel_FK: Any
    url: str
    name: str = ''


@dataclasses.dataclass(frozen=True)
class Track:
    """One sound of a listening example.

    Attributes:
      role: 'mixture', 'reference' or 'estimate'.
      source: which source it is ('1', 'foreground'), '' of a mixture.
      system: who made it; '' unless an estimate.
      path: of its wav file.
      scores: {metric: dB} of an estimate.
      signal: (signal_T, rate) where there is no such file.
      drawn: a Drawn, where the page does not hold the sound.
    """

    role: str
    source: str
    system: str = ''
    path: str = ''
    scores: dict = dataclasses.field(default_factory=dict)
    signal: Any = None
    drawn: Drawn | None = None


@dataclasses.dataclass(frozen=True)
class Listening(Named):
    """One test example to be heard.

    Attributes:
      name: unique in the report.
      title: heading.
      data_set: name of the results, e.g. 'fgbg-c1'.
      example: id of the example.
      tracks: the mixture, the references, the estimates of every system.
      facts: {label: text} shown beside it, e.g. {'input SNR': '2.1 dB'}.
      matched: whether all sounds are brought to one loudness; else they keep their levels.
    """

    name: str
    title: str
    data_set: str
    example: str
    tracks: tuple[Track, ...]
    facts: dict
    matched: bool = True


def escaped(value):
    """A text with names in it as HTML."""
    return html.escape(names.shown(value))


def page(title, body, *, links='', within=False):
    """A page as HTML text with style and script inside it.

    Args:
      title: of the page.
      body: HTML.
      links: HTML list entries of its contents.
      within: whether it stands in another page, which has a heading.
    """
    assets = importlib.resources.files('fgsep_jax.report')
    return _PAGE.format(
        title=escaped(title),
        within=' class="within"' if within else '',
        links=links,
        css=(assets / 'page.css').read_text(),
        js=(assets / 'page.js').read_text(),
        body=body,
    )


def listening(example):
    """One example as HTML: the mixture, then the references and each system, a column a source."""
    drawings = _drawings(example)
    top = max(drawn.mel_FK.max() for drawn in drawings)
    players = {}
    for track, drawn in zip(example.tracks, drawings):
        system = {'mixture': 'Mixture', 'reference': 'Reference'}.get(track.role, track.system)
        players.setdefault(system, []).append(_player(track, system, example, drawn, top))
    facts = ''.join(
        f'<div><dt>{escaped(key)}</dt><dd>{escaped(value)}</dd></div>'
        for key, value in example.facts.items()
    )
    rows = ''.join(
        f'<div class="system"><h4>{escaped(system)}</h4>'
        f'<div class="players">{"".join(parts)}</div></div>'
        for system, parts in players.items()
    )
    return (
        f'<details class="item example" open id="{example.name}"><summary><h3>'
        f'{escaped(example.title)}</h3></summary><dl>{facts}</dl>{rows}</details>'
    )


def _drawings(example):
    """A Drawn of every track; the sounds of those that have none go into the page."""
    read = [
        track.signal or sound.read(track.path) for track in example.tracks if track.drawn is None
    ]
    signals = [signal_T for signal_T, _ in read]
    made = iter(
        Drawn(
            seconds=len(signal_T) / rate,
            point_P2=sound.envelope(signal_T),
            mel_FK=sound.mel_db(signal_T, rate),
            url=sound.packed(signal_T, rate),
        )
        for signal_T, (_, rate) in zip(
            sound.level_matched(signals) if example.matched else signals, read
        )
    )
    return [track.drawn or next(made) for track in example.tracks]


def _player(track, system, example, drawn, top):
    source = f'{"source " if track.source.isdigit() else ""}{track.source}'
    label = ', '.join(part for part in (system, source, example.title) if part)
    scores = ''.join(
        f'<div><dt>{METRICS.get(metric, metric)}</dt><dd>{value:.1f} dB</dd></div>'
        for metric, value in track.scores.items()
        if metric in METRICS
    )
    points = drawn.point_P2
    path = (
        'M'
        + 'L'.join(
            [f'{i},{-high * 30:.1f}' for i, (_, high) in enumerate(points)]
            + [f'{i},{-low * 30:.1f}' for i, (low, _) in reversed(list(enumerate(points)))]
        )
        + 'Z'
    )
    spectrogram = picture(drawn.mel_FK, low=top - 80, high=top)
    download = (
        f'<p class="files"><a href="{escaped(drawn.url)}" download="{escaped(drawn.name)}">'
        f'Download {escaped(drawn.name)}</a></p>'
        if drawn.name
        else ''
    )
    return (
        f'<div class="player">{f"<h5>{escaped(source)}</h5>" if source else ""}'
        f'<div class="picture"><svg viewBox="0 -32 {len(points) - 1} 64" preserveAspectRatio="none"'
        f' aria-hidden="true"><path d="{path}"/></svg><img alt="spectrogram of {escaped(label)}"'
        f' src="{spectrogram}"><i class="playhead"></i></div>'
        f'<audio controls preload="metadata" aria-label="{escaped(label)}"'
        f' data-seconds="{drawn.seconds:.3f}" src="{escaped(drawn.url)}"></audio>{download}'
        + (f'<dl>{scores}</dl>' if scores else '')
        + '</div>'
    )


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
