"""Makes a model file of a Conv-TasNet that another program trained.

python -m fgsep_jax.interop.import_model FILE --output=NAME.safetensors
python -m fgsep_jax.interop.import_model FOLDER --output=NAME.safetensors
python -m fgsep_jax.interop.import_model convtasnet.onnx --sample_rate=16000 --output=m.safetensors

FILE: what asteroid, torchaudio, naplab's, kaituoxu's or espnet's PyTorch code saved, the same
weights as .safetensors, or an ONNX file that kept asteroid's names. FOLDER: of speechbrain, with
encoder.ckpt, masknet.ckpt, decoder.ckpt in it (or these three files). The layout is recognised by
its names, the sizes by the shapes; what no weight says is taken as that program has it, and
printed.
"""

import os
import re
import sys

from fgsep_jax import command_line, config as config_lib, files, stopping, validate
from fgsep_jax.config import ConfigError
from fgsep_jax.names import shown
from fgsep_jax.rules import Rules

SEGMENT = 4.0  # seconds, for a training that starts from it


def _parser():
    parser = command_line.Parser('fgsep_jax.interop.import_model', __doc__, words='FILE...')
    parser.add_argument(
        '--output',
        metavar='NAME.safetensors',
        type=command_line.local_path,
        required=True,
        help='the model file to write',
    )
    parser.add_argument(
        '--sample_rate', type=command_line.count, help='in hertz, where FILE does not say it'
    )
    parser.add_argument(
        '--sources', type=command_line.words, default=[],
        help='names of what it gives; default: speech, or speaker_1,speaker_2',
    )  # fmt: skip
    parser.switch('--overwrite', 'replace what has the name of --output')
    parser.add_argument('--origin', help='what it was trained on, by whom; kept in the model file')
    parser.add_argument('--licence', default='', help='of the weights; kept in the model file')
    return parser


def import_model(path, output, *, sample_rate=None, sources=(), origin='', licence='', keys=None):
    """Makes a model file of another program's.

    Args:
      path: of the weights, or paths; see `foreign_files.read`.
      output: of the model file.
      sample_rate: in hertz; None where the file says it.
      sources: names of what it gives; empty for the usual ones.
      origin, licence: see `model_file.About`.
      keys: {'model.SECTION.NAME': text} that stand above what is found.

    Returns:
      (name of the layout, the configuration, {key: value} of its model that neither the
      file nor `keys` say).

    Raises:
      ConfigError: it cannot be read, or is no Conv-TasNet that ours can be.
    """
    from fgsep_jax.interop import foreign_files, layouts, model_file

    model_file.check_path(os.fspath(output))
    model_file.check_texts(origin=origin or '', licence=licence)
    paths = [path] if isinstance(path, (str, os.PathLike)) else path
    typed, plain = _typed(keys or {}), _flat(config_lib.defaults('speech')['model'])
    given = {*typed} if sample_rate is None else {*typed, 'sample_rate'}
    state, told, called = foreign_files.read(*paths, given=given)
    path = paths[0] if len(paths) == 1 else os.path.dirname(paths[0]) or os.curdir
    for key, value in told.items():
        kind = type(plain.get(key, 1))
        if type(value) is not kind:
            raise ConfigError(
                f'{shown(path)}: its {called.get(key, key)} is {shown(f"{value!r:.40}")}, must be'
                f' of type {kind.__name__}'
            )
    rate = told.pop('sample_rate', sample_rate)
    rules = Rules({'sample_rate': rate})
    try:
        made = layouts.convert(state, {**told, **typed}, claimed=called)
        if rate is not None:
            rules.at_least_one('sample_rate')
        rules.check()
    except ValueError as error:
        raise _of(path, error, called) from error
    if rate is None:
        raise ConfigError(f'{shown(path)} does not say its sample rate: --sample_rate=HERTZ')
    name = os.path.splitext(os.path.basename(output))[0]
    config = config_lib.base('speech', experiment=name).unlock()
    config.preset = made.layout.name
    config.data.sources, config.data.sample_rate = made.sources, rate
    model = dict(made.model)
    if model.get('input_norm') == model.get('norm', config.model.norm):
        model['input_norm'] = 'same'
    config.model.update(config_lib.nested_model(model))
    stride = max(config.model.encoder.stride, 1)
    frames = max(round(SEGMENT * rate / stride), config.model.encoder.window)
    config.data.segment_seconds = frames * stride / rate
    try:
        validate.validate(config)
    except ConfigError as error:
        raise _of(path, error, called) from error
    model_file.write(
        output, config, made.parameters, sources=sources or model_file.usual_names(config),
        origin=origin or f'{made.layout.name}, {shown(os.path.basename(os.path.abspath(path)))}',
        licence=licence,
    )  # fmt: skip
    taken = _flat(config.model.to_dict())
    guessed = ['norm', 'causal', 'stride', 'blocks', 'mask', 'rectify']
    return (
        made.layout.name,
        config,
        {key: taken[key] for key in guessed if key not in {*told, *typed}},
    )


