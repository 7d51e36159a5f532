"""Takes recordings apart: a trained model, recordings in, their parts out.

python -m fgsep_jax.separate MODEL INPUT... [-o DIR]
python -m fgsep_jax.separate sounds recordings -o separated --page

MODEL is `sounds` or `voices`, small ones that are part of the package, a run folder, or a model
file. INPUT are files, folders, patterns in quotes, @LIST.txt with a path a line, or - for standard
input.
"""

import contextlib
import dataclasses
import errno
import hashlib
import json
import math
import os
import pathlib
import re
import shutil
import sys
import time

from fgsep_jax import command_line, config as config_lib, files, lock, names, stopping
from fgsep_jax.data.audio_files import BadInput
from fgsep_jax.data.containers import BY_FFMPEG
from fgsep_jax.names import shown
from fgsep_jax.separation import engine, inputs as inputs_lib, writing
from fgsep_jax.separation.manifest import MANIFEST, Manifest, MistakeError
from fgsep_jax.separation.recording import check_length

PAGE = 'index.html'
# Flags that mean something where recordings come as they are made.
LIVE = {'live', 'output_dir', 'o', 'bits', 'raw_rate', 'overwrite'}


def _parser():
    parser = command_line.Parser('fgsep_jax.separate', __doc__, words='MODEL INPUT...')
    parser.add_argument(
        '--output_dir',
        short='o',
        metavar='DIR',
        type=command_line.local_path,
        default='separated',
        help='where the parts go, the tree of the inputs mirrored',
    )
    parser.add_argument(
        '--name', default=inputs_lib.NAME, help='of each part; also {model} and {suffix}'
    )
    parser.add_argument(
        '--format', choices=('wav', 'flac', 'ogg', 'mp3'), default='wav', help='of the parts'
    )
    parser.add_argument(
        '--bits', choices=('16', '24', 'float'), default='16', help='of wav and flac'
    )
    parser.add_argument(
        '--rate',
        default='input',
        help="of the parts in Hz: a number, the input's own ('input'), or the model's ('model')",
    )
    parser.add_argument(
        '--channels',
        default='',
        help="'each', their 'mean', or the number of one, from 1 on; default: each for masks (one"
        ' mask on all, the image stays), mean for voices',
    )
    parser.add_argument(
        '--sources', type=command_line.some(str), default=[], help='parts to write; default: all'
    )
    parser.switch('--residual', 'write what all the written parts leave of the recording, too')
    parser.add_argument('--start', type=float, default=0.0, help='seconds to leave out')
    parser.add_argument(
        '--seconds', type=float, default=0.0, help='seconds to separate; 0: to the end'
    )
    parser.add_argument(
        '--background',
        metavar='FILE|START-END',
        default='',
        help='for models with an auxiliary network: background alone, as a file or as seconds of'
        ' each recording; default: its quietest stretch',
    )
    parser.add_argument(
        '--segment',
        type=float,
        help='seconds that are separated at once; 0: all, as memory allows; default: 8 for several'
        ' voices, else 4',
    )
    parser.add_argument(
        '--overlap', type=float, help='seconds that two of them share; default: half of each'
    )
    parser.add_argument(
        '--batch',
        type=command_line.count,
        help='of them go together; default: 8, and 1 for waveform models on a CPU',
    )
    parser.add_argument(
        '--statistics',
        choices=('window', 'file'),
        default='window',
        help="of global norms: each window's own, or those of the whole recording, which then comes"
        ' out as if it were not cut',
    )
    parser.switch(
        '--labels',
        'write where each part sounds, as Audacity labels and a Raven selection table',
    )
    parser.add_argument(
        '--page',
        type=command_line.count,
        default=0,
        alone='5',
        help='write index.html with the first so many; --page alone: with 5',
    )
    parser.add_argument(
        '--raw_rate', type=command_line.count, default=0,
        help='standard input is 16-bit samples of one channel at this rate',
    )  # fmt: skip
    parser.switch(
        '--live',
        'separate while it comes: the microphone, or with INPUT - what standard input gives; for'
        ' causal models',
    )
    parser.switch('--truncated', 'take what is there of recordings that were cut short')
    parser.switch('--overwrite', 'replace what is there')
    parser.switch('--dry_run', 'say what would be written, and write nothing')
    parser.switch('--json', 'a line of JSON a recording on standard output')
    return parser


