"""Takes a trained model out, as files that run without this package.

python -m fgsep_jax.interop.export_model RUN --output=NAME
python -m fgsep_jax.interop.export_model runs/voices --output=voices --licence="CC BY 4.0"

RUN is a run folder or a model file. NAME.safetensors is the model file that fgsep-separate,
fgsep_jax.load and --mode=evaluate take; NAME.stablehlo runs wherever JAX does, NAME.onnx in ONNX
Runtime. docs/export.md shows how.
"""

import copy
import glob
import importlib.util
import logging
import math
import os
import sys
from unittest import mock
import warnings

from fgsep_jax import buckets, command_line, config as config_lib, files, stopping
from fgsep_jax.config import ConfigError
from fgsep_jax.names import part, shown

FORMATS = ('safetensors', 'stablehlo', 'onnx')
# Suffixes of files that hold models elsewhere: who gives one wants a file of that kind.
OTHERS = frozenset([
    'bin', 'ckpt', 'gguf', 'h5', 'hdf5', 'joblib', 'keras', 'mlir', 'mlmodel', 'mlpackage',
    'msgpack', 'npy', 'npz', 'orbax', 'ort', 'pb', 'pickle', 'pkl', 'pt', 'pte', 'pth', 'ptl',
    'safetensor', 'tar', 'tflite', 'torchscript', 'trt', 'zip', *FORMATS,
])  # fmt: skip
PLATFORMS = ('cpu', 'cuda', 'tpu')
TOLERANCE = 1e-4  # of the largest estimate, between a model and what was exported


def _parser():
    parser = command_line.Parser('fgsep_jax.interop.export_model', __doc__, words='RUN')
    parser.add_argument(
        '--output',
        metavar='NAME',
        type=command_line.local_path,
        required=True,
        help='NAME of the files; with one of their suffixes, of that file alone',
    )
    parser.add_argument(
        '--formats',
        metavar='FORMAT[,FORMAT...]',
        type=command_line.some(str),
        help=f'of {", ".join(FORMATS)}; default: all that can be',
    )
    parser.add_argument('--origin', help="what it was trained on; default: the run's data set")
    parser.add_argument('--licence', help='of the weights')
    parser.switch('--overwrite', 'replace what is there')
    return parser


def _plan(args):
    """({format: path}, whether each of them was asked for).

    Raises:
      ConfigError: an unknown format, or a file that cannot be or is there already.
    """
    stem, suffix = os.path.splitext(args.output)
    formats = args.formats
    if suffix[1:] in FORMATS:
        formats = formats or [suffix[1:]]
        if formats != [suffix[1:]]:
            raise ConfigError(
                f'--output={shown(args.output)} names a file, and --formats='
                f'{",".join(formats)} others: leave {suffix} out'
            )
    elif suffix[1:].lower() in OTHERS:
        raise ConfigError(
            f'--output={shown(args.output)}: {suffix} is none of .{", .".join(FORMATS)}, which are'
            f' written: leave {suffix} out, or give one of them'
        )
    else:
        stem = args.output
    for name in formats or ():
        if name not in FORMATS:
            raise ConfigError(
                f'--formats={name}: must be of {", ".join(FORMATS)}'
                + command_line.did_you_mean(name, FORMATS).rstrip('.')
            )
    paths = {name: f'{stem}.{name}' for name in FORMATS if name in (formats or FORMATS)}
    folder = os.path.dirname(os.path.abspath(stem))
    if not os.path.isdir(folder) or os.path.basename(stem) in ('', os.curdir, os.pardir):
        raise ConfigError(
            f'--output={shown(args.output)}: must be a NAME in a folder that is there'
        )
    for path in paths.values():
        if os.path.lexists(path) and (not args.overwrite or not os.path.isfile(path)):
            raise ConfigError(
                f'{shown(path)} is there already: --overwrite replaces a file, and --formats leaves'
                ' some of them out'
            )
    return paths, formats is not None


def _why_no_onnx(config):
    """Why there can be no ONNX file of a model; '' where there can."""
    if config.task != 'speech':
        return (
            'jax2onnx has no inverse FFT of complex spectra, by which a mask model makes its'
            ' signals; NAME.stablehlo holds the whole of it'
        )
    padding = config.model.separator.get('padding', 'zeros')
    if padding != 'zeros':
        return (
            f'jax2onnx cannot mirror frames of any number (model.separator.padding ='
            f' {padding});'
            ' NAME.stablehlo holds the whole of it'
        )
    if missing := [name for name in ('jax2onnx', 'onnx', 'onnxruntime') if not _there(name)]:
        return f"{missing[0]} is not installed: `pip install 'fgsep_jax[onnx]'`"
    return ''


