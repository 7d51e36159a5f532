"""Reads weights that other programs saved, and what their files say of the model.

No pickle is ever opened but by `torch.load(weights_only=True)`, which makes nothing but tensors and
plain values.
"""

import os
import pickle
import re
import warnings
import zipfile

from fgsep_jax import files
from fgsep_jax.config import ConfigError
from fgsep_jax.names import shown

# Under which of its names a dict of a file has the weights.
_STATE = ('state_dict', 'model_state_dict', 'model_state', 'model')
# What speechbrain saves a separation model as, a file each.
PARTS = ('encoder', 'masknet', 'decoder')
# Of what asteroid's recipes are told, where the model's arguments are.
_SECTIONS = ('data', 'filterbank', 'masknet')
NORMS = {'gLN': 'gln', 'cLN': 'frame', 'cgLN': 'cln'}


def read(*paths, given=()):
    """Reads a file by its suffix: .onnx, .safetensors, else PyTorch's; or a model's `PARTS`.

    Args:
      *paths: one file; those of the parts; or a folder with them in it, encoder.ckpt and so on.
      given: such keys as are returned, of which a file of PyTorch's is not asked.

    Returns:
      ({name: array}, {key of a configuration's `model`, or of 'sources' and 'sample_rate': value}
      as far as the file says, {such a key: what the file calls it}).

    Raises:
      ConfigError: it cannot be read, or describes what `conv_tasnet` cannot be.
    """
    paths = [os.fspath(path) for path in paths]
    if len(paths) == 1 and os.path.isdir(paths[0]):
        (folder,) = paths
        names = [name for name in sorted(os.listdir(folder)) if _stem(name) in PARTS]
        return _parts([os.path.join(folder, name) for name in names], folder)
    if len(paths) > 1:
        return _parts(paths, ' '.join(paths))
    (path,) = paths
    if not os.path.isfile(path):
        raise ConfigError(f'{shown(path)}: there is no such file')
    suffix = os.path.splitext(path)[1].lower()
    kinds = {'.onnx': _onnx, '.safetensors': _safetensors}
    state, *told = kinds[suffix](path) if suffix in kinds else _torch(path, given)
    state = _without_prefix(state)
    if any(name.startswith('separator.tcn.') for name in state):
        told = _espnet(path, given)
    return state, *told


def _stem(path):
    return os.path.splitext(os.path.basename(path))[0]


def _parts(paths, where):
    """The weights of one model in a file for each part, whose name goes before those in it."""
    if sorted(map(_stem, paths)) != sorted(PARTS):
        raise ConfigError(
            f'{shown(where)}: one file is needed, or a folder with a file for each of'
            f' {", ".join(PARTS)}, as speechbrain saves them'
        )
    state = {}
    for path in paths:
        part = read(path)[0]
        state |= {f'{_stem(path)}.{name}': array for name, array in part.items()}
    return state, {}, {}


def _onnx(path):
    from fgsep_jax.interop import onnx_graph

    return *onnx_graph.read(path), {}


def _safetensors(path):
    import safetensors.numpy

    try:
        with safetensors.safe_open(path, 'numpy') as file:
            if (file.metadata() or {}).get('format') == 'fgsep_jax':
                raise ConfigError(f'{shown(path)} is a model file of fgsep_jax already')
            state = {}
            for name in file.keys():  # noqa: SIM118
                try:
                    state[name] = file.get_tensor(name)
                except (AttributeError, TypeError) as error:  # numpy has none of the kind
                    raise _no_array(path, name, file.get_slice(name).get_dtype()) from error
        return state, {}, {}
    except (safetensors.SafetensorError, OSError) as error:
        raise ConfigError(f'{shown(path)} cannot be read: {files.why(error)}') from error


def _no_array(path, name, kind):
    return ConfigError(
        f'{shown(path)}: {shown(name)} is {kind}: must be plain floats of 16, 32 or 64 bits, all of'
        ' them in the file'
    )


def _check_zip(path):
    """Raises ConfigError where what PyTorch zipped is not what it was: `torch.load` does not look
    at the checksums. What it saved before version 1.6 has none."""
    if not _begins(path, b'PK'):
        return
    try:
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()
    except Exception as error:  # of many kinds, by what is in the file
        raise _damaged(path, 'PyTorch does not read it') from error
    if damaged:
        raise _damaged(path, f'the checksum of {shown(damaged)} does not match')


