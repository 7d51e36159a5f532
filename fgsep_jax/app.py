"""A page in the browser: drop a sound or record one; hear, see and download its parts.

python -m fgsep_jax.app [MODEL...]
python -m fgsep_jax.app runs/sounds clean.safetensors --port=8000

MODEL is a run folder or a model file; without one, the small models `sounds` and `voices`, which
are part of the package.
"""

import asyncio
import contextlib
import errno
import html
import os
import shutil
import socket
import sys
import tempfile
import threading
import urllib.parse

from fgsep_jax import command_line, config as config_lib, lock, stopping
from fgsep_jax.names import shown

ADDRESS = '127.0.0.1'
PORTS = range(7860, 7960)
# Whatever the libraries of the page would fetch from elsewhere, the browser does not.
POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:;"
    " style-src 'self' 'unsafe-inline'"
)
FONTS = ('system-ui', 'Segoe UI', 'Roboto', 'Helvetica Neue', 'Arial', 'sans-serif')
# As high as what stands in it.
FRAME = (
    '<iframe title="parts" srcdoc="{page}" style="width:100%;border:0" onload="const one ='
    ' this.contentDocument.body; new ResizeObserver(() => this.style.height ='
    " one.getBoundingClientRect().height + 24 + 'px').observe(one)\"></iframe>"
)


def _parser():
    parser = command_line.Parser('fgsep_jax.app', __doc__, words='[MODEL...]')
    parser.add_argument(
        '--host', default=ADDRESS, help='address to listen at; 0.0.0.0: who reaches this machine'
    )
    parser.add_argument(
        '--port', type=_port, default=0,
        help='to listen at; 0: the first free one from 7860 on',
    )  # fmt: skip
    return parser


def _port(text):
    if (number := command_line.count(text)) > 65535:
        raise command_line.FlagError('must be 65535 or less')
    return number


def separated(separator, path, folder, *, span=None, progress=None):
    """Takes a recording apart.

    Args:
      separator: a `separation.model.Separator`.
      path: of the recording.
      folder: a new one for its parts is made there.
      span: (start, stop) in seconds of background alone, or None.
      progress: called with seconds of audio done.

    Returns:
      HTML of its parts with what is to be known of them, or of the sentence that says why there
      are none; and the folder of the parts.
    """
    from fgsep_jax import separate
    from fgsep_jax.data.audio_files import BadInput
    from fgsep_jax.separation import page

    name = shown(os.path.basename(path))
    folder = tempfile.mkdtemp(dir=folder)
    try:
        made = separator.separate_file(
            path, folder, background=span, scratch=folder, progress=progress
        )
        whole = page.render_whole(path, made, title=name, url=_url, model=separator.name)
    except (BadInput, OSError) as error:
        return sentence(f'{name}: {separate.reason_of(error)}'), folder
    notes = [*made.notes()]
    if note := separate.deaf_note(separator, [made.native_rate]):
        notes.append(note)
    text = ''.join(f'<li>{html.escape(note)}</li>' for note in notes)
    return f'<ul>{text}</ul>' + FRAME.format(page=html.escape(whole)), folder


def _url(path):
    return f'gradio_api/file={urllib.parse.quote(path)}'


def sentence(text):
    """HTML of why there are no parts."""
    return f'<p role="alert">{html.escape(text)}</p>'


def page(gradio, separators, folder):
    """The page, as gradio's Blocks.

    Args:
      gradio: the module.
      separators: {what its user calls it: Separator}.
      folder: for the parts.
    """
    labels = {
        f'{name}: {", ".join(separator.sources)} ({separator.sample_rate:,} Hz)': separator
        for name, separator in separators.items()
    }

    def separate(label, file, recorded, start, stop, earlier, bar=gradio.Progress()):  # noqa: B008
        from fgsep_jax import separate as command

        if earlier:
            shutil.rmtree(earlier, ignore_errors=True)
        path, separator = file or recorded, labels[label]
        if not path:
            return sentence('There is no sound yet: drop a file, or record one.'), ''
        span = None
        if separator.network.adaptation_seconds and (start is not None or stop is not None):
            span = (start or 0.0, stop or 0.0)
            if not command.engine.is_stretch(*span):
                return sentence(
                    f'Background alone from {span[0]:g} to {span[1]:g} s: must be a stretch'
                    ' of the recording; leave both empty for the quietest.'
                ), ''
        done, (total, _) = 0.0, command.headers_of([path]).get(path, (0.0, 0))

        def progress(seconds):
            nonlocal done
            done += seconds
            of = f'{done / 60:.1f} min of audio' + (f' of {total / 60:.1f}' if total else '')
            of += ', writes and draws them' if total and done >= total else ''
            bar(min(done / total, 1.0) if total else (round(done), None), desc=of)

        return separated(separator, path, folder, span=span, progress=progress)

    with gradio.Blocks(
        title='fgsep', analytics_enabled=False, delete_cache=(3600, 86400)
    ) as blocks:
        gradio.Markdown('# Take a sound apart')
        label = gradio.Dropdown([*labels], label='Model', elem_id='model')
        with gradio.Row():
            file = gradio.File(label='Drop a sound file', type='filepath', elem_id='file')
            recorded = gradio.Audio(
                label='or record one', sources=['microphone'], type='filepath', elem_id='recorded'
            )
        with gradio.Row(visible=_adapts(labels[label.value]), elem_id='span') as span:
            start = gradio.Number(None, label='Background alone from (s)', minimum=0)
            stop = gradio.Number(None, label='to (s); both empty: the quietest stretch', minimum=0)
        go = gradio.Button('Separate', variant='primary', elem_id='go')
        parts = gradio.HTML(elem_id='parts')
        earlier = gradio.State('', delete_callback=lambda f: f and shutil.rmtree(f, True))
        label.change(lambda label: gradio.Row(visible=_adapts(labels[label])), label, span)
        file.upload(lambda: None, None, recorded)  # what came last is what is meant
        recorded.stop_recording(lambda: None, None, file)
        go.click(separate, [label, file, recorded, start, stop, earlier], [parts, earlier])
    return blocks


