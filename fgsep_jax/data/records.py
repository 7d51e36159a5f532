"""One example on disk: `tf.train.Example` in TFRecord framing, and the names of a data set's files.

Written by `data_prep` and read by `fgsep_jax.data.source` through this one file, so that the two
sides cannot drift. The wire format is the one that TFDS expects of the features listed in
`FEATURES`, hence `tfds.builder_from_directory` opens the same folder. The mixture is never
stored: it is the exact sum of the int16 sources, and of the noise where there is any.
"""

import dataclasses
import io
import math
import struct
from typing import Any, BinaryIO

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
import google_crc32c
import numpy as np

from fgsep_jax import files
from fgsep_jax.names import counted, part

SCHEMA_VERSION = 1
# Of a data set with noise (`"noise": true` in dataset.json): what knows no noise refuses it, and
# does not take the sum of its sources for the mixture.
NOISE_SCHEMA_VERSION = 2

DATASET_FILE = 'dataset.json'  # written last: its presence means that the data set is whole
SHARD = '.tfrecord-'  # stands in the name of every shard, and in no other name

# name -> kind, as `data_prep.build` hands them to TFDS. Those of `ADAPTATION` are there only in
# data sets that have a segment (`"adaptation": true` in dataset.json), `noise` in those with noise.
FEATURES = {
    'id': 'text',
    'sources': 'int16 [S, T]',
    'sample_rate': 'int32',
    'source_ids': 'text [S]',
    'source_classes': 'text [S]',
    'snr_db': 'float32',
    'adaptation': 'int16 [T]',
    'adaptation_overlap': 'float32',
    'noise': 'int16 [T]',
}
ADAPTATION = ('adaptation', 'adaptation_overlap')

# Of the sound in a record: protobuf reads no message of 2 GiB, and there are names, too.
MOST_BYTES = (1 << 31) - (1 << 20)
_FRAME = 16  # bytes around a TFRecord payload: uint64 length, its CRC, the payload's CRC

# A row of a split's index; `crc` is the record's own checksum, which early data sets lack.
EARLY_INDEX_DTYPE = np.dtype(
    [('shard', '<u4'), ('offset', '<u8'), ('size', '<u4'), ('samples', '<u4')]
)
INDEX_DTYPE = np.dtype([*EARLY_INDEX_DTYPE.descr, ('crc', '<u4')])
_MOST_SHARDS = 99_999  # names have five digits


class RecordError(ValueError):
    """A record or a data set folder that cannot be read as what it should be."""


@dataclasses.dataclass(frozen=True, eq=False)
class Example:
    """One mixture, kept as its sources.

    Attributes:
        id: unique name in the data set; seeds every random number that the mixture was made with.
        sources_ST: int16 PCM [S, T]; the mixture is their exact sum (with the noise, where there
            is any) and fits int16 too.
        sample_rate: in hertz.
        source_ids: [S] speaker (or clip) of each source.
        source_classes: [S] class of each source, `speech` for speech.
        snr_db: level of the first source over the others', by the rule named in dataset.json.
        adaptation_T: int16 PCM [T'] of the adaptation segment, or None.
        adaptation_overlap: share of the adaptation segment that is also in the mixture's excerpt
            (0: disjoint); None without a segment.
        noise_T: int16 PCM [T] of what is in the mixture and nobody's target, or None.
    """

    id: str
    sources_ST: np.ndarray
    sample_rate: int
    source_ids: tuple[str, ...]
    source_classes: tuple[str, ...]
    snr_db: float
    adaptation_T: np.ndarray | None = None
    adaptation_overlap: float | None = None
    noise_T: np.ndarray | None = None

    @property
    def parts_ST(self) -> np.ndarray:
        """int16 PCM [S or S + 1, T]: what the mixture is the sum of, the noise last."""
        if self.noise_T is None:
            return self.sources_ST
        return np.concatenate([self.sources_ST, self.noise_T[None]])

    @property
    def mixture_T(self) -> np.ndarray:
        """int16 PCM [T]: the sum of the sources and the noise."""
        return self.parts_ST.sum(axis=0, dtype=np.int32).astype(np.int16)