def _of(path, error, called):
    """A ConfigError of a file, in whose words the keys of an error are named, too."""
    keys = [key for key in re.findall(r'(\w+) = ', str(error)) if called.get(key, key) != key]
    theirs = ', '.join(f'its {called[key]} is our {key}' for key in keys)
    return ConfigError(f'{shown(path)}: {error}' + (f' ({theirs})' if theirs else ''))


def _typed(keys):
    """{name: value} of what stands as --config.model.SECTION.NAME=TEXT."""
    config = config_lib.base('speech').unlock()
    for key in keys:
        if not key.startswith('model.'):
            raise ConfigError(f'--config.{key}: only keys of model can be said of weights')
    config_lib.override(config, keys)
    names = config.model.encoder.name, config.model.separator.name
    if names != ('linear', 'tcn'):
        raise ConfigError(
            f'model.encoder.name = {names[0]!r}, model.separator.name = {names[1]!r}: what can be'
            " imported has a 'linear' encoder and a 'tcn'"
        )
    flat = _flat(config.model.to_dict())
    return {key.rpartition('.')[2]: flat[key.rpartition('.')[2]] for key in keys}


def _flat(model):
    """{name: value} of the section `model`, whichever part of it has the name."""
    return {key.rpartition('.')[2]: value for key, value in files.flatten(model).items()}


def _check_output(output, paths, overwrite):
    """Raises ConfigError where something would be replaced that is not to be."""
    if not os.path.lexists(output):
        return
    there = os.path.realpath(output)
    if any(os.path.realpath(path) == there for path in paths):
        raise ConfigError(f'--output={shown(output)} is what is imported; give another name')
    if not overwrite or not os.path.isfile(output):
        raise ConfigError(f'--output={shown(output)} is there already: --overwrite replaces a file')


def main(argv=None):
    """Runs the program.

    Raises:
      SystemExit: status 2 for what cannot be imported.
    """
    argv, keys = config_lib.split_overrides(sys.argv[1:] if argv is None else argv)
    args, words = _parser().parse(argv)
    try:
        if not words:
            raise ConfigError('a FILE is needed, and there is none')
        paths = [command_line.path(word) for word in words]
        _check_output(args.output, paths, args.overwrite)
        whose, config, guessed = import_model(
            paths, args.output, sample_rate=args.sample_rate,
            sources=args.sources, origin=args.origin, licence=args.licence, keys=keys,
        )  # fmt: skip
    except (ConfigError, command_line.FlagError, OSError) as error:
        raise command_line.refusal(error) from error
    from fgsep_jax.interop import model_file

    about = model_file.read_about(args.output)
    encoder, tcn = config.model.encoder, config.model.separator
    print(
        f'{whose}: {config.data.sample_rate} Hz, gives {", ".join(map(shown, about.sources))};'
        f' {encoder.basis} filters of {encoder.window} samples,'
        f' {tcn.repeats} x {tcn.blocks} blocks'
    )
    if guessed:
        values = ', '.join(f'{key}={value}' for key, value in guessed.items())
        print(
            f'{" ".join(map(shown, words))} does not say {values}: taken as {whose} has them unless'
            ' told otherwise; --config.model.SECTION.KEY=VALUE changes one'
        )
    if not about.licence:
        print('its licence is unknown here: look it up before you pass it on, and give --licence')
    print(f'wrote              {shown(args.output)}')


if __name__ == '__main__':
    stopping.run(main)
