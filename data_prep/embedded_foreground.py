"""The embedded data set of the foreground task: events and backgrounds made by rule.

The sounds are those of `synthetic_events` and `synthetic_backgrounds`: eleven of Table I's classes,
some heard in training and some not. They become a tree as a user would deliver it, which
`data_prep.fgbg` mixes.
"""

import functools
import os
import types

import numpy as np
import scipy
import soundfile
import soxr

from data_prep import (
    draws,
    fgbg,
    options,
    progress,
    synthesis,
    synthetic_backgrounds,
    synthetic_events,
)
from data_prep.readers import sounds
from fgsep_jax import command_line, pcm

JOB = 'embedded_fgbg'
DESCRIPTION = 'Foreground-background mixtures of sounds made by rule.'
DEFAULTS = {'sample_rate': 44100, 'min_seconds': 0.1}  # of the flags that every job has
MODULES = {'foreground': synthetic_events, 'background': synthetic_backgrounds}  # role: sounds
LICENCE = 'Synthetic sounds made by rule by this program, no recordings; no rights are claimed.'
_VERSION = 3  # of the sounds: to be raised with any change that is heard


def classes() -> dict[str, sounds.SoundClass]:
    """The class table of the sounds, see `readers.sounds.read_classes`."""
    every = sounds.read_classes()
    return {label: x for label, x in every.items() if hasattr(MODULES[x.role], x.name)}


def add_flags(parser: command_line.Parser) -> None:
    """Adds the task's own flags."""
    at_least = options.within(
        3, 10**6, '(training, validation and evaluation need one each)', kind=int
    )
    parser.add_argument(
        '--foregrounds_per_class', type=at_least, default=30, help='sounds of each class of events'
    )
    parser.add_argument(
        '--backgrounds_per_class', type=at_least, default=16, help='sounds of each other class'
    )
    fgbg.add_flags(parser)
    parser.set_defaults(train_mixtures=1200, validation_mixtures=120, test_mixtures=60)


def version() -> str:
    """What the bytes depend on beside the flags."""
    libraries = ', '.join(
        f'{library.__name__} {library.__version__}' for library in (np, scipy, soxr)
    )
    return f'data_prep.synthesis {_VERSION} ({libraries})'


def job(args: types.SimpleNamespace, folder: str) -> dict:
    """A sound bank in `folder` and the arguments of the pipeline that mixes it."""
    counts = {role: vars(args)[f'{role}s_per_class'] for role in MODULES}
    render_all(folder, counts=counts, sample_rate=args.sample_rate)
    return fgbg.job(args, sounds.folder(folder, classes=classes()), classes=classes())


def render(role: str, name: str, number: int, *, sample_rate: int) -> np.ndarray:
    """One recording of a class.

    Args:
        role: "foreground" or "background".
        name: of the class.
        number: of the recording; each has parameters of its own.
        sample_rate: [Hz].
    Returns:
        16-bit samples, int16 [T]; the same ones whenever the arguments are the same.
    """
    rng = np.random.default_rng(draws.stable_hash(name, number))
    sound_T = getattr(MODULES[role], name)(synthesis.Synthesizer(rng, sample_rate))
    sound_T = synthesis.finish(sound_T, sample_rate, peak=rng.uniform(0.4, 0.9))
    return pcm.to_int16(sound_T)


def _write(role: str, name: str, *, folder: str, counts: dict, sample_rate: int) -> None:
    place = os.path.join(folder, role, name)
    os.makedirs(place)
    for number in range(counts[role]):
        pcm_T = render(role, name, number, sample_rate=sample_rate)
        path = os.path.join(place, f'{name}_{number:03d}.wav')
        soundfile.write(path, pcm_T, sample_rate, subtype='PCM_16')


def render_all(folder: str, *, counts: dict[str, int], sample_rate: int) -> None:
    """Renders the sound bank, {role}/{class}/{class}_{number}.wav, on all cores.

    Args:
        folder: where it goes; it must exist.
        counts: role -> recordings of each of its classes.
        sample_rate: of the files [Hz].
    """
    work = functools.partial(_write, folder=folder, counts=counts, sample_rate=sample_rate)
    # Backgrounds take longest: first, so that no core waits in the end.
    every = sorted({(x.role, x.name) for x in classes().values()})
    for _ in progress.in_processes(work, *zip(*every), stage='render', unit='classes'):
        pass
