"""What the experiments of paper 2 share: data, Conv-TasNet, loss, recipe, in the paper's sizes.

Paper: Kadioglu et al., "An empirical study of Conv-TasNet", ICASSP 2020; where it is silent, the
choices that docs/choices.md lists.
"""

from fgsep_jax import config as config_lib


def base(argument='', *, experiment=''):
    """The configuration of the plain model, and what picks a value by size.

    Args:
      argument: what stands after the colon of --config=FILE:ARGUMENT, see `config.parse`.
      experiment: name of the experiment, used for the run folder.

    Returns:
      (a ConfigDict, `size`: {size: value} as keywords -> the value of the chosen one).
    """
    chosen = config_lib.parse(argument, 'speech')
    size = chosen.size
    libritts = chosen.data == 'libritts_2mix'
    config = config_lib.make(
        experiment=experiment,
        preset=chosen.preset,
        task='speech',
        seed=chosen.seed,
        data=dict(
            name=chosen.data,  # empty: whatever the data set in `dir` calls itself
            dir='',  # empty: the task's embedded data set
            sample_rate=8000,  # Hz
            sources=2,  # that the model estimates
            # Which of a data set's sources those are where it has more, by number or name
            # ('foreground', '1,3'); the others are noise. Empty: all.
            targets='',
            segment_seconds=size(paper=4.0, narrow=2.0, small=1.0, demo=1.0),
            adaptation_seconds=0.0,  # of the background segment read beside each mixture; 0: none
            batch_size=size(paper=16, narrow=4, small=8, demo=8),  # over all devices and hosts
            short='pad',  # mixtures shorter than a segment: 'pad' (masked) or 'drop'
            remix=False,  # deal the sources of each batch anew, all but the last of a mixture
            remix_db=2.5,  # most that one dealt anew gets louder or softer
            speed=0.0,  # most by which a source is played faster or slower; 0.05: 0.95 to 1.05
            read_threads=1,  # more where reading waits, as on a network disk
            prefetch_batches=8,  # read ahead
        ),
        model=dict(
            encoder=dict(
                name='linear',  # linear; deep: prelu, glu
                basis=size(paper=512, narrow=64, small=128, demo=64),  # N
                window=16,  # L
                stride=8,  # S
                framing='padded',  # of the ends: padded, aligned (torchaudio), plain (asteroid)
                rectify=False,  # a ReLU behind the strided layer
                strided_bias=False,  # of the strided layers
                spectrum=False,  # the separator reads log(1 + |STFT|) beside the code
                decoder_bias=False,
                # A deep one has these, too:
                # layers: I, the strided one counted
                # dilated: by 1, 2, 4, ... in the encoder, mirrored in the decoder
                # bias: of the deep layers
            ),
            separator=dict(
                name='tcn',
                bottleneck=size(paper=128, narrow=32, small=64, demo=32),  # B
                hidden=size(paper=512, narrow=64, small=128, demo=64),  # H
                skip=size(paper=128, narrow=32, small=64, demo=32),  # Sc; 0 for no skip connections
                kernel=3,  # P
                blocks=size(paper=8, narrow=8, small=6, demo=6),  # X
                repeats=size(paper=3, narrow=3, small=2, demo=2),  # R
                input_norm='same',  # before the bottleneck: same (as norm), gln, cln, frame, none
                prelu='shared',  # slopes: shared (one a layer), channel
                padding='zeros',  # what its convolutions see at the ends: zeros, reflect
                mask='sigmoid',  # sigmoid, relu, softmax
                depthwise='auto',  # auto (folded with the norms under gln), shift, conv
                unused_residual=False,  # of the last block, which nothing reads
                remat=False,  # blocks computed again in the backward pass, for memory
            ),
            norm='gln',  # gln, cln, frame (each frame by itself)
            causal=False,
            eps=1e-8,  # of the norms
            dtype='float32',  # of the convolutions: float32, bfloat16
        ),
        loss=dict(
            name='si_snr',  # si_snr, snr
            eps=1e-8,
            clip_db=0.0,  # an example's loss counts no further below it, e.g. -30; 0: always
            power_law_weight=0.0,  # beta; the paper's augmented objective has 0.01
            power_law_exponent=0.5,  # alpha
            power_law_window=256,
            power_law_hop=64,
            power_law_reduction='frame',  # sum, frame, mean
        ),
        training=dict(
            init_from='',  # run folder or model file whose weights are the first; empty: random
            # Section 4: 100 on WSJ0-2mix, 60 on LibriTTS.
            epochs=size(paper=60 if libritts else 100, narrow=10, small=6, demo=4),
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
            plateau_tolerance=1e-4,  # dB by which the validation loss must fall
            patience_epochs=0,  # without improvement, after which the run ends; 0: never
            max_nonfinite_steps=10,  # in a row, before the run stops
            checkpoint_steps=1000,  # besides the one at each epoch's end
            keep_checkpoints=3,  # the last ones; the best is kept besides
            log_steps=size(paper=100, narrow=100, small=100, demo=50),
            audio_examples=2,  # of validation, as sounds for TensorBoard
            wandb='',  # project at Weights & Biases that is logged to as well; empty: none
            gates=True,  # save what a gated encoder lets through, at a few steps
        ),
        evaluation=dict(
            splits='test',  # separated by commas
            batch_size=8,
            bucket_seconds=1.0,  # lengths are padded to a multiple, with exact masking
            filter_taps=512,  # of BSS-eval v3
            quality='',  # measured besides: stoi, pesq, or both with a comma
            max_examples=0,  # 0: all
            listen_examples=3,  # of each split, separated and written as sounds
        ),
    )
    return config, size
