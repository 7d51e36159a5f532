"""The last step: index files, TFDS metadata, report, and at the very end dataset.json."""

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
import numpy as np

from data_prep import report as reports, tfds_metadata
from data_prep.corpora import plural
from data_prep.workers import kinds, load_job, refuse, unwritable, write_whole
from fgsep_jax import files as files_lib
from fgsep_jax.data import records


def _split_numbers(shards: list[dict]) -> tuple[dict, dict, np.ndarray]:
    """Of one split: entry for dataset.json, entry for the report, index."""
    shards = sorted(shards, key=lambda one: one['shard'])
    index = np.array([row for one in shards for row in one['rows']], records.INDEX_DTYPE)
    stats = [row for one in shards for row in one['stats']]
    speakers = sorted({name for one in shards for name in one['speakers']})
    digests = ''.join(one['digest'] for one in shards)
    entry = {
        'examples': len(index),
        'shards': len(shards),
        'hours': round(sum(row[1] for row in stats) / 3600, 4),
        'speakers': speakers,
        'fingerprint': records.digest(digests.encode()),
        'index': records.digest(records.write_index(index)),
    }
    histograms = {
        'snr_db': reports.histogram((row[0] for row in stats), width=1.0),
        'seconds': reports.histogram((row[1] for row in stats), width=1.0),
        'source_rms_db': reports.histogram((x for row in stats for x in row[2]), width=2.0),
        'mixture_rms_db': reports.histogram((row[3] for row in stats), width=2.0),
    }
    numbers = {k: v for k, v in entry.items() if k not in ('speakers', 'index')}
    overlaps = [row[4] for row in stats if row[4] is not None]
    if overlaps:
        numbers['adaptation_disjoint'] = round(overlaps.count(0.0) / len(overlaps), 4)
        histograms['adaptation_overlap'] = reports.histogram(overlaps, width=0.1)
    return entry, {**numbers, 'num_speakers': len(speakers), 'histograms': histograms}, index


class Finish(beam.DoFn):
    """All shards' rows -> index files, TFDS metadata, report, and last of all dataset.json."""

    def __init__(self, job_path: str):
        self.job_path = job_path

    def process(self, shards, files):
        if not files or any('unwritable' in one for one in shards):  # somebody has said why
            return
        job = load_job(self.job_path)
        try:
            yield from self._finish(job, shards, files)
        except OSError as error:
            unwritable(error, job.output_dir)

    def _finish(self, job, shards, files):

        def write(name, data):
            write_whole(FileSystems.join(job.output_dir, name), data)

        by_split = {}
        for one in shards:
            by_split.setdefault(one['split'], []).append(one)
        entries, numbers, lengths, sizes, fewer = {}, {}, {}, {}, []
        for split, members in sorted(by_split.items()):
            entries[split], numbers[split], index = _split_numbers(members)
            if not len(index):
                skipped = [bad for one in members for bad in one['skipped']]
                reason = f'split {split!r}: no mixture could be made; {kinds(skipped)}'
                return refuse(self.job_path, reason)
            lengths[split] = np.bincount(index['shard'], minlength=len(members)).tolist()
            sizes[split] = int(index['size'].sum())
            lost = [*(one for one in files['lost'] if one['split'] == split)]
            lost += [bad for one in members for bad in one['skipped']]
            if lost:
                said = ', '.join(
                    f'{kind}: {count}' for kind, count in reports.by_kind(lost).items()
                )
                fewer.append(
                    f'split {split} has {plural(len(index), "mixture")}, '
                    f'{len(index) + len(lost)} were asked for; skipped mixtures: {said}'
                )
            write(records.index_name(split), records.write_index(index))
        first = next(one['stats'][0] for one in shards if one['stats'])
        num_sources, adaptation = len(first[2]), first[4] is not None
        contents = tfds_metadata.metadata_files(
            name=job.name,
            description=f'Mixtures for source separation. {job.metadata["snr_rule"]}',
            num_sources=num_sources,
            adaptation=adaptation,
            shard_lengths=lengths,
            num_bytes=sizes,
        )
        for name, data in contents.items():
            write(name, data)
        report = {
            'name': job.name,
            'snr_rule': job.metadata['snr_rule'],
            'splits': numbers,
            'files': {
                key: files[key] for key in ('total', 'good', 'converted', 'rms_db', 'beside')
            },
            'skipped_files': files['skipped'],
            'skipped_mixtures': sorted(
                [
                    *(bad for one in shards for bad in one['skipped']),
                    *(
                        {'name': one['id'], 'kind': one['kind'], 'detail': one['detail']}
                        for one in files['lost']
                    ),
                ],
                key=lambda bad: bad['name'],
            ),
            'notes': {
                **files['notes'],
                'Warnings': [*files['notes']['Warnings'], *fewer],
            },
        }
        if 'source_unit' in job.metadata:
            report['source_unit'] = job.metadata['source_unit']
        write('report.json', files_lib.to_json(report).encode())
        write('report.md', reports.to_markdown(report).encode())
        metadata = files_lib.with_digest(
            {
                **job.metadata,
                'schema_version': records.SCHEMA_VERSION,
                'name': job.name,
                'sample_rate': job.sample_rate,
                'sources': num_sources,
                'adaptation': adaptation,
                'splits': entries,
            }
        )
        records.check_metadata(metadata, where=records.DATASET_FILE)
        write(records.DATASET_FILE, files_lib.to_json(metadata).encode())
        yield len(entries)
