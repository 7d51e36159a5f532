"""What data sets and trainings cost in a cloud, on paper, from rates measured here.

    python -m benchmarks.costs [--tpu_dollars=1.2 ...]

Prices are flags; their defaults are list prices of us-central1 as last known when this was written,
2025, and not looked up again. Prints the tables of docs/pods.md.
"""

import dataclasses

from fgsep_jax import command_line
from fgsep_jax.launch import tpu

MEMORY_GB = 3.75  # of a worker, a virtual core (n1-standard)
# Hours of mixtures that a core makes in an hour, measured: docs/speed.md, docs/pods.md.
SPEECH, SCENES = 243.0, 12.0


@dataclasses.dataclass(frozen=True)
class Step:
    """What a step of 16 segments costs, in bfloat16, by `launch.compile_ahead` for v5e:4x4.

    Attributes:
      flops: of it.
      bytes: in HBM, without what stays in a core, by `benchmarks.hlo`.
      gradients: bytes that are summed over the chips.
    """

    flops: float
    bytes: float
    gradients: float


CONV_TASNET = Step(2.009e12, 23.8e9, 19.94e6)  # convtasnet:paper, 4 s
M2 = Step(0.08e12, 1.1e9, 4 * 4_197_664)  # blstm_m2:paper, 2 s
FORWARD = Step(M2.flops / 3, M2.bytes / 3, 0.0)  # as forward to backward is one to two
# NVIDIA's data sheet of the H100 SXM: bfloat16 without sparsity, HBM3, NVLink one way.
H100 = tpu.Chip(989e12, 3350e9, 80 * 2**30, 450e9, (8,))


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Mixtures that a job makes, and what a model does with those to train on.

    Attributes:
      hours: of them, all splits together.
      rate: in hertz.
      signals: of int16 that are stored for each.
      speed: hours that a core makes in an hour.
      read: hours of signals that an epoch reads.
      segments: of an epoch.
      epochs: of the paper's recipe.
      step: of 16 segments.
    """

    hours: float
    rate: int
    signals: float
    speed: float
    read: float = 0.0
    segments: int = 0
    epochs: int = 1
    step: Step = CONV_TASNET

    @property
    def gigabytes(self):
        """Of shards."""
        return self._gigabytes(self.hours * self.signals)

    @property
    def gigabytes_read(self):
        """Of all epochs."""
        return self._gigabytes(self.read * self.epochs)

    def _gigabytes(self, hours):
        return hours * 3600 * self.rate * 2 / 1e9


CORPORA = {
    'WSJ0-2mix (30, 8 and 5 hours)': Corpus(43, 8000, 2, SPEECH, 2 * 30, 20_000, 100),
    'LibriTTS (245, 9 and 8.5 hours)': Corpus(262.5, 8000, 2, SPEECH, 2 * 245, 245 * 900, 60),
    'Libri2Mix, train-360, min (212, 11 and 11 hours)': Corpus(
        234, 8000, 2, SPEECH, 2 * 212, 50_800, 100
    ),
    'paper 1 on DESED and AudioSet (8.3, 3.3 and 4 x 0.5 hours)': Corpus(
        13.6, 44100, 3, SCENES, 3 * 8.3, 15_000, 50, M2
    ),
    # Recordings are one signal; windows of 2 s overlap by half.
    'a year of one recorder (8,760 hours of scenes)': Corpus(
        8760, 44100, 3, SCENES, 8760, 8760 * 3600, 1, FORWARD
    ),
}


def seconds_of_epoch(chip, chips, batch, segments=20_000, step=CONV_TASNET):
    """Seconds that an epoch takes at least: the longest of what a chip's arithmetic, its memory
    and its links need for its share of each step."""
    share = batch / chips / 16
    seconds = max(
        share * step.flops / chip.flops,
        share * step.bytes / chip.hbm_bandwidth,
        2 * step.gradients / chip.ici_bandwidth,
    )
    return seconds * (segments // batch)


def main(argv=None):
    """Prints the tables."""
    parser = command_line.Parser('benchmarks.costs', __doc__)
    for flag, dollars, about in (
        ('core', 0.056, 'of a Dataflow batch worker, a virtual core and hour'),
        ('memory', 0.003557, 'of a GB of its memory and hour'),
        ('storage', 0.02, 'of a GB in a bucket and month'),
        ('tpu', 1.2, 'of a v5e chip and hour'),
        ('gpus', 88.0, 'of a machine of 8 H100 and hour'),
    ):
        parser.add_argument(f'--{flag}_dollars', type=float, default=dollars, help=about)
    prices, _ = parser.parse(argv)
    core = prices.core_dollars + MEMORY_GB * prices.memory_dollars
    lines = [
        '| data set | core-hours | GB of shards | dollars to make | a month in a bucket |',
        '|---|---:|---:|---:|---:|',
    ]
    for name, corpus in CORPORA.items():
        hours = corpus.hours / corpus.speed
        lines.append(
            f'| {name} | {hours:,.1f} | {corpus.gigabytes:,.1f} | {hours * core:,.2f} |'
            f' {corpus.gigabytes * prices.storage_dollars:,.2f} |'
        )
    lines += [
        '',
        '| on | batch | a chip | an epoch, at least | 100 epochs | dollars |',
        '|---|---:|---:|---:|---:|---:|',
    ]
    v5e = tpu.CHIPS['v5e']
    pods = (
        ('v5e-16', v5e, 16, 16 * prices.tpu_dollars),
        ('v5e-256', v5e, 256, 256 * prices.tpu_dollars),
        ('8 H100', H100, 8, prices.gpus_dollars),
    )
    for name, chip, chips, dollars in pods:
        for batch in (16, 256):
            if batch % chips == 0:
                seconds = seconds_of_epoch(chip, chips, batch)
                lines.append(
                    f'| {name} | {batch} | {batch // chips} | {seconds:.2f} s |'
                    f' {seconds * 100 / 60:.1f} min | {seconds / 36 * dollars:.2f} |'
                )
    lines += [
        '',
        '| data set | segments x epochs | GB read | v5e-16, hours | dollars | 8 H100, hours |'
        ' dollars |',
        '|---|---:|---:|---:|---:|---:|---:|',
    ]
    for name, corpus in CORPORA.items():
        row = [name, f'{corpus.segments:,} x {corpus.epochs}', f'{corpus.gigabytes_read:,.0f}']
        for _, chip, chips, dollars in (pods[0], pods[2]):
            seconds = seconds_of_epoch(chip, chips, 16, corpus.segments, corpus.step)
            hours = seconds * corpus.epochs / 3600
            row += [f'{hours:.3f}', f'{hours * dollars:.2f}']
        lines.append(f'| {" | ".join(row)} |')
    print('\n'.join(lines))


if __name__ == '__main__':
    main()