def _check(args):
    """Holds flags against one another; returns what `engine.How` takes, and the background.

    Raises:
      MistakeError: a value that cannot be.
    """

    def need(flag, value, rule, must):
        if not rule:
            raise MistakeError(f'--{flag}={value}: must be {must}')

    how = {} if args.statistics == 'window' else {'statistics': args.statistics}
    if args.channels:
        number = args.channels.isascii() and args.channels.isdecimal()
        how['channels'] = int(args.channels) if number else args.channels
    for flag in ('segment', 'overlap', 'batch'):
        if getattr(args, flag) is not None:
            how[flag] = getattr(args, flag)
    _hold(engine.How, **how)
    if args.raw_rate:
        _hold(engine.checked_rate, 'raw_rate', args.raw_rate)
    _hold(engine.checked_span, args.start, args.seconds)
    if args.rate not in ('input', 'model'):
        rate = int(args.rate) if args.rate.isascii() and args.rate.isdecimal() else 0
        need('rate', args.rate, engine.is_rate(rate), f"'input', 'model' or {engine.RATES}")
        how['rate'] = rate
    if 'rate' in how:
        try:
            writing.check_form(args.format, rate=how['rate'], channels=1)
        except BadInput as bad:
            raise MistakeError(f'--rate={args.rate}: {bad.detail.partition(";")[0]}') from bad
    _hold(writing.check, args.format, args.bits)
    background = args.background
    if background and not os.path.isfile(background):
        span = re.fullmatch(r'(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)', background)
        need('background', background, span, 'a file that is there, or seconds as START-END')
        background = tuple(map(float, span.groups()))
        need('background', args.background, engine.is_stretch(*background), 'START before END')
    fields = {'path', 'file', 'source', 'model', 'suffix'}
    used = re.findall(r'\{(.*?)\}', args.name)
    wrong = sorted({*used} - fields) or re.search(r'[{}]', re.sub(r'\{\w+\}', '', args.name))
    need('name', args.name, not wrong, 'text with ' + ', '.join(f'{{{f}}}' for f in sorted(fields)))
    need('name', args.name, 'source' in used, "different for each part: it needs '{source}'")
    return how, background or None


def _hold(check, *args, **values):
    """Calls what raises a ValueError for arguments that are flags here."""
    try:
        check(*args, **values)
    except ValueError as error:
        raise MistakeError('--' + str(error).replace(' = ', '=', 1)) from error


def _separate_file(separator, job, args, how, background, manifest, progress):
    """Separates one recording, writes its parts; returns its manifest line and its `Written`."""
    folder, source = args.output_dir, job.source
    about, cut = None, set()
    with contextlib.suppress(OSError):  # standard input, or what is missing and will be said
        about = os.stat(source)
    with contextlib.ExitStack() as stack:
        if source == '-':
            source = stack.enter_context(_standard_input(folder, args.raw_rate, cut))
        rate = {'model': separator.sample_rate}.get(args.rate, how.get('rate', 0))
        made = separator.separate_file(
            source,
            outputs={part: os.path.join(folder, path) for part, path in job.outputs.items()},
            form=args.format,
            bits=args.bits,
            labels=args.labels,
            start=args.start,
            seconds=args.seconds,
            background=background,
            truncated=args.truncated,
            scratch=folder,
            progress=progress,
            about_to_rename=lambda: manifest.add(job, 'writing', about),
            **{**how, 'rate': rate},
        )
    made = dataclasses.replace(made, truncated=', '.join(filter(None, [made.truncated, *cut])))
    low, span = made.low_margin_seconds, made.background
    values = {
        'seconds': round(made.seconds, 3),
        'rate': made.rate,
        'channels': made.channels,
        'gain': float(f'{made.gain:.6g}'),
        'low_margin_seconds': None if math.isnan(low) else round(low, 1),
        'background': span and f'{span[0]:.2f}-{span[1]:.2f}',
        'real_time_factor': round(made.real_time_factor, 2),
        'model': f'{separator.name}, step {separator.step}',
    }
    losses = [f'truncated ({made.truncated})' if made.truncated else '', made.faint]
    status = '; '.join(filter(None, losses))
    status = f'done: {status}' if status else 'done'
    manifest.add(job, status, about, **values)
    return {'status': status, **values, 'outputs': [*made.outputs.values()]}, made


