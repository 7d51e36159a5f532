"""Default configuration of each task, and the presets laid over it.

The defaults are the papers' own numbers, or the choices that the table of
docs/choices.md, "Where the papers are silent", lists.
"""

# Data sets that a task can train on: the jobs of `data_prep`, each as its data set is called.
JOBS = {
    'speech': ('embedded', 'wsj0_2mix', 'libritts_2mix', 'vctk_2mix', 'librimix', 'folder_2mix'),
    'foreground': ('embedded_fgbg', 'fgbg'),
}
# What the sources of a task's data sets are called, in their order; others have numbers from 1 on.
SOURCE_NAMES = {'speech': (), 'foreground': ('foreground', 'background')}
EMBEDDED = {'speech': 'embedded', 'foreground': 'embedded_fgbg'}

# Values that a data set lays over a task's: LibriTTS is trained on for 60 epochs (paper 2,
# section 4).
OF_DATA_SETS = {'libritts_2mix': {'training.epochs': 60}}

# Values a preset lays over the paper's, as Conv-TasNet has them. `model.layers` of an encoder is a
# cap, since the linear model has one only, one higher for the dilated one; Big-Conv-TasNet keeps
# twice the basis and one more repeat.
PRESETS = {
    'speech': {
        'paper': {},
        'small': {
            'model.layers': 2,
            'model.basis': 128,
            'model.bottleneck': 64,
            'model.hidden': 128,
            'model.skip': 64,
            'model.blocks': 6,
            'model.repeats': 2,
            'data.batch_size': 8,
            'data.segment_seconds': 1.0,
            'training.epochs': 6,
        },
        'demo': {
            'model.layers': 2,
            'model.basis': 64,
            'model.bottleneck': 32,
            'model.hidden': 64,
            'model.skip': 32,
            'model.blocks': 6,
            'model.repeats': 2,
            'data.batch_size': 8,
            'data.segment_seconds': 1.0,
            'training.epochs': 4,
            'training.log_steps': 50,
        },
    },
    'foreground': {
        'paper': {},
        'small': {
            'model.layers': 2,
            'model.hidden': 128,
            'model.projection': 128,
            'training.epochs': 10,
        },
        'demo': {
            'model.layers': 2,
            'model.hidden': 64,
            'model.projection': 64,
            'training.epochs': 8,
            'training.log_steps': 25,
        },
    },
}

_DATA = {
    'name': '',  # empty: whatever the data set in `dir` calls itself
    'dir': '',  # empty: the task's embedded data set
    'sample_rate': 8000,  # Hz
    'sources': 2,  # that the model estimates
    # Which of a data set's sources those are where it has more, by number or name ('foreground',
    # '1,3'); the others are noise. Empty: all.
    'targets': '',
    'segment_seconds': 4.0,
    'adaptation_seconds': 0.0,  # of the background segment read beside each mixture; 0: none
    'batch_size': 16,  # over all devices and hosts
    'short': 'pad',  # mixtures shorter than a segment: 'pad' (masked) or 'drop'
    'read_threads': 1,  # more where reading waits, as on a network disk: the rest is Python's
    'prefetch_batches': 8,
}
_TRAINING = {
    'init_from': '',  # run folder or model file whose weights are the first; empty: random ones
    'epochs': 100,
    'minutes': 0.0,  # of training, to the nearest end of an epoch; 0: until the last of `epochs`
    'learning_rate': 1e-3,
    'clip_norm': 7.0,
    'plateau_factor': 0.5,
    'plateau_epochs': 3,
    'plateau_tolerance': 1e-4,  # by which the validation loss must fall; dB for SI-SNR
    'max_nonfinite_steps': 10,  # in a row, before the run stops
    'checkpoint_steps': 1000,  # besides the one at each epoch's end
    'keep_checkpoints': 3,  # the last ones; the best is kept besides
    'log_steps': 100,
    'audio_examples': 2,
    'gates': True,  # save what a gated encoder lets through, at a few steps
}
_EVALUATION = {
    'splits': 'test',  # separated by commas
    'batch_size': 8,
    'bucket_seconds': 1.0,  # lengths are padded to a multiple, with exact masking
    'filter_taps': 512,  # of BSS-eval v3
    'max_examples': 0,  # 0: all
    'listen_examples': 3,  # of each split, separated and written as sounds
}

