"""How long an audio file says it is, in its own header, against how long it is.

libsndfile believes a header that counts too little, and reads what is left of most files that
were cut. So the length is checked here, format by format, before and beside the decoding.
"""

from collections.abc import Callable, Iterator
import dataclasses
import re
import struct
from typing import Any, BinaryIO, Literal
import zlib

# Of files whose sound libsndfile does not read and ffmpeg does.
BY_FFMPEG = (
    '.m4a', '.m4b', '.mp4', '.m4v', '.mov', '.3gp', '.aac', '.ac3', '.amr', '.wma',
    '.mkv', '.mka', '.webm', '.avi',
)  # fmt: skip
# Writers to a pipe do not know the length: they leave 0, or what stands for it, in whole frames.
# sox and eSpeak write the first one (of AIFF sox the second), arecord the next two, lame the fifth.
_MARKS = (0x7FFFF000, 0x7F000000, 0x80000000, 0x7FFFFF00, 0x7FFFFFFF, 0xFFFFFFFF)
_ALL_ONES = 0xFFFFFFFF
_LONG = 0x7FFFF000  # bytes of a whole file, from which on such a mark may be in its count
_TAGS = (b'APETAGEX', b'LYRICSBEGIN', b'ID3', b'3DI')  # that players append
_W64 = bytes.fromhex('f3acd3118cd100c04f8edb8a')  # ends the names of a W64's chunks


@dataclasses.dataclass(frozen=True)
class Length:
    """What a file's structure tells.

    Attributes:
        fault: `truncated`, `longer than its header`, `damaged` or `empty`; empty if there is none.
        detail: what was found.
        declared: whether the file says how long it is.
        samples: that the decoder must give; None: as many as it says itself.
        tolerance: of `samples`.
        md5: of all samples as whole numbers of their subtype's size; empty where none is told.
    """

    fault: str = ''
    detail: str = ''
    declared: bool = True
    samples: int | None = None
    tolerance: int = 0
    md5: bytes = b''


_UNDECLARED = Length(declared=False)


def length(file: BinaryIO, size: int) -> Length:
    """Look through the structure of a file of `size` bytes.

    Args:
        file: seekable, at any position.
        size: in bytes.
    """
    if not size:
        return Length('empty', '0 bytes')
    if look := _of_libsndfile(file) or _of_ffmpeg(file):
        return look(file, size)
    end, padding = _rare(file, size, _read(file, 0, 16))
    if end > size:
        return Length('truncated', f'{size} bytes of the {end} that its header promises')
    if end and not _nothing_follows(file, end + padding, size):
        return Length('longer than its header', f'{size - end} bytes behind its sound')
    return Length() if end else _UNDECLARED


def is_for_ffmpeg(file: BinaryIO, name: str = '') -> bool:
    """Whether ffmpeg is to read a file, by its first bytes, or else by its name."""
    by_name = name.lower().endswith(BY_FFMPEG) and not _of_libsndfile(file)
    return by_name or _of_ffmpeg(file) is not None


def _of_libsndfile(file: BinaryIO) -> Callable[[BinaryIO, int], Length] | None:
    """What looks through a file of one of libsndfile's usual forms; None of any other."""
    start = _id3_bytes(file)
    head = _read(file, start, 16)
    if head[:4] == b'fLaC':
        return _flac
    if _mpeg_frame(head):
        return mpeg
    if start:  # no tag stands before any other form
        return None
    if head[:4] in (b'RIFF', b'RIFX', b'RF64', b'BW64') and head[8:12] == b'WAVE':
        return _riff
    if head[:4] == b'riff' and head[4:16] == bytes.fromhex('2e91cf11a5d628db04c10000'):
        return _w64
    if head[:7] == b'NIST_1A':
        return _nist
    forms = {b'FORM': _form, b'caff': _caf, b'.snd': _au, b'dns.': _au, b'OggS': _ogg}
    return forms.get(head[:4])