def _example_message():
    """The message class of `tf.train.Example`, in a pool of its own.

    TensorFlow and TFDS each register theirs in the default pool, where a third would collide.
    """
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name='fgsep_jax/example.proto', package='fgsep_jax', syntax='proto3'
    )

    def message(name, *fields, parent=file.message_type):
        entry = parent.add(name=name)
        for number, (label, kind, field_name) in enumerate(fields, start=1):
            added = entry.field.add(name=field_name, number=number, label=label)
            if isinstance(kind, str):
                added.type, added.type_name = field.TYPE_MESSAGE, f'.fgsep_jax.{kind}'
            else:
                added.type = kind
        return entry

    one, many = field.LABEL_OPTIONAL, field.LABEL_REPEATED
    message('BytesList', (many, field.TYPE_BYTES, 'value'))
    message('FloatList', (many, field.TYPE_FLOAT, 'value'))
    message('Int64List', (many, field.TYPE_INT64, 'value'))
    feature = message(
        'Feature',
        (one, 'BytesList', 'bytes_list'),
        (one, 'FloatList', 'float_list'),
        (one, 'Int64List', 'int64_list'),
    )
    feature.oneof_decl.add(name='kind')
    for entry in feature.field:
        entry.oneof_index = 0
    features = message('Features', (many, 'Features.FeatureEntry', 'feature'))
    pair = message(
        'FeatureEntry',
        (one, field.TYPE_STRING, 'key'),
        (one, 'Feature', 'value'),
        parent=features.nested_type,
    )
    pair.options.map_entry = True
    message('Example', (one, 'Features', 'features'))

    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName('fgsep_jax.Example'))


_Message: Any = _example_message()


def _pcm(name: str, array: np.ndarray, ndim: int) -> bytes:
    if array.dtype != np.int16 or array.ndim != ndim:
        raise RecordError(
            f'{name} must be int16 with {ndim} axes, found {array.dtype} {array.shape}'
        )
    return array.astype('<i2', copy=False).tobytes()


def encode(example: Example) -> bytes:
    """The example as a serialised `tf.train.Example`; equal examples give equal bytes.

    Raises:
        RecordError: if the sources are not int16 [S, T], S disagrees between the fields, the noise
            is not as long, there is an adaptation segment without its overlap, or more than
            `MOST_BYTES` of sound.
    """
    num_sources = len(example.source_ids)
    if example.sources_ST.shape[0] != num_sources or len(example.source_classes) != num_sources:
        raise RecordError(
            f'example {example.id!r}: {example.sources_ST.shape[0]} sources, {num_sources} '
            f'source_ids and {len(example.source_classes)} source_classes; they must agree'
        )
    sounds = (example.sources_ST, example.noise_T, example.adaptation_T)
    size = sum(sound.nbytes for sound in sounds if sound is not None)
    if size > MOST_BYTES:
        raise RecordError(
            f'example {example.id!r}: {size:,} bytes of sound, a record holds {MOST_BYTES:,}'
        )
    message = _Message()
    feature = message.features.feature
    feature['id'].bytes_list.value.append(example.id.encode())
    feature['sources'].bytes_list.value.append(_pcm('sources', example.sources_ST, 2))
    feature['sample_rate'].int64_list.value.append(example.sample_rate)
    feature['source_ids'].bytes_list.value.extend(s.encode() for s in example.source_ids)
    feature['source_classes'].bytes_list.value.extend(s.encode() for s in example.source_classes)
    feature['snr_db'].float_list.value.append(example.snr_db)
    if (example.adaptation_T is None) != (example.adaptation_overlap is None):
        raise RecordError(
            f'example {example.id!r}: adaptation_T and adaptation_overlap must be given together; '
            f'adaptation_overlap is {example.adaptation_overlap}'
        )
    if example.adaptation_T is not None:
        pcm = _pcm('adaptation', example.adaptation_T, 1)
        feature['adaptation'].bytes_list.value.append(pcm)
        feature['adaptation_overlap'].float_list.value.append(example.adaptation_overlap)
    if example.noise_T is not None:
        if len(example.noise_T) != example.sources_ST.shape[1]:
            raise RecordError(
                f'example {example.id!r}: {counted(len(example.noise_T), "sample")} of noise,'
                f' sources of {example.sources_ST.shape[1]}; they must agree'
            )
        feature['noise'].bytes_list.value.append(_pcm('noise', example.noise_T, 1))
    return message.SerializeToString(deterministic=True)


