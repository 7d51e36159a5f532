"""TFDS metadata beside the shards, written without TensorFlow."""

import pathlib
import tempfile

from etils import epath
import numpy as np
from tensorflow_datasets.core import dataset_info, features, naming, splits

from fgsep_jax.data import records


def features_dict(
    *, num_sources: int, adaptation: bool, noise: bool = False
) -> features.FeaturesDict:
    """The features of `records.FEATURES` as TFDS names them; PCM as bytes, not int64 lists."""

    def pcm(*shape):
        return features.Tensor(shape=shape, dtype=np.int16, encoding=features.Encoding.BYTES)

    texts = features.Sequence(features.Text(), length=num_sources)
    kinds = {
        'text': features.Text(),
        'int16 [S, T]': pcm(num_sources, None),
        'int32': features.Scalar(np.int32),
        'text [S]': texts,
        'float32': features.Scalar(np.float32),
        'int16 [T]': pcm(None),
    }
    return features.FeaturesDict(
        {
            name: kinds[kind]
            for name, kind in records.FEATURES.items()
            if (name not in records.ADAPTATION or adaptation) and (name != 'noise' or noise)
        }
    )


def metadata_files(
    *,
    name: str,
    description: str,
    num_sources: int,
    adaptation: bool,
    noise: bool,
    shard_lengths: dict[str, list[int]],
    num_bytes: dict[str, int],
) -> dict[str, bytes]:
    """{file name: contents} that make `tfds.builder_from_directory` open the folder."""
    with tempfile.TemporaryDirectory() as folder:
        identity = dataset_info.DatasetIdentity(
            name=name,
            version=f'{records.NOISE_SCHEMA_VERSION if noise else records.SCHEMA_VERSION}.0.0',
            data_dir=folder,
            module_name='data_prep',
        )
        info = dataset_info.DatasetInfo(
            builder=identity,
            description=description,
            features=features_dict(num_sources=num_sources, adaptation=adaptation, noise=noise),
        )
        info.set_file_format('tfrecord')
        template = naming.ShardedFileTemplate(
            data_dir=epath.Path(folder), dataset_name=name, filetype_suffix='tfrecord'
        )
        info.set_splits(
            splits.SplitDict(
                [
                    splits.SplitInfo(
                        name=split,
                        shard_lengths=lengths,
                        num_bytes=num_bytes[split],
                        filename_template=template,
                    )
                    for split, lengths in sorted(shard_lengths.items())
                ]
            )
        )
        info.write_to_directory(epath.Path(folder))
        return {path.name: path.read_bytes() for path in sorted(pathlib.Path(folder).iterdir())}
