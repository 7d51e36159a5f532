"""The embedded data set of the speech task: sentences spoken by eSpeak NG, a voice a speaker.

Every voice says sentences of its own and is heard in one split only.
"""

import functools
import os
import types

import soundfile

from data_prep import espeak, options, progress, sentences
from data_prep.recordings import Recording
from fgsep_jax import command_line, pcm

JOB = 'embedded'
DESCRIPTION = 'Two-speaker mixtures of speech spoken by eSpeak NG.'
DEFAULTS = {}  # of the flags that every job has
MIXTURES = {'train': 3000, 'validation': 200, 'test': 200}
LICENCE = (
    'Synthetic speech, no human recordings. It was made with eSpeak NG, a program under the GPL, '
    'version 3 or later; that licence does not extend to what the program says.'
)


def add_flags(parser: command_line.Parser) -> None:
    """Adds the task's own flags."""
    parser.add_argument(
        '--utterances_per_voice',
        type=options.within(1, 10**6, kind=int),
        default=80,
        help='sentences said by each voice',
    )
    options.pair_flags(parser, MIXTURES)


def version() -> str:
    """What the bytes depend on beside the flags."""
    return espeak.version()


def job(args: types.SimpleNamespace, folder: str) -> dict:
    """Speech in `folder` and the arguments of the pipeline that mixes it."""
    return dict(
        utterances=speak_all(
            folder,
            utterances_per_voice=args.utterances_per_voice,
            sample_rate=args.sample_rate,
        ),
        **options.random_pairs(args),
        extra_metadata={'speakers': {voice.name: voice.sex.upper() for voice in espeak.VOICES}},
    )


def texts(utterances_per_voice: int) -> dict[str, list[str]]:
    """Voice name -> its sentences; no sentence is said twice, by whichever voice."""
    count = utterances_per_voice
    all_texts = sentences.distinct_sentences(count * len(espeak.VOICES))
    return {
        voice.name: all_texts[i * count : (i + 1) * count] for i, voice in enumerate(espeak.VOICES)
    }


def speak(voice: espeak.Voice, lines: list[str], *, folder: str, sample_rate: int) -> list[str]:
    """Renders lines to `folder` as 16-bit wav files.

    Args:
        voice: who speaks.
        lines: what is said, one utterance a line.
        folder: where the files go; it must exist.
        sample_rate: of the files [Hz].
    Returns:
        Their paths, in the order of the lines.
    """
    paths = []
    for number, line in enumerate(lines):
        speech_T = espeak.render(voice, line, sample_rate=sample_rate)
        paths.append(os.path.join(folder, f'{voice.name}-{number:03d}.wav'))
        soundfile.write(paths[-1], pcm.to_int16(speech_T), sample_rate, subtype='PCM_16')
    return paths


def speak_all(folder: str, *, utterances_per_voice: int, sample_rate: int) -> list[Recording]:
    """Renders what every voice says, on all cores.

    Args:
        folder: where the wav files go; it must exist.
        utterances_per_voice: sentences said by each voice.
        sample_rate: of the files [Hz].
    Returns:
        A recording of every file, in a fixed order.
    """
    lines = texts(utterances_per_voice)
    work = functools.partial(speak, folder=folder, sample_rate=sample_rate)
    spoken = progress.in_processes(
        work,
        espeak.VOICES,
        [lines[voice.name] for voice in espeak.VOICES],
        stage='speak',
        unit='voices',
    )
    return [
        Recording(f'{voice.name}-{number:03d}', voice.name, path, voice.split)
        for voice, paths in zip(espeak.VOICES, spoken)
        for number, path in enumerate(paths)
    ]