def _damaged(path, how):
    return ConfigError(f'{shown(path)} is cut short or damaged: {how}; copy it anew')


def _begins(path, *beginnings):
    with open(path, 'rb') as file:
        return file.read(2).startswith(beginnings)


def _torch(path, given):
    if not _begins(path, b'PK', b'\x80'):  # a zip archive, or a pickle
        raise ConfigError(
            f'{shown(path)} is no model: neither what PyTorch saved nor .safetensors or .onnx'
        )
    try:
        import torch
    except ImportError as error:
        raise ConfigError(
            f'{shown(path)}: reading what PyTorch saved needs PyTorch: pip install torch; or save'
            ' the weights as .safetensors'
        ) from error
    _check_zip(path)
    try:
        # asteroid writes down torch.__version__, which is a str of a class of its own.
        with (
            torch.serialization.safe_globals([torch.torch_version.TorchVersion]),
            warnings.catch_warnings(action='ignore'),  # what matters of them is an error, too
        ):
            content = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # of many kinds, by what is in the file
        if not isinstance(error, pickle.UnpicklingError) and 'TorchScript' not in str(error):
            raise _damaged(path, 'PyTorch does not read it') from error
        held = re.search(r'GLOBAL (\S+)', str(error))
        said = re.search(r'Unsupported .*', str(error)) or re.search(r'.*?(?=\n|\. |$)', str(error))
        reason = f'it holds {held[1]}' if held else said[0]
        raise ConfigError(
            f'{shown(path)} holds no weights that can be read safely ({shown(reason)[:200]}); of a'
            ' file with Python objects save the weights alone: torch.save(model.state_dict(), FILE)'
        ) from error
    if not isinstance(content, dict):
        raise ConfigError(f'{shown(path)} holds {type(content).__name__}, not a dict of weights')
    state = next((content[key] for key in _STATE if isinstance(content.get(key), dict)), content)
    arrays = {}
    for name, tensor in state.items():
        if not isinstance(tensor, torch.Tensor):
            raise ConfigError(
                f'{shown(path)}: {shown(name)} is {type(tensor).__name__}, not a tensor'
            )
        try:
            # One may say that it has more numbers than memory, all of them one in the file.
            if tensor.numel() * tensor.itemsize > tensor.untyped_storage().nbytes():
                raise TypeError('more numbers than the file has')
            dtype = torch.float32 if tensor.dtype == torch.bfloat16 else tensor.dtype
            arrays[str(name)] = tensor.detach().to(dtype).numpy()
        except (RuntimeError, TypeError) as error:
            kind = f'{tensor.dtype} ({tensor.layout}, {tensor.device}; {tensor.numel():,} numbers)'
            raise _no_array(path, name, kind) from error
    return arrays, *_told(content, given, path)


_PREFIXES = ('module.', 'model.', 'separation_model.', 'mods.', '_orig_mod.')


def _without_prefix(state):
    """Without what trainers put in front of all names, and what Lightning keeps beside `model.`:
    buffers of losses, averages."""
    for prefix in 2 * _PREFIXES:  # one may stand before another, in either order
        if state and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): array for name, array in state.items()}
    inside = {name: array for name, array in state.items() if name.startswith('model.')}
    return _without_prefix(inside) if inside else state


def _trained(content):
    """The arguments of asteroid's Conv-TasNet in a checkpoint of its trainer, or None: sections, or
    as Lightning keeps them, each key with its section's name before it, and None as text."""
    args = {}
    for held in filter(None, map(content.get, ('hyper_parameters', 'training_config'))):
        for name in _SECTIONS if isinstance(held, dict) else ():
            flat = {key: one for key, one in held.items() if str(key).startswith(f'{name}_')}
            section = {key[len(name) + 1 :]: one for key, one in flat.items() if one != 'None'}
            section |= held[name] if isinstance(held.get(name), dict) else {}
            if name == 'data':  # all that it says of the model
                section = {key: one for key, one in section.items() if key == 'sample_rate'}
            args |= section
    return args or None