def _of_ffmpeg(file: BinaryIO) -> Callable[[BinaryIO, int], Length] | None:
    """As `_of_libsndfile`, of forms that ffmpeg reads: cut ones without a word, and libsndfile,
    where they are called .mp3, as noise."""
    head = _read(file, 0, 16)
    if head[4:8] in _BOXES:
        return _boxes
    if head[:4] == b'RIFF' and head[8:12] == b'AVI ':
        return _avi
    if head == _ASF:
        return _asf
    adts = int.from_bytes(_read(file, _id3_bytes(file), 2), 'big') & 0xFFF6 == 0xFFF0
    return (lambda file, size: _UNDECLARED) if adts else None


def is_flac(file: BinaryIO) -> bool:
    """Whether the file is a native FLAC."""
    return _read(file, _id3_bytes(file), 4) == b'fLaC'


# Boxes that a file ends with, or goes on with.
_BOXES = {b'ftyp', b'moov', b'mdat', b'moof', b'mfra', b'sidx', b'styp', b'free', b'skip', b'wide'}
_ASF = bytes.fromhex('3026b2758e66cf11a6d900aa0062ce6c')
_ASF_PROPERTIES = bytes.fromhex('a1dcab8c47a9cf118ee400c00c205365')


def _read(file: BinaryIO, at: int, count: int) -> bytes:
    file.seek(at)
    return file.read(count)


def _id3_bytes(file: BinaryIO, at: int = 0) -> int:
    """Where the ID3v2 tags end that stand at byte `at`, before the sound."""
    while (head := _read(file, at, 10))[:3] == b'ID3' and len(head) == 10:
        at += 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0)))
        at += 10 if head[5] & 0x10 else 0
    return at


def _nothing_follows(file: BinaryIO, at: int, size: int) -> bool:
    """Whether from `at` on there is nothing that could be sound: the end, zeros or a tag."""
    head = _read(file, at, 16)
    if len(head) <= 1 or head.startswith(_TAGS) or (head[:3] == b'TAG' and at + 128 >= size):
        return True
    file.seek(at)
    while block := file.read(1 << 20):
        if block.strip(b'\0'):
            return False
    return True


def _compare(file: BinaryIO, size: int, first: int, promised: int) -> Length:
    """Sound of `promised` bytes begins at `first`; what follows it is no sound."""
    if first + promised > size:
        there = max(size - first, 0)
        return Length('truncated', f'{there} bytes of the {promised} that its header promises')
    if not _nothing_follows(file, first + promised, size):
        more = size - first - promised
        return Length(
            'longer than its header', f'{more} bytes after the {promised} that its header counts'
        )
    return Length()


def _chunks(
    file: BinaryIO, at: int, size: int, *, order: Literal['little', 'big'], wide: int = 4
) -> Iterator[tuple[bytes, int, int]]:
    """(name, first byte, bytes) of each chunk, as long as what follows looks like one."""
    while at + 4 + wide <= size:
        head = _read(file, at, 4 + wide)
        name, count = head[:4], int.from_bytes(head[4:], order)
        if not re.fullmatch(rb'[ -~]{4}', name) or name in (b'RIFF', b'FORM'):
            return
        yield name, at + 4 + wide, count
        at += 4 + wide + count + (count & 1 if wide == 4 else 0)


def _only_chunks(file: BinaryIO, at: int, size: int, **form) -> bool:
    """Whether everything from `at` on is chunks, zeros or a tag."""
    end = at
    for _, first, count in _chunks(file, at, size, **form):
        end = first + count
        if end > size:
            return False
    return _nothing_follows(file, end + (end & 1), size) or _nothing_follows(file, end, size)