@contextlib.contextmanager
def _standard_input(folder, raw_rate, cut):
    """Standard input as a file: a recording of any form, or 16-bit samples; `cut` as in `live`."""
    from fgsep_jax.separation import live

    suffix = '.wav' if raw_rate else '.audio'
    with files.temporary(suffix, folder) as file:
        if raw_rate:
            form = dict(rate=raw_rate, channels=1, subtype='PCM_16', growing=True)
            with writing.opened(file.name, **form) as (sound, output):
                for block_T in live.samples(cut):
                    sound.write(block_T)
                    output.check()
        else:
            while data := sys.stdin.buffer.read(1 << 16):
                file.write(data)
        file.flush()
        yield file.name


class _Progress:
    """How far all recordings have come, in hours of audio (minutes, where they are less than one):
    a bar, or a line every 15 s.

    Args:
      total: seconds of audio; nan where no header says how much there is.
      quiet: whether nothing is shown.
    """

    def __init__(self, total, quiet):
        import tqdm

        self._total, self._quiet, self._done, self._bar = total, quiet, 0.0, None
        self._unit, self._name = (60, 'min') if total < 3600 else (3600, 'h')
        self._first = 0.0
        if not quiet and sys.stderr.isatty():
            is_counted = not math.isnan(total)
            form = '{l_bar}{bar}| {n:.2f}/{total:.2f} UNIT of audio [{elapsed}<{remaining}]'
            form = form if is_counted else '{n:.2f} UNIT of audio [{elapsed}]'
            self._bar = tqdm.tqdm(
                total=total / self._unit if is_counted else None,
                bar_format=form.replace('UNIT', self._name),
                leave=False,
            )

    def add(self, seconds):
        """So much more audio is done."""
        self._done += seconds
        if not self._first:  # before it the model was loaded and compiled: no speed of ours
            self._first, self._began = self._done, time.monotonic()
            self._said = self._began
        if self._bar is not None:
            self._bar.update(seconds / self._unit)
        elif not self._quiet and time.monotonic() - self._said > 15:
            self._said = time.monotonic()
            speed = (self._done - self._first) / (self._said - self._began)
            of = left = ''
            if not math.isnan(self._total):
                minutes = max(self._total - self._done, 0) / speed / 60
                of, left = f' of {self._total / self._unit:.2f}', f', {minutes:.1f} min to go'
            print(
                f'{self._done / self._unit:.2f}{of} {self._name} of audio,'
                f' {speed:.1f} times real time{left}',
                file=sys.stderr,
            )

    def say(self, text):
        """Prints a line beside the bar."""
        if self._bar is not None:
            self._bar.clear()
        print(text, file=sys.stderr)

    def close(self):
        if self._bar is not None:
            self._bar.close()


def _header(path, *, check=False, truncated=False):
    """(seconds, rate, channels) as a header says; nan seconds where it does not count them.

    Raises:
      BadInput: it cannot be opened, or with `check`, its structure is not whole, or not even
        `truncated`.
    """
    from fgsep_jax.data import audio_files

    cut = set() if truncated else None
    with audio_files.opened(path, check=check, cut=cut) as (file, _):
        frames = file.frames if file.frames < audio_files.UNKNOWN_FRAMES else math.nan
        return frames / file.samplerate, file.samplerate, file.channels


def headers_of(paths):
    """{path: (seconds, rate) as headers say} of those that can be opened and do say it."""

    headers = {}
    for path in paths:
        with contextlib.suppress(BadInput, OSError):
            headers[path] = _header(path)[:2]
    return {path: about for path, about in headers.items() if not math.isnan(about[0])}