def _there(name):
    return importlib.util.find_spec(name) is not None


def _said(path, separator, args):
    """What the header of a model file says of a loaded one; see `model_file.header`."""
    from fgsep_jax.interop import model_file
    from fgsep_jax.training import run_folder

    if model_file.is_model_file(path):
        about = model_file.read_about(path)
        origin, licence, scores = about.origin, about.licence, about.scores
        speakers = about.speakers
    else:
        origin, licence = _trained_on(path), ''
        scores = _scores(path, separator)
        heard = run_folder.trained_speakers(path, separator.config)
        speakers = heard.digests if heard.complete else ()
        if problem := run_folder.damage(path):
            note = f'note: {shown(problem)}; what it was trained on is left out'
            print(buckets.named(note), file=sys.stderr)
    return dict(
        sources=separator.sources,
        step=separator.step,
        origin=origin if args.origin is None else args.origin,
        licence=licence if args.licence is None else args.licence,
        scores=scores,
        speakers=speakers,
    )


def _trained_on(run):
    """Which data a run was trained on, in words."""
    from fgsep_jax.training import run_folder

    data = run_folder.training_data(run)
    if not isinstance(data.get('name'), str):
        return ''
    train = data.get('train') if isinstance(data.get('train'), dict) else {}
    counts = ', '.join(f'{train[key]} {key}' for key in ('examples', 'speakers') if train.get(key))
    return f'{data["name"]}, {data.get("sample_rate")} Hz' + (f', {counts}' if counts else '')


def _scores(run, separator):
    """{results: {metric: value}} of a run's own evaluations of what was loaded of it.

    Values are what the tables show: means of speech, medians of foreground and background.
    """
    scores, seed = {}, separator.config.seed
    for path in sorted(
        glob.glob(os.path.join(glob.escape(run), 'evaluation', '*', 'summary.json'))
    ):
        try:
            content = files.read_json(path, ConfigError, finite=False, halves=True)
            _check_summary(content)
            folder = os.path.basename(os.path.dirname(path))
            if part(content['results']) != folder:
                raise ConfigError(f'its results are called {content["results"]}')
            if content.get('seed', seed) != seed:
                raise ConfigError(f'it is of the seed {content["seed"]}, the run of {seed}')
            statistic = 'median' if content.get('classes') else 'mean'
            values = {
                f'{statistic}_{metric}': value[statistic]
                for metric, value in content['metrics'].items()
                if '_mixture' not in metric and value[statistic] is not None
            }
            if content['step'] == separator.step:
                scores[content['results']] = {'examples': content['examples'], **values}
        except ConfigError as error:
            note = f'note: {shown(path)} holds no scores and is left out: {error}'
            print(buckets.named(note), file=sys.stderr)
    return scores


def _check_summary(content):
    metrics = content.get('metrics')
    statistics = [*metrics.values()] if isinstance(metrics, dict) else [metrics]
    statistic = 'median' if content.get('classes') else 'mean'
    if files.is_damaged(content):
        raise ConfigError('it is damaged: its digest does not match')
    for values in statistics:
        if not isinstance(values, dict) or statistic not in values:
            raise ConfigError(f'metrics = {metrics!r:.60}, each must have its {statistic}')
    for key, kind, rule in (
        ('step', int, 'a whole number'),
        ('examples', int, 'a whole number'),
        ('results', str, 'a text'),
    ):
        if type(content.get(key)) is not kind:
            raise ConfigError(f'{key} = {content.get(key)!r:.60}, must be {rule}')


