"""Reads audio files as they are found: whole, or named for what is wrong with them.

Whatever libsndfile reads is read, in blocks; how long a file says it is and how long it is must
agree. What it does not read (m4a, video) ffmpeg decodes into a temporary file, where installed.
"""

from collections.abc import Iterator
import contextlib
import dataclasses
import errno
import hashlib
import io
import math
import os
import re
import shutil
import signal
import stat
import subprocess
import tempfile
from typing import Any, BinaryIO

import numpy as np
import soundfile

from fgsep_jax import buckets, files, streams
from fgsep_jax.data import containers
from fgsep_jax.names import counted, shown

_BLOCK = 1 << 18  # samples decoded at a time
# ffmpeg's names of forms that hold sound themselves, not the names of other files.
_CONTAINERS = (
    'aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dts,eac3,flac,flv,mov,mp4,m4a,3gp,3g2,mj2,'
    'matroska,webm,mp3,mpeg,mpegts,ogg,tta,w64,wav,wv'
)
UNKNOWN_FRAMES = 1 << 62  # libsndfile gives about 2^63 where the header says nothing
STOPPED = 'the machine cannot read on'
_OF_THE_MACHINE = (*buckets.FULL, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
# By these a program ends itself, over what it reads; by any other it is ended.
_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)
_SYSTEM = 2  # libsndfile's number of an error that is the system's


class BadInput(Exception):
    """A file (or mixture) that must not enter the data.

    Attributes:
        kind: short name it is counted under.
        detail: what was found.
        path: of the file, where nobody else says it.
    """

    def __init__(self, kind: str, detail: str = ''):
        super().__init__(kind, detail)
        self.kind, self.detail, self.path = kind, detail, ''

    def __str__(self):
        said = f'{self.kind} ({self.detail})' if self.detail else self.kind
        return f'{shown(self.path)}: {said}' if self.path else said


class StoppedError(OSError):
    """No file can be read: the disk, the memory or the network fails, and no file is at fault."""


def of_the_machine(error: BaseException) -> StoppedError | None:
    """What to raise in place of an error that says nothing of the file that was read; else None."""
    if isinstance(error, (MemoryError, buckets.Unreachable)) or (
        isinstance(error, OSError) and error.errno in _OF_THE_MACHINE
    ):
        said = os.strerror(errno.ENOMEM) if isinstance(error, MemoryError) else files.why(error)
        return StoppedError(f'{STOPPED}: {said}')
    return None


# What libmpg123, by which libsndfile decodes MPEG audio, prints by itself, of whole files, too.
_OF_MPG123 = re.compile(
    rb'^(?:\[[^]\s]+\.c:[^]\n]*\] (?:error|warning): |Warning: Xing |Note: |Trying to resync'
    rb'|Skipped \d+ bytes).*\n?',
    re.MULTILINE,
)


class _Stream(soundfile.SoundFile):
    """A sound file that is read block by block: some codecs cannot seek, some lengths are lies."""

    def __init__(self, file: Any):
        with streams.error_without(_OF_MPG123):
            try:
                super().__init__(file)
            except soundfile.LibsndfileError as error:
                if error.code == _SYSTEM and isinstance(file, bytes):
                    os.close(os.open(file, os.O_RDONLY))  # which says what the system said
                raise

    def read(self, *args, **how) -> np.ndarray:
        """As soundfile's."""
        if not self.subtype.startswith('MPEG'):
            return super().read(*args, **how)
        with streams.error_without(_OF_MPG123):
            return super().read(*args, **how)

    def seekable(self) -> bool:
        return False