def _adapts(separator):
    return separator.network.adaptation_seconds > 0


@contextlib.contextmanager
def _gradio():
    """The library, which reports to nobody, and the folder of all its temporary files.

    Raises:
      ConfigError: it is not installed.
    """
    before = tempfile.tempdir
    with lock.scratch('fgsep-app-') as folder:
        os.environ |= {
            'GRADIO_TEMP_DIR': folder,
            'GRADIO_ANALYTICS_ENABLED': 'False',
            # Nor does it sum up by pandas, at each event, what nobody asked for.
            'GRADIO_ANALYTICS_CACHE_FREQUENCY': str(sys.maxsize),
            'HF_HUB_DISABLE_TELEMETRY': '1',
        }
        try:
            import gradio

            gradio.Blocks  # noqa: B018 - a mere folder may have that name
        except (ImportError, AttributeError) as error:
            raise config_lib.ConfigError(
                f"the page is made by gradio: pip install 'fgsep_jax[app]' ({error})"
            ) from error
        tempfile.tempdir = folder
        try:
            yield gradio, folder
        finally:
            tempfile.tempdir = before


def _free_port(host, port):
    """The port, or the first free one of `PORTS` where it is 0.

    Raises:
      ConfigError: it is not to be had.
    """
    ports = [port] if port else PORTS
    for candidate in ports:
        try:
            with socket.create_server((host, candidate)):
                return candidate
        except OSError as error:
            if error.errno != errno.EADDRINUSE or candidate == ports[-1]:
                where = f'--host={host} --port={candidate}'
                raise config_lib.ConfigError(f'{where}: {error.strerror}') from error


@contextlib.contextmanager
def served(models, *, host=ADDRESS, port=0):
    """Serves the page.

    Args:
      models: run folders, model files or names of shipped ones.
      host, port: to listen at; port 0: the first free one from 7860 on.

    Yields:
      Its address.

    Raises:
      ConfigError: a model cannot be loaded, gradio is missing, or the port is taken.
    """
    port = _free_port(host, port)
    with _gradio() as (gradio, folder):
        from starlette.middleware import Middleware

        from fgsep_jax.separation import model as model_lib

        separators = {shown(model): model_lib.load(model) for model in models}

        async def launch():
            """In a loop that is closed: without one, gradio leaves several unclosed."""
            blocks = page(gradio, separators, folder)
            _, address, _ = blocks.launch(
                server_name=host,
                server_port=port,
                prevent_thread_lock=True,
                quiet=True,
                share=False,
                ssr_mode=False,
                run_history=False,
                mcp_server=False,
                footer_links=[],
                allowed_paths=[folder],
                theme=gradio.themes.Default(
                    primary_hue='blue', font=FONTS, font_mono=['monospace']
                ),
                app_kwargs={'middleware': [Middleware(_Policy)]},
            )
            return blocks, address

        blocks, address = asyncio.run(launch())
        try:
            yield address
        finally:
            blocks.close(verbose=False)


class _Policy:
    """Tells browsers with every answer that nothing comes from elsewhere."""

    def __init__(self, app):
        self._app = app

    async def __call__(self, scope, receive, send):
        async def answer(message):
            if message['type'] == 'http.response.start':
                header = (b'content-security-policy', POLICY.encode())
                message['headers'] = [*message.get('headers', ()), header]
            await send(message)

        await self._app(scope, receive, answer)


def main(argv=None):
    """Serves the page until it is stopped.

    Args:
      argv: the command line; None for this process's.

    Raises:
      SystemExit: status 2 for a mistake.
    """
    args, models = _parser().parse(argv)
    command_line.quiet()
    try:
        from fgsep_jax.interop import model_file

        models = [command_line.path(model) for model in models or model_file.shipped()]
        command_line.lend_caches()
        with served(models, host=args.host, port=args.port) as address:
            command_line.show(f'{address}  (Ctrl-C ends it, and removes what was uploaded)')
            threading.Event().wait()
    except (config_lib.ConfigError, command_line.FlagError, OSError) as error:
        raise command_line.refusal(error) from error


if __name__ == '__main__':
    stopping.run(main)