def least_samples(config):
    """Samples that a mixture must have for an exported model: the blocks' shifts lie within."""
    if config.task != 'speech':
        return 1
    tcn = config.model.separator
    if tcn.name != 'tcn':
        return 1
    return max(config.model.encoder.stride * (tcn.kernel // 2) * 2 ** (tcn.blocks - 1), 1)


def _task(separator, **keys):
    """The task of a loaded model with some keys of its TCN changed, if it has one."""
    from fgsep_jax.tasks import make_task

    config = copy.deepcopy(separator.config)
    if config.task == 'speech' and config.model.separator.name == 'tcn':
        config.model.separator.update(keys)
    return make_task(config)


def to_stablehlo(separator):
    """A model by `jax.export`, for all platforms, any batch and any length.

    Called with float32 mixtures [batch, samples], and for a model with an auxiliary network with
    background alone [batch, adaptation samples], it gives {source: [batch, samples]}.

    Args:
      separator: a `separation.model.Separator`.

    Returns:
      The bytes of a `jax.export.Exported`.
    """
    import jax
    from jax import export
    import jax.numpy as jnp

    config, task = separator.config, _task(separator, remat=False)
    speech = config.task == 'speech'
    block = config.model.encoder.window if speech else config.features.hop

    def separate(mixture_BT, *adaptation_BT):
        # Lengths that are no multiple of the block have shapes that nothing can compare: mixtures
        # are padded to the next one, and their true length is told.
        batch, samples = mixture_BT.shape
        more = (samples // block + 1) * block - samples
        zero = jnp.zeros((), mixture_BT.dtype)
        estimate_BST = task.separate(
            separator.parameters,
            jax.lax.pad(mixture_BT, zero, [(0, 0, 0), (0, more, 0)]),
            jnp.broadcast_to(jnp.asarray(samples, jnp.int32), (batch,)),
            *adaptation_BT,
        )
        estimate_BST = jax.lax.pad(estimate_BST, zero, [(0, 0, 0), (0, 0, 0), (0, -more, 0)])
        return dict(zip(separator.sources, jnp.moveaxis(estimate_BST, 1, 0)))

    separate.__name__ = f'separate_{config.data.sample_rate}_Hz'  # all that a caller can ask for it
    batch, samples = export.symbolic_shape(
        'batch, samples', constraints=(f'samples >= {least_samples(config)}',)
    )
    shapes = [(batch, samples), *_adaptation(separator, batch)]
    exported = export.export(jax.jit(separate), platforms=PLATFORMS)(
        *(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)
    )
    return bytes(exported.serialize())


def _adaptation(separator, batch):
    """Shapes of the background that a model is given besides: none, or one."""
    seconds = separator.network.adaptation_seconds
    return [(batch, round(seconds * separator.sample_rate))] if seconds else []


def to_onnx(separator, metadata):
    """A Conv-TasNet as ONNX, for any batch and any multiple of its window.

    Args:
      separator: a `separation.model.Separator`.
      metadata: {key: text} for the model's properties.

    Returns:
      The bytes of an ONNX model: 'mixture' [batch, samples] -> one output a source, by its name.
    """
    from jax import export
    import jax2onnx
    import numpy as np
    import onnx

    logging.getLogger('onnx_ir').setLevel(logging.ERROR)  # its warnings are of no use to a user
    window = separator.config.model.encoder.window
    task = _task(separator, remat=False, depthwise='conv')  # a quarter faster there

    def separate(frame_BKW):
        estimate_BST = task.separate(
            separator.parameters, frame_BKW.reshape(frame_BKW.shape[0], -1)
        )
        return tuple(estimate_BST[:, index] for index in range(len(separator.sources)))

    # jax2onnx copies shapes, and JAX 0.10 stumbles over a copy of what they are reckoned by.
    whole = mock.patch.object(
        export.SymbolicScope, '__deepcopy__', lambda scope, memo: scope, create=True
    )
    with whole:  # a free dimension can be a number of windows, and none of samples
        model = jax2onnx.to_onnx(
            separate,
            [('batch', 'windows', window)],
            model_name=metadata['written_by'],
            input_names=['windows_of_mixture'],
            output_names=list(separator.sources),
        )
    graph, signal = model.graph, (onnx.TensorProto.FLOAT, ['batch', 'samples'])
    shape = onnx.numpy_helper.from_array(np.array([0, -1, window]), 'shape_of_windows')
    graph.initializer.append(shape)
    cut = onnx.helper.make_node('Reshape', ['mixture', shape.name], ['windows_of_mixture'])
    nodes = [cut, *_sums_by_rows(graph)]
    del graph.node[:], graph.input[:], graph.output[:]
    graph.node.extend(nodes)
    graph.input.append(onnx.helper.make_tensor_value_info('mixture', *signal))
    for name in separator.sources:
        graph.output.append(onnx.helper.make_tensor_value_info(name, *signal))
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _sums_by_rows(graph):
    """The nodes of an ONNX graph, sums over frames and channels taken over channels first.

    ONNX Runtime adds the squares of a whole example up one after another: of two seconds, the
    estimates were off by 5e-4 so, and by 1e-6 in two steps.
    """
    import numpy as np
    from onnx import helper, numpy_helper

    constants = {
        tensor.name: numpy_helper.to_array(tensor).tolist() for tensor in graph.initializer
    }
    graph.initializer.append(numpy_helper.from_array(np.array([2]), 'channels_axis'))
    for node in graph.node:
        summed = node.op_type in ('ReduceSum', 'ReduceSumSquare') and len(node.input) > 1
        if summed and constants.get(node.input[1]) == [1, 2]:
            rows = f'{node.output[0]}_rows'
            inputs = [node.input[0], 'channels_axis']
            yield helper.make_node(node.op_type, inputs, [rows], keepdims=1)
            node.op_type, node.input[0] = 'ReduceSum', rows
        yield node


def _run_stablehlo(content, signals):
    from jax import export

    return export.deserialize(bytearray(content)).call(*signals)


def _run_onnx(content, signals):
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=['CPUExecutionProvider'])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {'mixture': signals[0]})))