def _bytes_of(path: str) -> tuple[BinaryIO, int]:
    """The file, open, and how many bytes it has.

    Raises:
        BadInput: if it is none: a pipe, a device, a folder, or a link to nothing.
        StoppedError: see `of_the_machine`.
    """
    if buckets.is_url(path):
        contents = buckets.read(path)
        return io.BytesIO(contents), len(contents)
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            kind = 'folder' if stat.S_ISDIR(status.st_mode) else 'pipe or device'
            if kind == 'folder':
                os.scandir(path).close()  # one that may not be entered says so
            raise BadInput('not a file', f'a {kind}')
        return open(path, 'rb'), status.st_size
    except OSError as error:
        if stopped := of_the_machine(error):
            raise stopped from error
        broken = os.path.islink(path)
        kinds: dict[int | None, str] = {
            errno.ENOENT: 'broken link' if broken else 'missing',
            errno.ELOOP: 'broken link',
            errno.EACCES: 'not permitted',
            errno.EPERM: 'not permitted',
        }
        kind = kinds.get(error.errno, 'unreadable')
        raise BadInput(kind, files.why(error)) from error


def _refuse(kind: str, detail: str, cut: set[str] | None) -> None:
    if cut is None or kind != 'truncated':
        raise BadInput(kind, detail)
    cut.add(detail)


def _without_fault(length: containers.Length, cut: set[str] | None) -> containers.Length:
    if not length.fault:
        return length
    _refuse(length.fault, length.detail, cut)
    return containers.Length(declared=False)


@contextlib.contextmanager
def opened(
    path: str, *, check: bool = True, endless: bool = False, cut: set[str] | None = None
) -> Iterator[tuple[_Stream, containers.Length]]:
    """(sound file, what its structure says); whatever a decoder does is a `BadInput`, and what the
    machine does a `StoppedError`.

    Args:
        path: of the file.
        check: whether its structure is looked through first.
        endless: decode a FLAC to its end, whatever its header says.
        cut: of a truncated file what is there is taken, and what was found is added here; None: it
            is refused.
    """
    try:
        raw, size = _bytes_of(path)
        with raw:
            length = containers.length(raw, size) if check else containers.Length()
            length = _without_fault(length, cut)
            if check and containers.is_for_ffmpeg(raw):
                raise BadInput('unreadable', 'it is for ffmpeg, and not called so, e.g. .m4a')
            source = raw if '://' in path else os.fsencode(path)
            if endless and containers.is_flac(raw):
                source = containers.endless_flac(raw)
            elif rewritten := containers.whole(raw, size):
                source = rewritten
            raw.seek(0)
            with _Stream(source) as file:
                if check and file.format == 'MP3' and length.samples is None:
                    # By the suffix .mp3 it looks for the first frame behind anything.
                    length = _without_fault(containers.mpeg(raw, size), cut)
                yield file, length
    except (BadInput, StoppedError):
        raise
    except Exception as error:  # soundfile's, its wrapper's, NumPy's: none may end the job
        raise _unreadable(error) from error


def by_ffmpeg(path: str, target: str, *, whole: bool = False) -> None:
    """Decodes the first sound of a local file into a WAV file (RF64 where it is long), in float32.

    Args:
        path: of the file.
        target: of the WAV file; replaced.
        whole: whether all that ffmpeg says against the file refuses it.

    Raises:
        BadInput: ffmpeg is not installed, or does not read the file.
        StoppedError: the disk that `target` is on is full, or ffmpeg was killed.
    """
    program = shutil.which('ffmpeg')
    if program is None:
        raise BadInput(
            'needs ffmpeg', 'libsndfile does not read it: install ffmpeg, or convert it to wav'
        )
    source = os.path.abspath(path)  # no option, and no protocol, whatever it is called
    command = [program, '-nostdin', '-v', 'error', '-y', *(['-xerror'] if whole else [])]
    command += ['-format_whitelist', _CONTAINERS, '-i', f'file:{source}', '-map', '0:a:0']
    # Not W64, whose floats, as ffmpeg marks them, libsndfile takes for whole numbers.
    command += ['-c:a', 'pcm_f32le', '-f', 'wav', '-rf64', 'auto', target]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except OSError as error:
        if stopped := of_the_machine(error):
            raise stopped from error
        raise
    lines = done.stderr.decode(errors='replace').strip().splitlines()
    _check_ended(done.returncode, lines, path, target)
    if done.returncode and any('matches no streams' in line for line in lines):
        raise BadInput('unreadable', 'no sound in it')
    if done.returncode or (whole and lines):
        reason = lines[-1].replace(f'file:{source}: ', '') if lines else 'no reason given'
        raise BadInput('unreadable', f'neither libsndfile nor ffmpeg reads it: {shown(reason)}')