def _told(content, given, path):
    """What a file's dict says beside its weights: asteroid's `model_args`, or what its trainer was
    told; kaituoxu's package."""
    args = content.get('model_args')
    args = args if isinstance(args, dict) else _trained(content)
    if args is not None:
        keys = dict(
            n_blocks='blocks', stride='stride', causal='causal', norm_type='norm', mask_act='mask',
            encoder_activation='rectify', sample_rate='sample_rate', n_repeats='repeats',
            n_src='sources', n_filters='basis', in_chan='basis', out_chan='basis',
            kernel_size='window', bn_chan='bottleneck', hid_chan='hidden', skip_chan='skip',
            conv_kernel_size='kernel',
        )  # fmt: skip
        filters = args.get('fb_name', 'free')
        if filters not in ('free', 'FreeFB'):
            raise ConfigError(
                f'{shown(path)}: encoder.filterbank is {_brief(filters)}: only free bases are read'
            )
    else:
        args = content
        keys = dict(X='blocks', causal='causal', norm_type='norm', mask_nonlinear='mask')
        sizes = dict(
            N='basis', L='window', B='bottleneck', H='hidden', P='kernel', R='repeats', C='sources',
        )  # fmt: skip
        keys |= sizes if sizes.keys() <= args.keys() else {}  # another's letters may be anything
    top = 'sample_rate at the top'
    args, keys = {**args, top: content.get('sample_rate')}, {**keys, top: 'sample_rate'}
    return _as_ours(args, keys, given, path)


def _espnet(path, given):
    """What the `config.yaml` says that espnet writes beside its weights."""
    beside = os.path.join(os.path.dirname(path), 'config.yaml')
    if not os.path.isfile(beside):
        return {}, {}
    keys = dict(
        layer='blocks', stride='stride', causal='causal', norm_type='norm', nonlinear='mask',
        stack='repeats', channel='basis', kernel_size='window', bottleneck_dim='bottleneck',
        hidden_dim='hidden', kernel='kernel', num_spk='sources',
    )  # fmt: skip
    text = files.read_bytes(beside, ConfigError).decode(errors='replace')
    words = '|'.join([*keys, 'masking', 'predict_noise'])
    args = {}
    for _, section in re.findall(r'^(encoder|separator)_conf:\n((?: .*\n?)*)', text, re.M):
        for key, value in re.findall(rf'^ +({words}): *[\'"]?(\w+)', section, re.M):
            plain = {'true': True, 'false': False}.get(value.lower(), value)
            args[key] = int(value) if value.isascii() and value.isdecimal() else plain
    for key, must in (('masking', True), ('predict_noise', False)):
        if args.get(key, must) is not must:
            raise ConfigError(
                f'{shown(path)}: its config.yaml says {key}: {str(args[key]).lower()}, and what'
                ' conv_tasnet gives are masks, one for each source'
            )
    return _as_ours(args, keys, given, path)


def _as_ours(args, keys, given, path):
    """Arguments of another program, {theirs: ours}, as far as they are there and ours not given:
    ({key of a configuration: value}, {key: theirs})."""
    told, called = {}, {}
    for theirs, ours in keys.items():
        if ours in given:
            continue
        value = args.get(theirs)
        if ours == 'norm' and value is not None:
            value = _one_of(NORMS, value, theirs, path)
        elif ours == 'rectify' and theirs in args:
            kinds = {'linear': False, 'relu': True, 'none': False, None: False}
            value = _one_of(kinds, value, theirs, path)
        elif ours == 'causal' and isinstance(value, int) and value in (0, 1):
            value = bool(value)  # kaituoxu's command line takes a number
        elif ours == 'sample_rate' and isinstance(value, float) and value.is_integer():
            value = int(value)
        if value is None:
            continue
        if ours in told and _brief(told[ours]) != _brief(value):
            raise ConfigError(
                f'{shown(path)}: its {theirs} is {_brief(value)}, and its {called[ours]}'
                f' {_brief(told[ours])}: must be the same'
            )
        told[ours], called[ours] = value, theirs
    return told, called


def _one_of(kinds, value, theirs, path):
    if not isinstance(value, str | None) or value not in kinds:
        names = ', '.join(filter(None, kinds))
        raise ConfigError(f'{shown(path)}: its {theirs} is {_brief(value)}; must be of {names}')
    return kinds[value]


def _brief(value):
    return shown(f'{value!r:.40}')
