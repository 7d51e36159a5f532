"""A page to hear and see what recordings were taken apart into."""

import contextlib
import os

import numpy as np

from fgsep_jax import files
from fgsep_jax.data.audio_files import BadInput
from fgsep_jax.report import players, sound
from fgsep_jax.separation import activity, engine
from fgsep_jax.separation.recording import FileRecording, Puller

SECONDS = 10.0  # of each recording, where its first part is loudest
TITLE = 'Separated by '


def render(separated, *, model, say=print):
    """The page as HTML text; sounds and pictures are inside it.

    Args:
      separated: [(name, path of the recording or '', {part: path}, seconds it begins at)].
      model: what separated them.
      say: told of those whose parts cannot be read, which are left out.
    """
    text = f'Up to {SECONDS:g} s of each, from where the first part is loudest.'
    examples = []
    for number, about in enumerate(separated, start=1):
        try:
            examples.append(_example(f'recording_{number}', *about))
        except (BadInput, OSError) as error:
            say(f'{about[0]}: not on the page ({files.why(error)})')
    return _page(f'<p class="intro">{text}</p>', examples, model)


def _page(intro, examples, model, *, within=False):
    players_of = ''.join(map(players.listening, examples))
    return players.page(
        f'{TITLE}{model}',
        '<section id="part-recordings" aria-labelledby="part-recordings-title">'
        f'<h2 id="part-recordings-title">Recordings</h2>{intro}{players_of}</section>',
        links='<li><a href="#part-recordings">Recordings</a></li>',
        within=within,
    )


def render_whole(path, written, *, title, url, model):
    """A page of one recording to stand in another page; its sounds are where `url` says.

    Args:
      path: of the recording.
      written: what came of it, a `writing.Written`.
      title: heading.
      url: function of a path that gives where a browser finds the file.
      model: what separated it.
    """
    facts = {'length': f'{written.seconds:.1f} s', 'rate': f'{written.rate:,} Hz'}
    drawn = _drawn(path, written.seconds, url(path))
    tracks = [players.Track('mixture', '', drawn=drawn)]
    for part, file in written.outputs.items():
        drawn = _drawn(file, written.seconds, url(file), os.path.basename(file))
        tracks.append(players.Track('estimate', part, 'Parts', drawn=drawn))
    example = players.Listening('recording', title, '', title, tuple(tracks), facts, matched=False)
    return _page('', [example], model, within=True)


def _drawn(path, seconds, url, name=''):
    with contextlib.closing(FileRecording(path)) as recording:
        puller = Puller(block_TC.mean(axis=1) for block_TC in recording.blocks())
        point_P2, mel_FK = sound.overview(puller.take, recording.rate, seconds)
    return players.Drawn(seconds, point_P2, mel_FK, url, name)


def is_ours(html):
    """Whether a page was made by `render`."""
    return f'<title>{TITLE}' in html[:1000]


def _example(name, title, source, parts, start):
    loudest = _loudest(next(iter(parts.values())))
    tracks = []
    if source:
        with contextlib.suppress(BadInput, OSError):
            signal = _excerpt(source, start + loudest, cut=set())
            tracks.append(players.Track('mixture', '', signal=signal))
    for part, path in parts.items():
        signal = _excerpt(path, loudest)
        tracks.append(players.Track('estimate', part, 'Parts', signal=signal))
    facts = {
        'from': f'{start + loudest:.1f} s',
        'length': f'{len(signal[0]) / signal[1]:.1f} s',
    }
    return players.Listening(name, title, '', title, tuple(tracks), facts, matched=False)


def _loudest(path):
    """Where the loudest `SECONDS` of a file begin."""
    with contextlib.closing(FileRecording(path)) as recording:
        meter = activity.Meter(recording.rate)
        for block_TC in recording.blocks():
            meter.add(block_TC)
    power = 10 ** (meter.level_db() / 10)
    width = round(SECONDS / meter.step)
    if len(power) <= width:
        return 0.0
    sums = np.convolve(power, np.ones(width), 'valid')
    return float(np.argmax(sums) * meter.step)


def _excerpt(path, start, cut=None):
    recording = FileRecording(path, start=start, seconds=SECONDS, cut=cut)
    with contextlib.closing(recording):
        blocks = [block_TC.mean(axis=1) for block_TC in recording.blocks()]
    if not blocks:
        raise engine.empty(start)
    return np.concatenate(blocks), recording.rate