def _dry_run(jobs, args, how):
    """Says what would be done, as far as headers say; `how` has the parts' rate (0: the input's)
    and channels. Returns the exit status."""
    folder, status = args.output_dir, 0
    for job in jobs:
        outputs = [os.path.join(folder, path) for path in job.outputs.values()]
        row = {'path': job.source, 'status': 'would be done', 'outputs': outputs}
        line = f'{job.label} -> {", ".join(map(shown, outputs))}'
        try:
            unknown = job.source == '-' or (
                job.source.lower().endswith(BY_FFMPEG) and shutil.which('ffmpeg')
            )
            seconds, rate = math.nan, 0
            if not unknown:
                seconds, rate, channels = _header(job.source, check=True, truncated=args.truncated)
                check_length(args.seconds, rate)
                if seconds <= args.start:
                    raise engine.empty(args.start)
                if args.channels.isdecimal():
                    engine.check_channel(int(args.channels), channels)
                each = channels if how['channels'] == 'each' else 1
                writing.check_form(args.format, rate=how['rate'] or rate, channels=each)
        except (BadInput, OSError) as error:
            status, reason = 1, _refusal(error)
            row = {'path': job.source, 'status': 'failed', 'reason': reason}
            line = f'{job.label}: {reason}'
        else:
            if not math.isnan(seconds):
                row |= {'seconds': round(seconds, 3), 'rate': rate}
                line = line.replace(' -> ', f' ({seconds:.1f} s, {rate} Hz) -> ', 1)
        command_line.show(json.dumps(row) if args.json else line)
    return status


def separate(words, args):
    """Separates what the command names; returns the exit status."""
    how, background = _check(args)
    if len(words) < 2 and not (args.live and words):
        raise MistakeError(
            'MODEL and INPUT are needed: a run folder, a model file or the name of a small model'
            ' that is shipped (voices, sounds); then files or folders'
        )
    if os.path.splitext(words[0])[1].lower().removeprefix('.') in inputs_lib.SUFFIXES:
        raise MistakeError(
            f'{shown(words[0])} is a recording; the model comes first, then recordings'
        )
    if args.live:
        return _live(words, args)
    model, *inputs = words
    inputs, passed = inputs_lib.listed(inputs)
    if args.raw_rate and not any(path == '-' for path, _ in inputs):
        raise MistakeError(
            f'--raw_rate={args.raw_rate}: is of standard input, and there is no - among the inputs'
        )
    command_line.quiet()
    from fgsep_jax.separation import model as model_lib

    about = model_lib.about(command_line.path(model))
    if background and not about.adapts:
        raise MistakeError(
            f'--background: {about.name} has no auxiliary network that would hear it'
        )
    if args.statistics == 'file' and not about.normalises:
        raise MistakeError(f'--statistics=file: {about.name} {model_lib.NOT_NORMALISED}')
    wrong = [part for part in args.sources if part not in about.sources]
    if wrong:
        raise MistakeError(f'--sources={wrong[0]}: this model gives {", ".join(about.sources)}')
    _hold(engine.How, **{'segment': about.segment, **how})
    parts = [part for part in about.sources if part in (args.sources or about.sources)]
    parts += [writing.RESIDUAL] if args.residual else []
    also = [background] if isinstance(background, str) else []
    jobs = inputs_lib.jobs_of(inputs, args, parts, about.name, also)
    say = (lambda text: None) if args.json else print
    if passed:
        kinds = ', '.join(f'{count} {kind}' for kind, count in passed.most_common(5))
        say(f'passed over: {kinds}')
    folder = args.output_dir

    def manifest_of(identity):
        asked = (args.start, args.seconds, args.background, args.bits, args.rate)
        usual = {'channels': about.channels, 'segment': about.segment}
        usual['overlap'] = how.get('segment', about.segment) / 2
        typed = [(flag, value) for flag, value in how.items() if usual.get(flag) != value]
        content = [identity, *asked, _stamp(background), sorted(typed, key=str)]
        settings = hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()[:16]
        return Manifest(folder, settings, args.labels, args.overwrite)

    files.check_folder(folder)
    if args.page and not args.overwrite:
        _check_page(folder)
    files.refuse_links(folder, PAGE, MANIFEST)
    for job in jobs:  # before hours of work
        beside = writing.label_paths(job.outputs) if args.labels else []
        for path in (*job.outputs.values(), *beside):
            _check_place(folder, path)
    writing_now = not args.dry_run
    with lock.held(folder, 'separation', flag='-o') if writing_now else contextlib.nullcontext():
        manifest = manifest_of(about.identity)
        if writing_now:
            _clean(folder, {os.path.dirname(path) for job in jobs for path in job.outputs.values()})
        waiting = _waiting(jobs, manifest, folder, overwrite=args.overwrite, labels=args.labels)
        if len(waiting) < len(jobs):
            say(
                f'{len(jobs) - len(waiting)} of {names.counted(len(jobs), "recording")}'
                f' {"is" if len(jobs) == len(waiting) + 1 else "are"} done already'
            )
        to_do = {id(job) for job in waiting}
        for job in [job for job in jobs if id(job) not in to_do] if args.json else ():
            outputs = [os.path.join(folder, path) for path in job.outputs.values()]
            row = {'path': job.source, 'status': 'done already', 'outputs': outputs}
            command_line.show(json.dumps(row))
        if args.dry_run:
            rate = about.sample_rate if args.rate == 'model' else 0
            return _dry_run(waiting, args, {'rate': rate, 'channels': about.channels, **how})
        status = 0
        if waiting:
            command_line.lend_caches()
            separator = model_lib.load(command_line.path(model))
            for note in separator.notes:
                say(f'note: {note}')
            if isinstance(background, str):
                _check_background(separator, background, args, how, say)
            if separator.identity != about.identity:  # the best is damaged, or there is a better
                manifest = manifest_of(separator.identity)
                look = dict(overwrite=args.overwrite, labels=args.labels)
                waiting = _waiting(jobs, manifest, folder, **look)
            step = f', step {separator.step}' if separator.step else ''  # a model from elsewhere
            say(
                f'{names.counted(len(waiting), "recording")}; {separator.name}{step},'
                f' {separator.sample_rate:,} Hz: {" + ".join(parts)}'
            )
            with stopping.finishing(manifest.leave):
                status = _all(separator, waiting, args, how, background, manifest, say)
        manifest.settle()
        if args.page:
            try:
                _page(jobs, args, about.name, say, manifest)
            except OSError as error:  # a full disk: what is done is done
                files.check_locks(folder)
                status = 1
                print(f'error: {folder}/{PAGE}: {files.why(error)}', file=sys.stderr)
    return status