def _data_chunk(
    file: BinaryIO, size: int, first: int, count: int, *, unknown: bool, **form
) -> Length:
    """A chunk of sound: whole, followed by chunks alone; or of unknown length, up to the end."""
    after = [first + count + (count & 1), first + count]  # some writers leave the padding out
    if unknown:
        if count == 0 and size > first and _only_chunks(file, first, size, **form):
            return Length('empty', 'no samples')
        return _UNDECLARED
    if first + count <= size and any(_only_chunks(file, at, size, **form) for at in after):
        return Length()
    return _compare(file, size, first, count)


def _is_unknown(count: int, *, frame: int, whole: int) -> bool:
    """Whether a count of bytes of sound tells that it was not known.

    Args:
        count: as the header has it.
        frame: bytes of one; the count may be even where that is odd.
        whole: the count of all of the file.
    """
    marked = any(mark - frame < count <= mark + 1 for mark in _MARKS)
    return count == 0 or marked or (whole == _ALL_ONES and count >= _LONG)


def _riff(file: BinaryIO, size: int) -> Length:
    head = _read(file, 0, 8)
    order = 'big' if head[:4] == b'RIFX' else 'little'
    whole = int.from_bytes(head[4:8], order)
    promised, wide_data, frame = whole + 8, None, 1
    found = None
    for name, first, count in _chunks(file, 12, size, order=order):
        if name == b'ds64':
            promised, wide_data = struct.unpack('<QQ', _read(file, first, 16))
            promised = promised + 8 if _is_wide(promised) else 0
        elif name == b'fmt ':
            frame = max(int.from_bytes(_read(file, first + 12, 2), order), 1)
        elif name == b'data':
            # 0 in a file that was never closed; libsndfile then reads up to the end.
            unknown = _is_unknown(count, frame=frame, whole=whole)
            if wide_data is not None and count == _ALL_ONES:
                count, unknown = wide_data, not _is_wide(wide_data)
            found = _data_chunk(file, size, first, count, unknown=unknown, order=order)
            break
    limit = (1 << 63) if wide_data is not None else _LONG
    # Some count the last chunk's padding byte and do not write it.
    if (found is None or not found.fault) and size + 1 < promised < limit:
        return Length('truncated', f'{size} bytes of the {promised} that its header promises')
    return found or Length()


def _is_wide(count: int) -> bool:
    """Whether a ds64 counts bytes: ffmpeg leaves 0 there in a pipe, others ones."""
    return 0 < count < 1 << 62 and count != _ALL_ONES