def _difference(separator, run, content):
    """Largest difference between a model and what was exported, over the largest estimate, on
    noise of half a second."""
    import jax
    import numpy as np

    block = 1 if separator.config.task != 'speech' else separator.config.model.encoder.window
    samples = block * math.ceil(
        max(separator.sample_rate / 2, least_samples(separator.config)) / block
    )
    random = np.random.default_rng(0)
    signals = [
        random.uniform(-0.5, 0.5, shape).astype(np.float32)
        for shape in ((1, samples), *_adaptation(separator, 1))
    ]
    wanted_BST = np.asarray(
        jax.jit(separator.task.separate)(separator.parameters, signals[0], None, *signals[1:])
    )
    made = run(content, signals)
    made_BST = np.stack([np.asarray(made[name]) for name in separator.sources], axis=1)
    return float(np.abs(made_BST - wanted_BST).max() / max(np.abs(wanted_BST).max(), 1e-30))


def _checked(name, separator, convert, run):
    """What `convert` makes of a model, once it gives what the model gives.

    Raises:
      ConfigError: it cannot be made, or gives something else.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            content = convert()
            difference = _difference(separator, run, content)
    except Exception as error:  # whatever another package raises where it cannot
        config, why, parts = separator.config, files.why(error), ''
        if config.task == 'speech':
            parts = (
                f' (encoder {config.model.encoder.name}, separator {config.model.separator.name})'
            )
        others = ','.join(form for form in FORMATS if form != name)
        raise ConfigError(
            f'no {name} file can be made of this model{parts}: {why}; --formats={others} does'
            ' without'
        ) from error
    if not difference <= TOLERANCE:
        raise ConfigError(
            f'the {name} file made of this model differs from it by {difference:.1e} of its largest'
            f' estimate, and {TOLERANCE:.0e} is what may be'
        )
    return content, difference


def _make(name, separator, said, where):
    """The content of one file, and what is said of it.

    Raises:
      ConfigError: there can be none.
    """
    from fgsep_jax.interop import model_file

    config = separator.config
    if name == 'safetensors':
        content = model_file.pack(config, separator.parameters, where=where, **said)
        return content, 'for fgsep-separate, fgsep_jax.load and --mode=evaluate'
    if name == 'stablehlo':
        content, off = _checked(name, separator, lambda: to_stablehlo(separator), _run_stablehlo)
        about = f'for JAX on {", ".join(PLATFORMS)}; from {least_samples(config)} samples on'
    else:
        if why := _why_no_onnx(config):
            raise ConfigError(f'no {where}: {why}')
        metadata = model_file.header(config, **said)
        content, off = _checked(name, separator, lambda: to_onnx(separator, metadata), _run_onnx)
        about = f'for ONNX Runtime; a multiple of {config.model.encoder.window} samples'
    return content, f'{about}; within {off:.0e} of the model'


def export_model(path, args):
    """Writes the files of one model; see `main`."""
    paths, asked = _plan(args)
    command_line.lend_caches()
    from fgsep_jax import compilation_cache
    from fgsep_jax.separation import model as model_lib

    compilation_cache.use()
    with model_lib.here(path) as path:
        separator = model_lib.load(path)
        for note in separator.notes:
            print(f'note: {note}', file=sys.stderr)
        said, contents, lines = _said(path, separator, args), {}, []
    for name, target in paths.items():
        try:
            contents[target], about = _make(name, separator, said, shown(target))
        except ConfigError as error:
            if asked or name == 'safetensors':
                raise
            print(f'note: {error}', file=sys.stderr)
        else:
            size = len(contents[target]) / 1e6
            lines.append(f'{shown(target)}  {size:.1f} MB, {about}')
    files.write(contents)
    sources = ', '.join(map(shown, separator.sources))
    title = f'{separator.name}, step {separator.step}: {sources} at {separator.sample_rate} Hz'
    print('\n'.join([shown(title), *lines]))


def main(argv=None):
    """Runs the program.

    Args:
      argv: the command line; None for this process's.

    Raises:
      SystemExit: a mistake of the user's, with status 2; its one line is printed.
    """
    parser = _parser()
    args, words = parser.parse(argv)
    if len(words) != 1:
        parser.error(f'{" ".join(words)} not understood: give one RUN')
    try:
        export_model(command_line.path(words[0]), args)
    except (config_lib.ConfigError, command_line.FlagError, OSError) as error:
        raise command_line.refusal(error) from error


if __name__ == '__main__':
    stopping.run(main)
