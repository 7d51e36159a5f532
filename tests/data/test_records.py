"""The record's wire format, its framing, and what damaged bytes say."""

import dataclasses
import io

import numpy as np
import pytest

from fgsep_jax.data import records


def make_example(samples=7, **changes):
    sources_ST = np.arange(2 * samples, dtype=np.int16).reshape(2, samples) - 5
    example = records.Example(
        id='a+b',
        sources_ST=sources_ST,
        sample_rate=8000,
        source_ids=('ann', 'böb'),
        source_classes=('speech', 'speech'),
        snr_db=1.25,
    )
    return dataclasses.replace(example, **changes)


def assert_same(a, b):
    for field in dataclasses.fields(records.Example):
        np.testing.assert_array_equal(getattr(a, field.name), getattr(b, field.name))


@pytest.mark.parametrize('adaptation_T', [None, np.array([1, -2, 3], np.int16)])
@pytest.mark.parametrize('samples', [0, 1, 7])
@pytest.mark.parametrize('noise', [False, True])
def test_decode_inverts_encode(samples, adaptation_T, noise):
    overlap = None if adaptation_T is None else 0.25
    example = make_example(samples, adaptation_T=adaptation_T, adaptation_overlap=overlap)
    if noise:
        example = dataclasses.replace(example, noise_T=np.arange(samples, dtype=np.int16) * -9)
    decoded = records.decode(records.encode(example))
    assert_same(decoded, example)
    assert decoded.sources_ST.dtype == np.int16


def test_encode_is_canonical_and_compact():
    noise_T = np.zeros(7, np.int16)
    segment = dict(adaptation_T=np.zeros(3, np.int16), adaptation_overlap=0.0)
    payload = records.encode(make_example(**segment, noise_T=noise_T))
    places = [payload.index(name.encode()) for name in sorted(records.FEATURES)]
    assert places == sorted(places)  # map entries in one order, not in that of a hash
    assert len(records.encode(make_example(16000))) < 2 * 16000 * 2 + 200


@pytest.mark.parametrize('noise', [False, True])
@pytest.mark.parametrize('adaptation', [False, True])
def test_wire_format_is_that_of_tfds(adaptation, noise):
    tfds_metadata = pytest.importorskip('data_prep.tfds_metadata')
    segment = dict(adaptation_T=np.array([1, -2], np.int16), adaptation_overlap=0.5)
    example = make_example(**(segment if adaptation else {}))
    if noise:
        example = dataclasses.replace(example, noise_T=np.arange(7, dtype=np.int16))
    features = tfds_metadata.features_dict(num_sources=2, adaptation=adaptation, noise=noise)
    fields = {
        'id': example.id,
        'sources': example.sources_ST,
        'sample_rate': example.sample_rate,
        'source_ids': example.source_ids,
        'source_classes': example.source_classes,
        'snr_db': example.snr_db,
    }
    if adaptation:
        fields['adaptation'] = example.adaptation_T
        fields['adaptation_overlap'] = example.adaptation_overlap
    if noise:
        fields['noise'] = example.noise_T
    assert_same(records.decode(features.serialize_example(fields)), example)
    read = features.deserialize_example_np(records.encode(example))
    np.testing.assert_array_equal(read['sources'], example.sources_ST)
    assert read['source_ids'][1].decode() == 'böb'


@pytest.mark.parametrize(
    'half', [dict(adaptation_overlap=0.0), dict(adaptation_T=np.zeros(3, np.int16))]
)
def test_segment_and_overlap_go_together(half):
    with pytest.raises(records.RecordError, match='must be given together'):
        records.encode(make_example(**half))


def test_a_record_without_its_overlap_is_refused():
    message = records._Message()
    message.ParseFromString(
        records.encode(make_example(adaptation_T=np.zeros(3, np.int16), adaptation_overlap=0.0))
    )
    del message.features.feature['adaptation_overlap']
    with pytest.raises(records.RecordError, match="'adaptation_overlap'. are missing"):
        records.decode(message.SerializeToString())


