"""What the experiments of paper 1 share: data, features, mask estimator, recipe, as in the paper.

Paper: Olvera et al., "Foreground-background ambient sound scene separation", EUSIPCO 2020; where it
is silent, the choices that docs/choices.md lists.
"""

from fgsep_jax import config as config_lib


def base(argument='', *, experiment=''):
    """The configuration of M1, and what picks a value by size.

    Args:
      argument: what stands after the colon of --config=FILE:ARGUMENT, see `config.parse`.
      experiment: name of the experiment, used for the run folder.

    Returns:
      (a ConfigDict, `size`: {size: value} as keywords -> the value of the chosen one).
    """
    chosen = config_lib.parse(argument, 'foreground')
    size = chosen.size
    config = config_lib.make(
        experiment=experiment,
        preset=chosen.preset,
        task='foreground',
        seed=chosen.seed,
        data=dict(
            name=chosen.data,  # empty: whatever the data set in `dir` calls itself
            dir='',  # empty: the task's embedded data set
            sample_rate=44100,  # Hz
            sources=2,
            targets='',
            segment_seconds=2.0,
            adaptation_seconds=0.0,  # of the background segment read beside each mixture; 0: none
            batch_size=16,  # over all devices and hosts
            short='pad',  # mixtures shorter than a segment: 'pad' (masked) or 'drop'
            remix=False,  # deal the sources of each batch anew, all but the last of a mixture
            remix_db=2.5,  # most that one dealt anew gets louder or softer
            speed=0.0,  # most by which a source is played faster or slower; 0.05: 0.95 to 1.05
            read_threads=1,  # more where reading waits, as on a network disk
            prefetch_batches=8,  # read ahead
        ),
        features=dict(
            name='log_mel',  # log_mel, pcen
            window=2048,  # of the Hann STFT, in samples
            hop=512,
            bands=128,
            low=0.0,  # lower edge of the mel filterbank in Hz
            high=0.0,  # upper edge in Hz; 0: half the sample rate
            mel_scale='slaney',  # slaney, htk
            # What the networks see is (feature - shift) / scale, of about zero mean and unit
            # variance on real mixtures.
            log_floor=1e-5,  # added to the mel magnitude before the logarithm
            log_shift=-3.6,
            log_scale=2.1,
            pcen_smoothing=0.025,  # s
            pcen_eps=1e-6,
            pcen_gain=0.98,  # alpha
            pcen_bias=2.0,  # delta
            pcen_power=0.5,  # r
            pcen_start='first',  # of the smoother: first (frame), librosa
            pcen_shift=0.32,
            pcen_scale=0.25,
        ),
        model=dict(
            layers=size(paper=3, narrow=3, small=2, demo=2),
            hidden=size(paper=300, narrow=150, small=128, demo=64),  # a direction
            projection=size(paper=256, narrow=128, small=128, demo=64),
            mask_domain='mel',  # what the mask is over: mel (bands), stft (bins, footnote 1)
            auxiliary=False,
            auxiliary_hidden=128,
            dtype='float32',  # of the dense layers and input products: float32, bfloat16
        ),
        loss=dict(
            normalization='frame',  # of equation 5: sum, frame, mean, energy
        ),
        training=dict(
            init_from='',  # run folder or model file whose weights are the first; empty: random
            epochs=size(paper=50, narrow=25, small=10, demo=8),
            minutes=0.0,  # to the nearest end of an epoch; 0: until the last of `epochs`
            learning_rate=1e-3,
            schedule='plateau',  # of the rate: plateau, cosine (to 0 at the last step)
            warmup_steps=0,  # in which the rate rises from 0
            clip_norm=7.0,
            weight_decay=0.0,  # AdamW's, of matrices and filters; 0: Adam
            accumulate=1,  # parts in which a batch is worked off, one gradient of all
            shard_optimizer=False,  # each device holds its share of the optimiser's moments alone
            ema=0.0,  # decay of the weights' moving average, which is then evaluated; 0: none
            plateau_factor=0.5,  # of the rate after
            plateau_epochs=3,  # without improvement
            plateau_tolerance=1e-6,  # by which the validation loss must fall
            patience_epochs=0,  # without improvement, after which the run ends; 0: never
            max_nonfinite_steps=10,  # in a row, before the run stops
            checkpoint_steps=1000,  # besides the one at each epoch's end
            keep_checkpoints=3,  # the last ones; the best is kept besides
            log_steps=size(paper=100, narrow=100, small=100, demo=25),
            audio_examples=2,  # of validation, as sounds for TensorBoard
            wandb='',  # project at Weights & Biases that is logged to as well; empty: none
            gates=True,  # of gated layers, of which the mask estimator has none
        ),
        evaluation=dict(
            splits='c1,c2,c3,c4',  # separated by commas
            batch_size=8,
            bucket_seconds=1.0,  # lengths are padded to a multiple, with exact masking
            filter_taps=512,  # of BSS-eval v3
            quality='',  # measured besides: stoi, pesq, or both with a comma
            max_examples=0,  # 0: all
            listen_examples=3,  # of each split, separated and written as sounds
        ),
    )
    return config, size