SPEECH = {
    'experiment': '',
    'preset': 'paper',
    'task': 'speech',
    'seed': 0,
    'data': _DATA,
    'model': {
        'encoder': 'linear',  # linear, prelu, glu
        'layers': 1,  # I
        'dilated': False,  # 1, 2, 4, ... in the encoder, mirrored in the decoder
        'basis': 512,  # N
        'window': 16,  # L
        'stride': 8,  # S
        'framing': 'padded',  # of the ends: padded, aligned (torchaudio), plain (asteroid)
        'encoder_activation': 'none',  # none, relu
        'decoder_bias': False,
        'bottleneck': 128,  # B
        'hidden': 512,  # H
        'skip': 128,  # Sc; 0 for no skip connections
        'kernel': 3,  # P
        'blocks': 8,  # X
        'repeats': 3,  # R
        'norm': 'gln',  # gln, cln, frame (each frame by itself)
        'input_norm': 'same',  # before the bottleneck: same (as norm), gln, cln, frame, none
        'prelu': 'shared',  # slopes: shared (one a layer), channel
        'padding': 'zeros',  # what the separator's convolutions see at the ends: zeros, reflect
        'causal': False,
        'mask': 'sigmoid',  # sigmoid, relu, softmax
        'bias': True,
        'eps': 1e-8,
        'depthwise': 'auto',  # auto (folded with the norms under gln), shift, conv
        'unused_residual': False,
        'remat': False,
        'dtype': 'float32',  # of the convolutions: float32, bfloat16
    },
    'loss': {
        'name': 'si_snr',  # si_snr, snr
        'eps': 1e-8,
        'power_law_weight': 0.0,  # beta; the paper's augmented objective has 0.01
        'power_law_exponent': 0.5,  # alpha
        'power_law_window': 256,
        'power_law_hop': 64,
        'power_law_reduction': 'frame',  # sum, frame, mean
    },
    'training': _TRAINING,
    'evaluation': _EVALUATION,
}

FOREGROUND = {
    'experiment': '',
    'preset': 'paper',
    'task': 'foreground',
    'seed': 0,
    'data': {**_DATA, 'sample_rate': 44100, 'segment_seconds': 2.0},
    'features': {
        'name': 'log_mel',  # log_mel, pcen
        'window': 2048,  # of the Hann STFT, in samples
        'hop': 512,
        'bands': 128,
        'low': 0.0,  # lower edge of the mel filterbank in Hz
        'high': 0.0,  # upper edge in Hz; 0: half the sample rate
        'mel_scale': 'slaney',  # slaney, htk
        # What the networks see is (feature - shift) / scale, of about zero mean and unit variance
        # on real mixtures.
        'log_floor': 1e-5,  # added to the mel magnitude before the logarithm
        'log_shift': -3.6,
        'log_scale': 2.1,
        'pcen_smoothing': 0.025,  # s
        'pcen_eps': 1e-6,
        'pcen_gain': 0.98,  # alpha
        'pcen_bias': 2.0,  # delta
        'pcen_power': 0.5,  # r
        'pcen_start': 'first',  # of the smoother: first (frame), librosa
        'pcen_shift': 0.32,
        'pcen_scale': 0.25,
    },
    'model': {
        'layers': 3,
        'hidden': 300,  # a direction
        'projection': 256,
        'auxiliary': False,
        'auxiliary_hidden': 128,
        'dtype': 'float32',  # of the dense layers and input products: float32, bfloat16
    },
    'loss': {
        'normalization': 'frame',  # of equation 5: sum, frame, mean, energy
    },
    'training': {**_TRAINING, 'epochs': 50, 'plateau_tolerance': 1e-6},
    'evaluation': {**_EVALUATION, 'splits': 'c1,c2,c3,c4'},
}
DEFAULTS = {'speech': SPEECH, 'foreground': FOREGROUND}