def _live(words, args):
    """Separates what the microphone or standard input gives, as it comes."""
    model, *inputs = words
    if inputs not in ([], ['-']):
        raise MistakeError('--live takes the microphone (no INPUT), or standard input (-)')
    if inputs and not args.raw_rate:
        raise MistakeError('--live - needs --raw_rate=N: 16-bit samples of one channel at N Hz')
    command_line.quiet()
    from fgsep_jax.separation import live, model as model_lib

    about = model_lib.about(command_line.path(model))
    name = 'stdin' if inputs else 'live'
    paths = {s: os.path.join(args.output_dir, f'{name}_{names.part(s)}.wav') for s in about.sources}
    there = [path for path in paths.values() if os.path.lexists(path)]
    if there and not args.overwrite:
        raise MistakeError(f'{shown(there[0])} is there: give another -o, or --overwrite')
    command_line.lend_caches()
    separator = model_lib.load(command_line.path(model))
    rate, cut, lost = args.raw_rate or separator.sample_rate, set(), []
    try:
        stream = separator.stream(rate)
        with lock.held(args.output_dir, 'separation', flag='-o'):
            blocks = live.pipe(cut) if inputs else live.microphone(rate, lost)
            behind = f'{1000 * stream.latency:g} ms behind'
            end = '' if inputs else '; Ctrl-C ends it'
            print(f'{separator.name}: {", ".join(paths.values())}, {behind}{end}')
            try:
                seconds, clipped = live.separate(stream, blocks, paths, rate=rate, bits=args.bits)
            except OSError as error:
                files.check_locks(args.output_dir)
                print(f'error: {files.why(error)}', file=sys.stderr)
                return 1
    except BadInput as bad:
        print(f'{"standard input" if inputs else "microphone"}: {reason_of(bad)}', file=sys.stderr)
        return 1
    except ValueError as error:
        raise MistakeError(str(error)) from error
    for detail in cut:
        print(f'standard input: truncated ({detail})')
    if lost:
        print(f'the microphone lost samples {names.counted(len(lost), "time")}: too slow for it')
    if clipped:
        print(f'{names.counted(clipped, "sample")} of the parts clipped: --bits=float keeps them')
    print(f'{seconds:.1f} s')
    return 0