def decode(payload: bytes) -> Example:
    """The example in `payload`; its arrays are read-only views.

    Raises:
        RecordError: if `payload` is not a `tf.train.Example` with the features of this schema.
    """
    try:
        feature = _Message.FromString(payload).features.feature
    except Exception as error:
        raise RecordError(f'not a tf.train.Example: {error}') from error
    optional = ('noise', *(() if any(name in feature for name in ADAPTATION) else ADAPTATION))
    missing = [name for name in FEATURES if name not in optional and name not in feature]
    if missing:
        raise RecordError(
            f'features {missing} are missing, found {sorted(feature)}; '
            f'this reader knows schema versions {SCHEMA_VERSION} and {NOISE_SCHEMA_VERSION}'
        )

    def value(name, kind):
        values = getattr(feature[name], f'{kind}_list').value
        if len(values) != 1:
            raise RecordError(f'feature {name!r} has {len(values)} values of its kind, not one')
        return values[0]

    def pcm(name):
        data = value(name, 'bytes')
        if len(data) % 2:
            raise RecordError(f'feature {name!r} has {len(data)} bytes, which are no int16')
        return np.frombuffer(data, dtype='<i2')

    def text(data):
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise RecordError(f'{data[:40]} is no text: {error}') from error

    source_ids, source_classes = (
        tuple(text(one) for one in feature[name].bytes_list.value)
        for name in ('source_ids', 'source_classes')
    )
    sources_T = pcm('sources')
    if not source_ids or sources_T.size % len(source_ids):
        raise RecordError(
            f'{sources_T.size} samples cannot be {len(source_ids)} sources of one length'
        )
    if len(source_classes) != len(source_ids):
        raise RecordError(f'{len(source_ids)} sources have {len(source_classes)} classes')
    noise_T = pcm('noise') if 'noise' in feature else None
    if noise_T is not None and noise_T.size * len(source_ids) != sources_T.size:
        raise RecordError(
            f'{noise_T.size} samples of noise are not as long as {len(source_ids)} sources of'
            f' {sources_T.size} together'
        )
    sample_rate, snr_db = value('sample_rate', 'int64'), value('snr_db', 'float')
    if sample_rate < 1 or not math.isfinite(snr_db):
        raise RecordError(f'it has sample_rate {sample_rate} and snr_db {snr_db}')
    segment = 'adaptation' in feature
    return Example(
        id=text(value('id', 'bytes')),
        sources_ST=sources_T.reshape(len(source_ids), -1),
        sample_rate=sample_rate,
        source_ids=source_ids,
        source_classes=source_classes,
        snr_db=snr_db,
        adaptation_T=pcm('adaptation') if segment else None,
        adaptation_overlap=value('adaptation_overlap', 'float') if segment else None,
        noise_T=noise_T,
    )


def checksum(payload: bytes) -> int:
    """TFRecord's masked CRC-32C, as it stands behind a record and in the index."""
    crc = google_crc32c.value(payload)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _masked_crc(data: bytes) -> bytes:
    return struct.pack('<I', checksum(data))


def write_record(file: BinaryIO, payload: bytes) -> int:
    """Append one TFRecord to `file`; returns the bytes written, framing included."""
    length = struct.pack('<Q', len(payload))
    file.write(length + _masked_crc(length) + payload + _masked_crc(payload))
    return len(payload) + _FRAME