def _check_ended(status: int, lines: list[str], path: str, target: str) -> None:
    """Raises StoppedError where it is the machine by which ffmpeg failed."""
    if status < 0 and -status not in _CRASHES:
        name = shown(os.path.basename(path))
        raise StoppedError(
            f'{STOPPED}: ffmpeg was killed (signal {-status}; for want of memory?) at {name}'
        )
    # Not of memory, which ffmpeg says of damaged sizes, too.
    for said in (os.strerror(number) for number in _OF_THE_MACHINE if number != errno.ENOMEM):
        if any(line.endswith(said) for line in lines):
            folder = os.path.dirname(target)
            if folder == tempfile.gettempdir():
                folder = f'{buckets.temporary()}, for temporary files (TMPDIR names another)'
            raise StoppedError(f'{STOPPED}: {said} in {folder}')


@contextlib.contextmanager
def for_libsndfile(path: str) -> Iterator[str]:
    """A path that libsndfile reads: the file's own or, of one for ffmpeg by its contents or its
    suffix (`containers.is_for_ffmpeg`), that of a temporary file with its sound.

    Raises:
        BadInput: whatever is wrong with the file.
        StoppedError: see `by_ffmpeg`.
    """
    if '://' in path:
        if path.lower().endswith(containers.BY_FFMPEG):
            raise BadInput('needs ffmpeg', 'which reads local files: copy it here, or convert it')
        yield path
        return
    raw, size = _bytes_of(path)
    with raw:
        for_ffmpeg = containers.is_for_ffmpeg(raw, path)
        if for_ffmpeg:
            _without_fault(containers.length(raw, size), None)
    if not for_ffmpeg:
        yield path
        return
    with files.temporary('.wav') as target:
        by_ffmpeg(path, target.name, whole=True)
        yield target.name


# Words of libsndfile and its wrapper that mislead: what they mean of a file that could be opened.
_MEANT = {
    'File does not exist or is not a regular file (possibly a pipe?).': 'no MP3 frame is in it: '
    'another form under this name, or damaged',
    'samplerate must be specified': 'samples without a header, of unknown rate: convert it to wav',
}


def _unreadable(error: Exception) -> BadInput | StoppedError:
    if stopped := of_the_machine(error):
        return stopped
    # libsndfile's own words; soundfile puts the path before them, as Python writes bytes.
    said = getattr(error, 'error_string', '')
    said = shown(said) if said else files.why(error)
    return BadInput('unreadable', _MEANT.get(said, said))