def _page(jobs, args, model, say, manifest):
    """Writes index.html with the first recordings that are done, as many as asked for."""
    from fgsep_jax.separation import page

    shown_jobs = []
    for job in jobs:
        paths = {part: os.path.join(args.output_dir, p) for part, p in job.outputs.items()}
        if manifest.says_done(job) and all(map(os.path.isfile, paths.values())):
            source = '' if job.source == '-' else job.source
            shown_jobs.append((job.label, source, paths, args.start))
    if shown_jobs:
        path = os.path.join(args.output_dir, PAGE)
        files.write({path: page.render(shown_jobs[: args.page], model=model, say=say)})
        say(f'listen: {path}')
        if len(shown_jobs) > args.page:
            say(f'(the first {args.page} of {len(shown_jobs)}; --page={len(shown_jobs)} shows all)')


def _check_page(folder):
    """Raises MistakeError where a page is in the way that this command did not write."""
    from fgsep_jax.separation import page

    path = os.path.join(folder, PAGE)
    if not os.path.lexists(path):
        return
    content = files.read_bytes(path, MistakeError, most=4 << 30)
    if not page.is_ours(content[:1000].decode(errors='replace')):
        raise MistakeError(
            f'{shown(path)} is there, and not from this command: another -o, or --overwrite'
        )


def _check_background(separator, path, args, how, say):
    """Raises MistakeError where a file of background alone cannot be heard; says if it is short."""
    channels = how.get('channels', separator.how.channels)
    cut = set() if args.truncated else None
    try:
        heard = separator.hear(path, channels, folder=args.output_dir, cut=cut)
    except BadInput as bad:
        raise MistakeError(f'--background: {bad.detail}') from bad
    seconds = sum(map(len, heard.blocks())) / heard.rate
    if note := engine.little(seconds, separator.network.adaptation_seconds):
        say(f'note: {note}')


def _stamp(background):
    """What tells a file of background alone from what it was before; None of seconds."""
    if not isinstance(background, str):
        return None
    about = os.stat(background)
    return about.st_size, about.st_mtime_ns


def _check_place(folder, path):
    """Raises OSError where something is, or will be, in the way of a part, or of labels."""
    place, first = os.path.join(folder, path), path.partition(os.sep)[0]
    if names.folded(first) in (MANIFEST, PAGE, lock.NAME):
        raise OSError(f'{shown(place)}: {first} is a file that this command writes: another --name')
    files.refuse_links(*os.path.split(place))
    if os.path.exists(place) and not os.path.isfile(place):
        raise OSError(errno.EEXIST, 'is there, and is no file to replace: move it away', place)
    files.check_folder(os.path.dirname(place))


def _clean(folder, below):
    """Removes what killed processes left half written, wherever no other one is at work."""
    top = pathlib.Path(os.path.abspath(folder))
    if any(map(lock.holder, top.parents)):  # its parts may lie here, too
        return
    for path in {top, *(top / name for name in below)}:
        between = [
            place for place in (path, *path.parents) if place.is_relative_to(top) and place != top
        ]
        if not any(map(lock.holder, between)):
            files.clean(path)


def _waiting(jobs, manifest, folder, *, overwrite, labels):
    """Jobs that are to be done.

    Raises:
      MistakeError: files of others, of other recordings or settings, have the names of their parts.
    """

    waiting = []
    for job in jobs:
        beside = writing.label_paths(job.outputs) if labels else []
        if not overwrite and manifest.is_done(job, folder, beside):
            continue
        foreign = manifest.changed(job) if manifest.is_ours(job) else [*job.outputs.values()]
        foreign += [] if manifest.is_ours(job, labels=True) else beside
        there = [path for path in foreign if os.path.lexists(os.path.join(folder, path))]
        if there and not overwrite:
            whose = manifest.whose(there[0], job)
            raise MistakeError(f'{shown(os.path.join(folder, there[0]))} is there, {whose}')
        waiting.append(job)
    return waiting