def read_record(frame: bytes, *, where: str = 'record', crc: int | None = None) -> bytes:
    """The payload of one whole TFRecord, both checksums verified.

    Args:
        frame: the bytes from the record's first to its last, framing included.
        where: file and offset, for the message of an error.
        crc: checksum of the record that the index means, None where it does not say.

    Raises:
        RecordError: if the record is cut short, a checksum does not match, or it is another one.
    """
    if len(frame) < _FRAME:
        raise RecordError(f'{where}: record is cut short ({len(frame)} bytes); prepare it again')
    (length,) = struct.unpack('<Q', frame[:8])
    if _masked_crc(frame[:8]) != frame[8:12]:
        raise RecordError(
            f'{where}: checksum of the length does not match: the file is damaged, or the index '
            'belongs to another file; prepare or copy the data set again'
        )
    if len(frame) != length + _FRAME:
        raise RecordError(
            f'{where}: record says {length} bytes, {len(frame) - _FRAME} found; '
            'prepare or copy the data set again'
        )
    payload = frame[12:-4]
    if _masked_crc(payload) != frame[-4:]:
        raise RecordError(
            f'{where}: checksum of the data does not match: the file is damaged; '
            'prepare or copy the data set again'
        )
    if crc is not None and frame[-4:] != struct.pack('<I', crc):
        raise RecordError(
            f'{where}: this is another record than the index means: the file is of another data'
            ' set, or stands under the name of another shard; prepare or copy the data set again'
        )
    return payload


def shard_name(name: str, split: str, shard: int, num_shards: int) -> str:
    """File name of one shard, in TFDS's pattern."""
    return f'{part(name)}-{part(split)}{SHARD}{shard:05d}-of-{num_shards:05d}'


def index_name(split: str) -> str:
    """File name of a split's index: a `.npy` array of `INDEX_DTYPE`, one row an example."""
    return f'index-{part(split)}.npy'


def digest(data: bytes) -> str:
    """What dataset.json keeps of an index."""
    return files.digest(data)[:16]


def write_index(index: np.ndarray) -> bytes:
    """Bytes of an index file."""
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(index, INDEX_DTYPE))
    return buffer.getvalue()