def _form(file: BinaryIO, size: int) -> Length:
    """AIFF, AIFC, 8SVX: big-endian chunks; the sound is SSND or BODY."""
    head = _read(file, 0, 12)
    whole = int.from_bytes(head[4:8], 'big')
    promised, frames, bytes_a_frame = whole + 8, None, 0
    found = Length()
    for name, first, count in _chunks(file, 12, size, order='big'):
        if name == b'COMM':
            comm = _read(file, first, 22)
            channels, frames, bits = struct.unpack('>HIH', comm[:8])
            # Compressed forms count packets.
            plain = head[8:12] == b'AIFF' or comm[18:] in (b'NONE', b'sowt', b'twos', b'raw ')
            bytes_a_frame = channels * -(-bits // 8) if plain else 0
        elif name in (b'SSND', b'BODY'):
            sound = count - 8 if name == b'SSND' and count else count
            unknown = count != 8 and _is_unknown(sound, frame=max(bytes_a_frame, 1), whole=whole)
            found = _data_chunk(file, size, first, count, unknown=unknown, order='big')
            if unknown and count:  # and so is the whole
                return found
            if not found.fault and found.declared and name == b'SSND' and bytes_a_frame and frames:
                counted = frames * bytes_a_frame
                if abs(sound - counted) > max(1, bytes_a_frame - 1):
                    kind = 'truncated' if sound < counted else 'longer than its header'
                    found = Length(kind, f'{sound} bytes of sound, its header counts {counted}')
            break
    if not found.fault and size + 1 < promised < _LONG:
        return Length('truncated', f'{size} bytes of the {promised} that its header promises')
    return found


def _w64(file: BinaryIO, size: int) -> Length:
    at = 40
    while at + 24 <= size:
        head = _read(file, at, 24)
        count = int.from_bytes(head[16:], 'little')
        if head[4:16] != _W64 or count < 24:
            break
        extensible = head[:4] == b'fmt ' and _read(file, at + 24, 2) == b'\xfe\xff'
        if extensible and _read(file, at + 48, 2) == b'\3\0':
            return Length(
                'unreadable',
                'float samples, marked so that libsndfile takes them for whole numbers: convert'
                ' it to wav',
            )
        if head[:4] == b'data':
            if count >= 1 << 62:
                return _UNDECLARED
            after = at + -(-count // 8) * 8
            if after + 24 <= size and _read(file, after + 4, 12) == _W64:
                return Length()
            found = _compare(file, size, at + 24, count - 24)
            padded = found.fault == 'longer than its header' and after >= size
            return Length() if padded else found
        at += -(-count // 8) * 8
    return _UNDECLARED


def _caf(file: BinaryIO, size: int) -> Length:
    form = {'order': 'big', 'wide': 8}
    for name, first, count in _chunks(file, 8, size, **form):
        if name == b'data':
            return _data_chunk(file, size, first, count, unknown=count >= 1 << 63, **form)
    return _UNDECLARED


def _au(file: BinaryIO, size: int) -> Length:
    head = _read(file, 0, 12)
    order = 'big' if head[:4] == b'.snd' else 'little'
    first, promised = (int.from_bytes(head[at : at + 4], order) for at in (4, 8))
    return _UNDECLARED if promised == _ALL_ONES else _compare(file, size, first, promised)


def _boxes(file: BinaryIO, size: int) -> Length:
    """MPEG-4, QuickTime, 3GPP: boxes to the end; behind the last one whatever players append."""
    at, seen = 0, set()
    while at + 8 <= size:
        head = _read(file, at, 16)
        name, count = head[4:8], int.from_bytes(head[:4], 'big')
        if count == 1:
            count = int.from_bytes(head[8:], 'big')
        if not count and name in _BOXES:  # to the end
            return _UNDECLARED
        if count < 8 or (name not in _BOXES and at + count > size):
            break
        if at + count > size:
            return Length('truncated', f'its part {name.decode()} at byte {at} is cut')
        seen.add(name)
        at += count
    if seen >= {b'moov', b'mdat'} or _nothing_follows(file, at, size):
        return Length()
    return Length('damaged', f'no part of it begins at byte {at}, where one must follow')


def _asf(file: BinaryIO, size: int) -> Length:
    """ASF (wma): its header has the size of the file, but of one that was made as it was sent."""
    count, at = int.from_bytes(_read(file, 24, 4), 'little'), 30
    for _ in range(min(count, 100)):
        head = _read(file, at, 92)
        # The flags of a broadcast say that its size is unknown.
        if head[:16] == _ASF_PROPERTIES and len(head) > 88 and not head[88] & 1:
            promised = int.from_bytes(head[40:48], 'little')
            if promised > size:
                return Length(
                    'truncated', f'{size} bytes of the {promised} that its header promises'
                )
        at += max(int.from_bytes(head[16:24], 'little'), 24)
    return Length()


def _avi(file: BinaryIO, size: int) -> Length:
    """Lists of chunks; a long file is several."""
    at = 0
    while _read(file, at, 4) == b'RIFF':
        count = int.from_bytes(_read(file, at + 4, 4), 'little')
        if count in (0, _ALL_ONES):
            return _UNDECLARED
        end = at + 8 + count
        if end > size + 1:
            return Length('truncated', f'{size} bytes of the {end} that its header promises')
        lists = [(at + 12, min(end, size))]
        for start, stop in lists:
            last = start
            for name, first, count in _chunks(file, start, stop, order='little'):
                last = first + count
                if name == b'LIST' and _read(file, first, 4) == b'movi':
                    lists.append((first + 4, last))
            if not stop - 1 <= last <= stop:
                return Length('damaged', f'its chunks end at byte {last}, not at {stop}')
        at = end + (end & 1)
    return Length()


def _nist(file: BinaryIO, size: int) -> Length:
    head = _read(file, 0, 1024)
    fields = dict(re.findall(rb'^(\w+) -i (\d+)\s*$', head, re.M))
    names = (b'sample_count', b'channel_count', b'sample_n_bytes')
    if b'shorten' in head or any(name not in fields for name in names):
        return _UNDECLARED
    count, channels, width = (int(fields[name]) for name in names)
    first = int(head[8:16]) if head[8:16].strip().isdigit() else 1024
    return _compare(file, size, first, count * channels * width)


def _rare(file: BinaryIO, size: int, head: bytes) -> tuple[int, int]:
    """Where at least the sound ends by the header of AVR, WVE, SDS, VOC, MAT4 or MAT5, 0 if it does
    not tell, and how many bytes more may be its own. (IRCAM, PAF, PVF and XI never tell.)"""
    if head[:4] == b'2BIT':
        stereo, bits = struct.unpack('>HH', _read(file, 12, 4))
        frames = int.from_bytes(_read(file, 26, 4), 'big')
        return 128 + frames * (2 if stereo else 1) * bits // 8 if frames else 0, 0
    if head == b'ALawSoundFile**\0':
        count = int.from_bytes(_read(file, 18, 4), 'big')
        return 32 + count if count else 0, 0
    if head[:2] == b'\xf0\x7e' and head[3:4] == b'\x01':
        samples = sum(byte << shift for byte, shift in zip(head[10:13], (0, 7, 14)))
        a_packet = 120 // max(-(-head[6] // 7), 1)  # of 127 bytes
        return 21 + 127 * -(-samples // a_packet) if samples else 0, 0
    if head == b'Creative Voice F':
        at = int.from_bytes(_read(file, 20, 2), 'little')
        kind = 0
        # One block of sound: long ones do not fit into the count, and what follows is no block.
        while at + 4 <= size and kind not in (1, 9):
            kind, count = _read(file, at, 1)[0], _read(file, at + 1, 3)
            at += 4 + int.from_bytes(count, 'little')
        return at, size - at if size - at >= 1 << 24 else 0
    for order, kind in (('<', 0), ('>', 1000)):
        if head == struct.pack(f'{order}4I', kind, 1, 1, 0):
            at = 0
            for _ in ('rate', 'sound'):
                matrix = _read(file, at, 20)
                if len(matrix) < 20:
                    break
                kind, rows, columns, _, name = struct.unpack(f'{order}5I', matrix)
                at += 20 + name + rows * columns * (8, 4, 4, 2, 2, 1)[min(kind % 100 // 10, 5)]
            return at, 0
    if head == b'MATLAB 5.0 MAT-f':
        order, at = 'big' if _read(file, 126, 2) == b'MI' else 'little', 128
        while at + 8 <= size and _read(file, at, 4) == (14).to_bytes(4, order):
            at += 8 + int.from_bytes(_read(file, at + 4, 4), order)
        return at - 16, 16  # libsndfile counts up to that more than it writes
    return 0, 0


def _flac(file: BinaryIO, size: int) -> Length:
    start = _id3_bytes(file)
    samples = int.from_bytes(_read(file, start + 21, 5), 'big') & ((1 << 36) - 1)
    md5 = file.read(16).strip(b'\0') and _read(file, start + 26, 16)
    # Two files joined: the decoder stops at the second one's header.
    file.seek(start + 4)
    kept = b''
    while block := file.read(1 << 20):
        if b'fLaC\0\0\0"' in kept + block:
            return Length('longer than its header', 'a second FLAC stream follows')
        kept = block[-8:]
    return Length(declared=bool(samples), samples=samples or None, md5=md5)


class Rewritten:
    """A file in which some bytes, from `first` on, read otherwise."""

    def __init__(self, file: BinaryIO, first: int, content: bytes):
        self._file: Any = file
        self._first, self._content = first, content
        self.seek, self.tell = file.seek, file.tell
        self.seek(0)

    def readinto(self, buffer) -> int:
        """As of any file: fills the buffer, says with how many bytes."""
        at = self._file.tell()
        count = self._file.readinto(buffer)
        view = memoryview(buffer).cast('B')
        for i in range(max(at, self._first), min(at + count, self._first + len(self._content))):
            view[i - at] = self._content[i - self._first]
        return count

    def read(self, count: int = -1) -> bytes:
        """The next bytes, as of any file."""
        buffer = bytearray(count)
        return bytes(buffer[: self.readinto(buffer)])

    def write(self, _):
        """Refuses: soundfile asks for the method, and never calls it."""
        raise OSError('read only')


def endless_flac(file: BinaryIO) -> Rewritten:
    """A FLAC in which the number of samples reads as 0, unknown, so that libsndfile decodes all."""
    first = _id3_bytes(file) + 21  # 36 bits, the last ones of these five bytes
    high = (_read(file, first, 1) or b'\0')[0] & 0xF0
    return Rewritten(file, first, bytes([high, 0, 0, 0, 0]))


def whole(file: BinaryIO, size: int) -> Rewritten | None:
    """A CAF, RF64 or WAV that is cut, or says no length, of which libsndfile reads nothing, as one
    whose sound is what is there; None of every other file."""
    head = _read(file, 0, 4)
    if head in (b'caff', b'RIFF'):
        at, wide, order = (8, 8, 'big') if head == b'caff' else (12, 4, 'little')
        for name, first, count in _chunks(file, at, size, order=order, wide=wide):
            lacks = first + count > size if wide == 8 else not count
            if name == b'data' and lacks and not _only_chunks(file, first, size, order=order):
                most = min(size - first, (1 << 8 * wide) - 1)
                return Rewritten(file, first - wide, most.to_bytes(wide, order))
    elif head in (b'RF64', b'BW64'):
        sizes = 0
        for name, first, _ in _chunks(file, 12, size, order='little'):
            if name == b'ds64':
                sizes = first
            elif name == b'data' and sizes:
                counted = int.from_bytes(_read(file, sizes + 8, 8), 'little')
                if not _is_wide(counted) or first + counted > size:
                    return Rewritten(file, sizes, struct.pack('<QQ', size - 8, size - first))
                break
    return None


_FLAC_SEARCH = 1 << 22  # bytes around where the decoder stopped: some frames of any form


def flac_goes_on(file: Any, samples: int) -> bool:
    """Whether a FLAC has, around where it was read to, a later frame than the one behind so many
    samples: then that is damaged, else cut. Of a cut one the decoder may have read any part.

    Reference:
        RFC 9639, section 9.1: frame headers.
    """
    stopped, start = file.tell(), _id3_bytes(file)
    block = int.from_bytes(_read(file, start + 8, 2), 'big')  # samples of a frame
    data = _read(file, max(stopped - _FLAC_SEARCH, start), 2 * _FLAC_SEARCH)
    for found in re.finditer(rb'\xff[\xf8\xf9]', data):
        header = data[found.start() : found.start() + 16]
        number, size = _flac_number(header)
        after = number * block if header[1] == 0xF8 else number
        if size and after > samples and _crc8(header[: size - 1]) == header[size - 1]:
            return True
    return False


def _flac_number(header: bytes) -> tuple[int, int]:
    """(number of the frame or of its first sample, bytes of the header with its CRC); (0, 0) where
    it is none."""
    if len(header) < 16 or header[2] >> 4 == 0 or header[2] & 15 == 15 or header[3] & 1:
        return 0, 0
    first = header[4]
    more = 0 if first < 0x80 else 8 - (~first & 0xFF).bit_length() - 1
    rest = header[5 : 5 + more]
    if not 0 <= more <= 6 or (first >= 0x80 and not more) or any(b >> 6 != 2 for b in rest):
        return 0, 0
    number = first if not more else first & (0x3F >> more)
    for byte in rest:
        number = number << 6 | byte & 0x3F
    more += {6: 1, 7: 2}.get(header[2] >> 4, 0) + {12: 1, 13: 2, 14: 2}.get(header[2] & 15, 0)
    return number, 6 + more


def _crc8(data: bytes) -> int:
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value << 1) ^ (0x107 if value & 0x80 else 0)
    return value


_MIRRORED = bytes(int(f'{byte:08b}'[::-1], 2) for byte in range(256))


def _ogg_checksum(page: bytes) -> int:
    """CRC-32 as Ogg has it: zlib's of mirrored bytes, mirrored, begun with 0 and not inverted."""
    blank = page[:22] + bytes(4) + page[26:]
    mirrored = zlib.crc32(blank.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f'{mirrored:032b}'[::-1], 2)


def _ogg(file: BinaryIO, size: int) -> Length:
    """Pages, whole and in their order: the decoder leaves out a damaged one without a word. A
    stream's last page is marked. Only the first of streams in a row is decoded."""
    at, ended, last, numbers = 0, False, 0, {}
    while True:
        head = _read(file, at, 27)
        if head[:4] != b'OggS' or len(head) < 27:
            break
        table = file.read(head[26])
        end = at + 27 + head[26] + sum(table)
        if len(table) < head[26] or end > size:
            return Length('truncated', f'its page at byte {at} is cut')
        if head[5] & 2 and ended:
            return Length('longer than its header', f'a second stream begins at byte {at}')
        serial, number, checksum = struct.unpack('<III', head[14:26])
        if checksum != _ogg_checksum(_read(file, at, end - at)):
            return Length('damaged', f'the checksum of its page at byte {at} does not match')
        if number != numbers.get(serial, number):
            return Length(
                'damaged', f'page {number} at byte {at} where page {numbers[serial]} must follow'
            )
        numbers[serial] = number + 1 & 0xFFFFFFFF
        ended, last, at = bool(head[5] & 4) or ended, at, end
    if not ended:
        return Length('truncated', f'its last page, at byte {last}, is not marked as the end')
    if not _nothing_follows(file, at, size):
        return Length('longer than its header', f'{size - at} bytes after its last page')
    return Length()


_BIT_RATES = {  # (MPEG 1?, layer): kbit/s
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_BIT_RATES[False, 3] = _BIT_RATES[False, 2]
_LEAD = 1 << 16  # bytes in which MPEG audio is looked for where it does not begin


def _mpeg_frame(head: bytes) -> tuple[int, int] | None:
    """(bytes, samples) of an MPEG audio frame from its header; None if it is none."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    bit_rate, rate = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 4 or bit_rate in (0, 15) or rate == 3:
        return None
    first = version == 3
    sample_rate = (44100, 48000, 32000)[rate] >> {3: 0, 2: 1, 0: 2}[version]
    bits = 1000 * _BIT_RATES[first, layer][bit_rate - 1]
    padding = head[2] >> 1 & 1
    if layer == 1:
        return 4 * (12 * bits // sample_rate + padding), 384
    samples = 1152 if first or layer == 2 else 576
    return samples // 8 * bits // sample_rate + padding, samples


def _mpeg_form(head: bytes) -> tuple[int, int, bool]:
    """What all frames of one stream have in common: version and layer, rate, whether it is mono."""
    return head[1] & 0x1E, head[2] & 0x0C, head[3] >> 6 == 3


def _needs_earlier_bytes(head: bytes) -> bool:
    """Whether a frame's sound begins in frames before it, by its first 8 bytes: in layer 3, but
    never the first."""
    side = 4 if head[1] & 1 else 6  # behind a checksum
    layer_3, bits = head[1] >> 1 & 3 == 1, 9 if head[1] >> 3 & 3 == 3 else 8
    return layer_3 and int.from_bytes(head[side : side + 2], 'big') >> 16 - bits > 0


def _next_mpeg_frame(file: BinaryIO, at: int, end: int, form: tuple | None) -> int | None:
    """Where, from `at` to `end`, the first frame begins that another one of its form follows, or
    the end; of any form, or of `form`."""
    while at < end and (block := _read(file, at, min(end - at, 1 << 20))):
        for match in re.finditer(rb'\xff[\xe0-\xff]', block):
            there = at + match.start()
            head = _read(file, there, 4)
            if not (frame := _mpeg_frame(head)) or form not in (None, _mpeg_form(head)):
                continue
            after = _read(file, there + frame[0], 4)
            if there + frame[0] == end:
                return there
            if _mpeg_frame(after) and _mpeg_form(after) == _mpeg_form(head):
                return there
        at += max(len(block) - 1, 1)
    return None


def mpeg(file: BinaryIO, size: int) -> Length:
    """As `length`, of MPEG audio, which begins behind the tags or soon after them.

    Frames to the end, each where the one before ends: the decoder goes on behind a damaged one
    without a word. A first frame named Xing, Info or VBRI counts the others.
    """
    at = start = _id3_bytes(file)
    frames, samples, counted, form, begun = 0, 0, 0, None, False
    if not _mpeg_frame(_read(file, at, 4)):
        at = _next_mpeg_frame(file, at, min(size, at + _LEAD), None)
        if at is None:  # free format, or another form: the decoder's to judge
            return _UNDECLARED
        zeros = not _read(file, start, 16).strip(b'\0')
        if zeros and _needs_earlier_bytes(_read(file, at, 8)):
            return Length('damaged', f'zeros, and a frame at byte {at} that needs those before it')
    while True:
        head = _read(file, at, 4)
        frame = _mpeg_frame(head)
        if not frame or (begun and _mpeg_form(head) != form):
            name = head[:3]
            if name == b'TAG' and at + 128 < size:
                at += 128  # the end of a file that another one was joined to
            elif name == b'ID3' and at + 10 <= size:
                at = _id3_bytes(file, at)
            else:
                break
            begun = False
            continue
        form, begun = _mpeg_form(head), True
        if not frames:
            first = _read(file, at, frame[0])
            samples = frame[1]
            if tag := re.search(rb'Xing|Info', first[:48]):
                fields = first[tag.start() + 4 : tag.start() + 12]
                if fields[3:4] and fields[3] & 1:
                    counted = int.from_bytes(fields[4:], 'big')
            elif first[36:40] == b'VBRI':
                counted = int.from_bytes(first[50:54], 'big')
        if at + frame[0] > size:
            return Length('truncated', f'its last frame, at byte {at}, is cut')
        frames, at = frames + 1, at + frame[0]
    if not _nothing_follows(file, at, size):
        if frame:
            return Length('damaged', f'its frame at byte {at} is of another form than those before')
        end = size if frames > 1 else min(size, at + _LEAD)  # one may be the mark of a text
        later = _next_mpeg_frame(file, at, end, form)
        if later is not None:
            return Length(
                'damaged', f'no frame at byte {at}, where one must follow, but at {later}'
            )
    # Encoders differ in whether they count the frame that holds the count; but where something
    # that is no tag stands behind the frames, it may have been the last one.
    most = int(at == size or _read(file, at, 16).startswith((*_TAGS, b'TAG')))
    if counted and not -most <= frames - 1 - counted <= 1:
        kind = 'truncated' if frames - 1 < counted else 'longer than its header'
        return Length(kind, f'{frames - 1} frames, its header counts {counted}')
    # Delay and padding, which the decoder takes off where it is told them, are within four frames.
    return Length(declared=bool(counted), samples=frames * samples, tolerance=4 * samples)
