"""The embedded corpus: two-speaker mixtures of speech spoken by eSpeak NG, in about a minute.

    python -m data_prep.embedded [--output_dir=DIR] [Beam flags]

No recordings and no network are needed: every voice says sentences of its own, and the mixtures
are made by the same pipeline as those of any other data set. The same versions of eSpeak NG give
the same bytes. It is meant for demonstrations and tests; results on it say little about people.
"""

import concurrent.futures
import functools
import json
import logging
import multiprocessing
import os
import tempfile

import numpy as np
import soundfile

from data_prep import espeak, sentences

# The processes that render import this module too: whatever needs Beam is imported where used.

MIXTURES = {'train': 3000, 'validation': 200, 'test': 200}
LICENCE = (
    'Synthetic speech, no human recordings. It was made with eSpeak NG, a program under the GPL, '
    'version 3 or later; that licence does not extend to what the program says.'
)


def texts(utterances_per_voice: int) -> dict[str, list[str]]:
    """Voice name -> its sentences; no sentence is said twice, by whichever voice."""
    count = utterances_per_voice
    all_texts = sentences.distinct_sentences(count * len(espeak.VOICES))
    return {
        voice.name: all_texts[i * count : (i + 1) * count]
        for i, voice in enumerate(espeak.VOICES)
    }


def speak(voice: espeak.Voice, lines: list[str], *, folder: str, sample_rate: int) -> list[str]:
    """Renders lines to `folder` as 16-bit wav files.

    Args:
        voice: who speaks.
        lines: what is said, one utterance a line.
        folder: where the files go; it must exist.
        sample_rate: of the files [Hz].

    Returns:
        Paths, one a line.
    """
    paths = []
    for number, line in enumerate(lines):
        speech_T = espeak.render(voice, line, sample_rate=sample_rate)
        paths.append(os.path.join(folder, f'{voice.name}-{number:03d}.wav'))
        pcm_T = np.round(speech_T * 32768.0).astype(np.int16)
        soundfile.write(paths[-1], pcm_T, sample_rate, subtype='PCM_16')
    return paths


def speak_all(folder: str, *, utterances_per_voice: int, sample_rate: int) -> list:
    """Renders what every voice says, on all cores.

    Args:
        folder: where the wav files go; it must exist.
        utterances_per_voice: sentences said by each voice.
        sample_rate: of the files [Hz].

    Returns:
        corpora.Utterance of every file, in a fixed order.
    """
    from data_prep import corpora

    utterances = []
    lines = texts(utterances_per_voice)
    work = functools.partial(speak, folder=folder, sample_rate=sample_rate)
    with concurrent.futures.ProcessPoolExecutor(
        mp_context=multiprocessing.get_context('spawn')
    ) as pool:
        spoken = pool.map(work, espeak.VOICES, [lines[voice.name] for voice in espeak.VOICES])
        for done, (voice, paths) in enumerate(zip(espeak.VOICES, spoken), start=1):
            for number, path in enumerate(paths):
                utterances.append(
                    corpora.Utterance(f'{voice.name}-{number:03d}', voice.name, path, voice.split)
                )
            if done % 10 == 0 or done == len(espeak.VOICES):
                logging.info('speak: %d of %d voices', done, len(espeak.VOICES))
    return utterances


def _already_made(args, synthesiser: str) -> bool:
    """Whether `output_dir` holds the finished result of the same options and versions.

    Raises:
        shards.DatasetExistsError: it holds another data set, which may not be overwritten.
    """
    from data_prep import shards
    from fgsep_jax.data import records

    path = os.path.join(args.output_dir, records.DATASET_FILE)
    if args.overwrite or args.dry_run or not os.path.exists(path):
        return False
    with open(path) as file:
        found = json.load(file)
    wanted = json.loads(json.dumps(vars(args)))
    config = found.get('config', {})
    if (found.get('job'), found.get('synthesiser')) == ('embedded', synthesiser) and all(
        wanted.get(key) == value for key, value in config.items()
    ):
        return True
    raise shards.DatasetExistsError(
        f"{args.output_dir} holds another data set, made by job {found.get('job')!r} with "
        f"{config}; give another --output_dir, or --overwrite"
    )


def _prepare(args, *, folder: str) -> dict:
    """Speech in `folder` and the arguments of the pipeline that mixes it."""
    from data_prep import plans

    synthesiser = espeak.version()
    if _already_made(args, synthesiser):
        print(f'{args.output_dir} is complete already, nothing to do (--overwrite makes it anew)')
        raise SystemExit(0)
    return dict(
        job='embedded',
        utterances=speak_all(
            folder,
            utterances_per_voice=args.utterances_per_voice,
            sample_rate=args.sample_rate,
        ),
        plan=functools.partial(
            plans.random_pairs,
            pairs={split: vars(args)[f'{split}_pairs'] for split in MIXTURES},
            snr_db=args.snr_db,
            max_seconds=args.max_seconds,
        ),
        extra_metadata={'synthesiser': synthesiser, 'licence': LICENCE},
    )


def main(argv=None) -> None:
    """Runs the job."""
    from data_prep import options
    from fgsep_jax.config import embedded_dir

    parser = options.parser(__doc__.splitlines()[0], input_dir=False, output_dir=embedded_dir())
    parser.add_argument(
        '--utterances_per_voice', type=int, default=80, help='sentences said by each voice'
    )
    options.pair_flags(parser, MIXTURES)
    with tempfile.TemporaryDirectory(prefix='fgsep-speech-') as folder:
        options.run(parser, argv, functools.partial(_prepare, folder=folder))


if __name__ == '__main__':
    main()