def test_mixture_is_the_exact_sum():
    example = make_example(sources_ST=np.array([[30000, -30000], [2767, -2768]], np.int16))
    np.testing.assert_array_equal(example.mixture_T, np.array([32767, -32768], np.int16))
    noisy = dataclasses.replace(example, noise_T=np.array([-32767, 32767], np.int16))
    np.testing.assert_array_equal(noisy.mixture_T, np.array([0, -1], np.int16))
    np.testing.assert_array_equal(noisy.parts_ST[:2], example.parts_ST)


@pytest.mark.parametrize(
    'changes, message',
    [
        ({'sources_ST': np.zeros((2, 3), np.float32)}, 'int16'),
        ({'sources_ST': np.zeros((3, 3), np.int16)}, 'must agree'),
        ({'source_classes': ('speech',)}, 'must agree'),
        ({'noise_T': np.zeros(6, np.int16)}, '6 samples of noise, sources of 7; they must agree'),
        ({'noise_T': np.zeros(7, np.int32)}, 'noise must be int16'),
    ],
)
def test_encode_refuses(changes, message):
    with pytest.raises(records.RecordError, match=message):
        records.encode(make_example(**changes))


def test_decode_refuses_other_bytes():
    with pytest.raises(records.RecordError, match='not a tf.train.Example'):
        records.decode(b'\xff\xff\xff')
    with pytest.raises(records.RecordError, match='missing'):
        records.decode(b'')


def frame_of(payload):
    file = io.BytesIO()
    assert records.write_record(file, payload) == len(file.getvalue())
    return file.getvalue()


def test_framing_is_tfrecord():
    # Known bytes: length 3, masked CRC32C of the length, data, masked CRC32C of the data, as
    # Beam's own TFRecord writer (another implementation) frames them.
    tfrecordio = pytest.importorskip('apache_beam.io.tfrecordio')
    file = io.BytesIO()
    tfrecordio._TFRecordUtil.write_record(file, b'abc')
    assert frame_of(b'abc') == file.getvalue()


def test_every_flipped_bit_is_noticed():
    frame = frame_of(b'some payload')
    assert records.read_record(frame) == b'some payload'
    for i in range(len(frame)):
        damaged = bytearray(frame)
        damaged[i] ^= 0x10
        with pytest.raises(records.RecordError, match='shard-3 at byte 17'):
            records.read_record(bytes(damaged), where='shard-3 at byte 17')


@pytest.mark.parametrize('size', [0, 5, 15, 20])
def test_cut_record_is_noticed(size):
    with pytest.raises(records.RecordError):
        records.read_record(frame_of(b'some payload')[:size])


def test_metadata_of_another_schema_is_refused():
    good = {'schema_version': records.SCHEMA_VERSION, 'name': 'x', 'sample_rate': 8000}
    good |= {'sources': 2, 'splits': {}}
    assert records.check_metadata(good, where='x') == good
    noisy = {**good, 'schema_version': 2, 'noise': True}
    assert records.check_metadata(noisy, where='x') == noisy
    for wrong in ({**good, 'noise': True}, {**good, 'schema_version': 2}):
        with pytest.raises(records.RecordError, match='which schema_version . does not go with'):
            records.check_metadata(wrong, where='x')
    with pytest.raises(records.RecordError, match='schema_version is 99'):
        records.check_metadata({**good, 'schema_version': 99}, where='x')
    del good['sample_rate']
    with pytest.raises(records.RecordError, match='sample_rate'):
        records.check_metadata(good, where='x')


def test_nothing_is_written_that_protobuf_does_not_read():
    sources_ST = np.zeros((2, 1 << 29), np.int16)  # whose pages nobody touches
    pair = ('a', 'b')
    with pytest.raises(records.RecordError, match='2,147,483,648 bytes of sound, a record holds'):
        records.encode(records.Example('x', sources_ST, 8000, pair, pair, 0.0))