def _all(separator, jobs, args, how, background, manifest, say):

    headers = headers_of([job.source for job in jobs if job.source != '-'])
    lengths = [headers.get(job.source, (math.nan, 0))[0] for job in jobs if job.source != '-']
    said = {rate for _, rate in headers.values()}
    if note := deaf_note(separator, said):
        say(f'note: {note}')
    most = args.seconds or math.inf
    lengths = [max(min(length - args.start, most), 0.0) for length in lengths]
    if 'batch' in how and len(lengths) == len(jobs) and math.isfinite(sum(lengths)):
        cut = engine.How(**{'segment': separator.how.segment, **how})
        how = {**how, 'batch': min(cut.batch, engine.windows_in(max(lengths), cut))}
    progress = _Progress(sum(lengths, 0.0 if lengths else math.nan), args.json)
    failed = truncated = 0
    for job in jobs:
        try:
            row, made = _separate_file(
                separator, job, args, how, background, manifest, progress.add
            )
        except (BadInput, OSError) as error:
            files.check_locks(args.output_dir)  # without it, no recording is at fault
            reason = _refusal(error)
            failed += 1
            progress.say(f'{job.label}: {reason}')
            with contextlib.suppress(OSError):
                manifest.add(job, f'failed: {reason}')
            row = {'status': 'failed', 'reason': reason}
        else:
            truncated += bool(made.truncated)
            for note in made.notes():
                say(f'{job.label}: {note}')
            if note := deaf_note(separator, {made.native_rate} - said):  # of no header
                said.add(made.native_rate)
                say(f'note: {note}')
        if args.json:
            command_line.show(json.dumps({'path': job.source, **row}))
    progress.close()
    which = f' ({os.path.join(args.output_dir, MANIFEST)} says why)' if failed else ''
    done = f'{len(jobs) - failed} done' + (f', {truncated} of them truncated' if truncated else '')
    say(f'{done}, {failed} failed{which}; {args.output_dir}')
    return 1 if failed else 0


def deaf_note(separator, rates):
    """A sentence where recordings of some rates hold what a model does not hear; else ''."""
    high = sorted({rate for rate in rates if rate > separator.sample_rate})
    if not high:
        return ''
    rest = ', what is above stays in the background' if separator.network.rest else ''
    return (
        f'recordings at {", ".join(f"{rate:,}" for rate in high)} Hz; the model hears up to'
        f' {separator.sample_rate // 2:,} Hz{rest}'
    )


def _refusal(error):
    """Why a recording was not separated, and the flag that would have it."""
    reason = reason_of(error)
    if isinstance(error, BadInput):
        keywords = r'\b(rate|channels|batch|segment|seconds)='  # of the library's
        reason = re.sub(keywords, r'--\1=', reason)
        reason += '; --truncated takes what is there' if error.kind == 'truncated' else ''
    return reason


def reason_of(error):
    """A BadInput or OSError in words."""
    if isinstance(error, OSError):
        return shown(f'{error.filename}: {error.strerror}' if error.filename else str(error))
    return shown(f'{error.kind} ({error.detail})' if error.detail else error.kind)


def main(argv=None):
    """Runs the program.

    Args:
      argv: the command line; None for this process's.

    Raises:
      SystemExit: status 1 where some recordings failed, 2 for a mistake.
    """
    parser = _parser()
    args, words = parser.parse(argv)
    try:
        if args.live:
            other = sorted(set(parser.given()) - LIVE)
            if other:
                raise MistakeError(f'--{other[0]}: not with --live, whose parts are wav files')
        status = separate(words, args)
    except (config_lib.ConfigError, command_line.FlagError, OSError) as error:
        raise command_line.refusal(error) from error
    if status:
        raise SystemExit(status)


if __name__ == '__main__':
    stopping.run(main)