def blocks(file: _Stream, frames: int | None = None) -> Iterator[np.ndarray]:
    """float32 [frames, channels] blocks of the file, from where it stands to its end or `frames`
    on; what was decoded before an error comes before it is raised."""
    left = math.inf if frames is None else frames
    while left > 0:
        wanted = int(min(left, max(_BLOCK // file.channels, 1)))
        block_TC = np.full((wanted, file.channels), np.nan, np.float32)
        try:
            block_TC = file.read(out=block_TC)
        except Exception as error:
            is_missing_T = np.isnan(block_TC[:, -1])
            if there := int(np.argmax(is_missing_T)) if is_missing_T.any() else wanted:
                yield block_TC[:there]
            raise _unreadable(error) from error
        if block_TC.size:
            yield block_TC
        left -= wanted
        if len(block_TC) < wanted:
            return


def can_seek(file: _Stream) -> bool:
    """Whether seeking gives the very samples that decoding from the start would give."""
    plain = file.subtype.startswith(('PCM_', 'FLOAT', 'DOUBLE', 'ULAW', 'ALAW'))
    return plain and file.format != 'SDS' and file.frames < UNKNOWN_FRAMES


@dataclasses.dataclass(frozen=True)
class Sound:
    """An open audio file.

    Attributes:
        rate: in hertz.
        channels: of each block.
        declared: whether the file says its own length.
        subtype: libsndfile's name of its sample format.
        blocks: float32 [frames, channels], once; whatever is wrong is raised as `BadInput`, at the
            latest at their end.
    """

    rate: int
    channels: int
    declared: bool
    subtype: str
    blocks: Iterator[np.ndarray]


@contextlib.contextmanager
def decoded(path: str, cut: set[str] | None = None) -> Iterator[Sound]:
    """A file that is decoded from its start to its end, and must be as long as it says.

    Args:
        path: of the file.
        cut: see `opened`.
    Raises:
        BadInput: whatever is wrong with the file.
    """
    of_the_caller = None
    with opened(path, endless=True, cut=cut) as (file, length):
        try:
            yield Sound(
                rate=file.samplerate,
                channels=file.channels,
                declared=length.declared,
                subtype=file.subtype,
                blocks=_checked(file, length, cut),
            )
        except Exception as error:  # says nothing about the file, unless it is a BadInput
            of_the_caller = error
    if of_the_caller is not None:
        raise of_the_caller


def _checked(
    file: _Stream, length: containers.Length, cut: set[str] | None = None
) -> Iterator[np.ndarray]:
    promised = length.samples
    # Of MPEG audio libsndfile estimates it where nothing counts its frames.
    if promised is None and file.frames < UNKNOWN_FRAMES and file.format != 'MP3':
        promised = file.frames
    # In a WAV, too, it estimates it, but its header says where the frames end.
    tolerance = length.tolerance or (4 * 1152 if file.subtype.startswith('MPEG') else 0)
    exact = promised is not None and not tolerance
    decoded, digest = 0, hashlib.md5(usedforsecurity=False)
    try:
        for block_TC in blocks(file, promised if exact else None):
            decoded += len(block_TC)
            if length.md5:
                digest.update(_as_coded(block_TC, file.subtype))
            yield block_TC
    except BadInput:  # of a FLAC: damaged within, or cut within a frame
        if not (file.format == 'FLAC' and isinstance(file.name, containers.Rewritten) and decoded):
            raise
        if containers.flac_goes_on(file.name, decoded):
            raise BadInput(
                'damaged', f'its frame behind {counted(decoded, "sample")} cannot be decoded'
            ) from None
        header = f', its header counts {promised:,}' if promised is not None else ''
        detail = f'{counted(decoded, "sample")} before its last frame, which is cut{header}'
        _refuse('truncated', detail, cut)
        return
    if exact and decoded == promised:
        with contextlib.suppress(Exception):  # what no decoder takes for sound is none
            decoded += len(file.read(1, dtype='float32', always_2d=True))
    if promised is not None and tolerance and abs(decoded - promised) > tolerance:
        # libsndfile guessed at how many frames there are, or some lie behind a hole.
        detail = (
            f'the decoder gives {counted(decoded, "sample")}, its frames or header count {promised}'
        )
        raise BadInput('unreadable', detail)
    if promised is not None and not tolerance and decoded != promised:
        kind = 'truncated' if decoded < promised else 'longer than its header'
        there = counted(min(decoded, promised), 'sample')
        there = f'more than {there}' if decoded > promised else there
        _refuse(kind, f'{there}, its header counts {promised:,}', cut)
    elif length.md5 and digest.digest() != length.md5:
        # Whole frames are missing, for which the decoder gives silence, or changed places.
        raise BadInput('damaged', 'its samples are not those that its header has the MD5 of')


def _as_coded(block_TC: np.ndarray, subtype: str) -> bytes:
    """Samples as the whole numbers that a FLAC's MD5 is of, little-endian."""
    size, kind = {'PCM_S8': (1, 'i1'), 'PCM_16': (2, '<i2')}.get(subtype, (3, '<i4'))
    whole_TC = (block_TC * np.float32(1 << 8 * size - 1)).astype(kind)  # float32 holds them exactly
    if size < 3:
        return whole_TC.tobytes()
    return whole_TC.view(np.uint8).reshape(*whole_TC.shape, 4)[..., :size].tobytes()