def read_index(data: bytes, entry: dict, *, sources: int, where: str) -> np.ndarray:
    """The index of a split, held against what dataset.json says of it.

    Args:
        data: bytes of the index file.
        entry: the split's entry in dataset.json.
        sources: of each mixture.
        where: name of the file, for the message.

    Raises:
        RecordError: it is damaged, or the index of other shards.
    """
    again = 'prepare or copy the data set again'
    if entry.get('index') not in (None, digest(data)):
        raise RecordError(
            f'{where}: its digest is not the one in {DATASET_FILE}: it is damaged, or the index of'
            f' another data set; {again}'
        )
    examples, file = entry['examples'], io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0}.get(
            version, np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
    except Exception as error:  # NumPy's parser of headers has many
        raise RecordError(f'{where} cannot be read ({error}); {again}') from error
    if dtype not in (INDEX_DTYPE, EARLY_INDEX_DTYPE) or shape != (examples,):
        raise RecordError(
            f'{where}: {counted(shape[0], "row") if shape else "no rows"} of'
            f' {counted(len(dtype.names or ()), "column")}, dataset.json'
            f' says {counted(examples, "example")}; {again}'
        )
    if len(data) - file.tell() != examples * dtype.itemsize:
        raise RecordError(f'{where} has {len(data)} bytes, too few or too many; {again}')
    index = np.frombuffer(data, dtype, offset=file.tell())
    wrong = (
        (index['shard'] >= entry['shards'])
        | (index['offset'] >= 1 << 62)
        | (index['size'] < _FRAME + 2 * sources * index['samples'].astype(np.int64))
    )
    if wrong.any():
        row = int(wrong.argmax())
        raise RecordError(
            f'{where}: row {row} is {index[row].tolist()}, which cannot be a record of'
            f' {sources} sources in one of {entry["shards"]} shards; {again}'
        )
    return index


def parts_of(metadata: dict) -> int:
    """How many parts the mixtures of a data set are the sums of: the sources, and the noise."""
    return metadata['sources'] + metadata.get('noise', False)


def check_metadata(metadata: dict, *, where: str) -> dict:
    """`metadata` (the contents of dataset.json) unchanged, if this code can read its data set.

    Keys: `schema_version, name, job, sample_rate, sources` (how many), `adaptation` (bool),
    `noise` (true in schema 2, else absent), `snr_rule`, `config` (the job's options), `splits:
    {name: {examples, shards, hours, speakers, fingerprint, index}}`, `digest` (early data sets
    have neither it nor `index`; an empty one is not held against the rest), and whatever else the
    job adds.

    Raises:
        RecordError: if the schema version is another one, a key is missing, or a value cannot be
            what was written.
    """
    again = 'prepare or copy the data set again'
    version = metadata.get('schema_version')
    versions = SCHEMA_VERSION, NOISE_SCHEMA_VERSION
    if type(version) is not int or version not in versions:
        raise RecordError(
            f'{where}: schema_version is {version!r}, this code reads {versions[0]} and '
            f"{versions[1]}; prepare the data set again with this version's data_prep, or check "
            'out the matching code'
        )
    missing = [k for k in ('name', 'sample_rate', 'sources', 'splits') if k not in metadata]
    if missing:
        raise RecordError(
            f'{where}: keys are missing ({", ".join(missing)}); prepare the data set again'
        )
    splits = metadata['splits'].values() if isinstance(metadata['splits'], dict) else ()
    early = not any('index' in entry for entry in splits if isinstance(entry, dict))
    if files.is_damaged({'digest': '' if early else None, **metadata}):
        state = 'does not match' if 'digest' in metadata else 'is missing'
        raise RecordError(
            f'{where}: its digest {state}, it was damaged or changed by hand; {again}, or'
            ' write "digest": "" in it if you changed it on purpose'
        )
    rules = [
        ('name', metadata, _is_name, 'a name'),
        ('sample_rate', metadata, _whole(1, 10_000_000), 'hertz'),
        ('sources', metadata, _whole(1, 1000), 'how many sources a mixture has'),
        ('splits', metadata, lambda value: isinstance(value, dict), 'an object'),
        ('adaptation', metadata, lambda value: isinstance(value, bool), 'true or false'),
        ('noise', metadata, lambda value: isinstance(value, bool), 'true or false'),
        ('reverberation', metadata, lambda value: isinstance(value, bool), 'true or false'),
        ('speakers', metadata, _is_text_by_name, 'the sex of each speaker'),
    ]
    if isinstance(metadata['splits'], dict):
        for split, entry in metadata['splits'].items():
            if not _is_name(split) or not isinstance(entry, dict):
                raise RecordError(f'{where}: split {split!r} is {entry!r:.60}; {again}')
            if not {'examples', 'shards'} <= set(entry):
                raise RecordError(f'{where}: split {split!r} lacks examples or shards; {again}')
            rules += [
                ('examples', entry, _whole(0, 1 << 40), 'a count'),
                ('shards', entry, _whole(0, _MOST_SHARDS), f'at most {_MOST_SHARDS}'),
                ('speakers', entry, _are_texts, 'a list of names'),
                ('fingerprint', entry, lambda value: isinstance(value, str), 'a text'),
                ('index', entry, lambda value: isinstance(value, str), 'a text'),
            ]
    for key, values, holds, what in rules:
        if key in values and not holds(values[key]):
            raise RecordError(f'{where}: {key} is {values[key]!r:.60}, not {what}; {again}')
    if metadata.get('noise', False) != (version == NOISE_SCHEMA_VERSION):
        raise RecordError(
            f'{where}: noise is {metadata.get("noise", False)}, which schema_version {version} does'
            f' not go with; {again}'
        )
    return metadata


def _is_name(value) -> bool:
    return isinstance(value, str) and bool(value) and not set(value) & set('/\\\0')


def _whole(low: int, high: int):
    return lambda value: type(value) is int and low <= value <= high


def _are_texts(value) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_text_by_name(value) -> bool:
    return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())
