"""Work in many pieces, on the engine that Beam's flags name; what a lost worker leaves is redone.

A worker writes what it made of a piece into a file of the piece's number: a piece that is done
twice is there once, and what is not there is not done. Only names and numbers go by Beam.
"""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import functools
import hashlib
import logging
import os
import pathlib
import pickle
import re
import subprocess
import threading
import time
import uuid

import apache_beam as beam
from apache_beam.internal import pickler
from apache_beam.metrics import Metrics, MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
from apache_beam.runners.runner import create_runner
import google_crc32c
import grpc

from data_prep import progress
from data_prep.output import CHANGED, listing, read_whole, write_whole
from data_prep.progress import EngineError
from data_prep.tables import printable
from fgsep_jax import buckets, lock
from fgsep_jax.data import audio_files
from fgsep_jax.names import counted

UNWRITABLE = 'cannot be written to'
START_SECONDS = 120  # in which a worker must be there, from when it is asked for
LOST = 'a worker was lost'


class _Lost(EngineError):
    """What is not done yet may be given to another worker."""


def each(
    tasks: Sequence,
    do: Callable,
    argv: Sequence[str],
    folder: str,
    proof: tuple | None = None,
    stage: str = 'work',
) -> Iterator:
    """What a function makes of each task, in their order, on the engine of the flags.

    Args:
        tasks: small ones.
        do: the function; of a task it always makes the same.
        argv: Beam's flags.
        folder: that the workers share, for what they make.
        proof: that this process holds the data set's folder, `lock.proof`.
        stage: what the log calls it. How far it is, is what is in the folder, whoever works where.
    Raises:
        EngineError: workers are lost, or were never there.
        OSError: a worker cannot write.
    """
    name = uuid.uuid4().hex
    left, in_vain = dict(enumerate(tasks)), 0

    def done() -> int:
        return sum(entry.startswith(name) for entry in listing(folder))

    with progress.watched(done, len(tasks), stage):
        while left:
            before, lost = len(left), None
            try:
                _run(list(left.items()), do, argv, buckets.join(folder, name), proof)
            except _Lost as error:
                lost = error
            there = set(listing(folder))
            left = {i: task for i, task in left.items() if f'{name}-{i}' not in there}
            if left and lost is None:
                raise EngineError(
                    f'of {counted(before, "piece")} of work {len(left)} came back without a '
                    f'result: every worker must see {folder}'
                )
            in_vain = 0 if len(left) < before else in_vain + 1
            if in_vain == 2:
                raise EngineError(f'{lost}, and again, before a piece of work was done')
            if left:
                logging.warning(
                    '%s; %s of work to be done again', lost, counted(len(left), 'piece')
                )
    with progress.uncollected():
        for i in range(len(tasks)):
            path = buckets.join(folder, f'{name}-{i}')
            try:
                content = read_whole(path)
            except OSError as error:
                raise EngineError(
                    f'{path}, which a worker wrote, cannot be read ({reason(error)}); the same'
                    ' command tries again'
                ) from error
            checksum, made = content[:4], content[4:]
            if google_crc32c.value(made).to_bytes(4, 'big') != checksum:
                raise EngineError(f'{path} {CHANGED}')
            yield pickle.loads(made)


def _run(tasks: list, do: Callable, argv: Sequence[str], place: str, proof) -> None:
    """Has each (number, task) done once by the engine."""
    options = PipelineOptions(list(argv))
    runner = runner_of(options)
    counts = not getattr(runner, 'raises', '://' in place)
    work = pickler.dumps((do, place, counts, proof))
    pipeline = beam.Pipeline(runner=runner, options=options)
    _watch_connections()
    try:
        with pipeline:
            work = beam.Map(_by_value(work, code()))
            _ = pipeline | beam.Create(tasks) | beam.Reshuffle() | 'do' >> work
    except Exception as error:
        raise (_explained(error) or error) from error
    finally:
        getattr(runner, 'close', int)()
    with contextlib.suppress(NotImplementedError):  # a runner without counters
        counters = pipeline.result.metrics().query(MetricsFilter().with_namespace(UNWRITABLE))
        for counter in counters['counters']:
            raise OSError(counter.key.metric.name)


def _by_value(work: bytes, ours: str) -> Callable:
    """A function for Beam to pickle that a worker without this package can read, too.

    What stands within a function is pickled whole; what a module holds is named.
    """

    def do(task):
        import platform

        try:
            from data_prep import engine

            theirs = engine.code()
        except ImportError as error:
            raise RuntimeError(
                f'[[the worker on {platform.node()} lacks this package ({error}): install it '
                'where workers run, as docs/data.md says]]'
            ) from None
        if theirs != ours:
            raise RuntimeError(
                f'[[the worker on {platform.node()} has this package in another version, which '
                'could make other data: install the same where workers run]]'
            )
        engine.do_piece(work, *task)

    return do


@functools.cache
def code() -> str:
    """A digest of the jobs' code, and of what of the package they are made with."""
    jobs, package = pathlib.Path(__file__).parent, pathlib.Path(buckets.__file__).parent
    paths = sorted(jobs.rglob('*.py'))
    paths += [*sorted(package.glob('*.py')), *sorted((package / 'data').glob('*.py'))]
    return hashlib.sha256(b''.join(path.read_bytes() for path in paths)).hexdigest()


_work = functools.lru_cache(maxsize=1)(pickler.loads)


def do_piece(work: bytes, number: int, task) -> None:
    """Does one task at a worker, and keeps what it made.

    An OSError is counted, where that can be told of: Beam would print pages of each, and a full
    disk takes no more word of it. In a folder that is not local, it is raised: a runner may try
    again.
    """
    do, place, counts, proof = _work(work)
    folder = os.path.dirname(place)
    try:
        try:
            if '://' not in folder and not os.path.isdir(folder):
                import platform

                raise RuntimeError(
                    f'[[the worker on {platform.node()} does not see {folder}: give an '
                    '--output_dir that all workers share, or a bucket]]'
                )
            made = pickle.dumps(do(task))
        except MemoryError as error:
            raise audio_files.of_the_machine(error) or error from None
        finally:
            lock.check_proof(proof)  # once it is lost, all else that goes wrong is by that
        checksum = google_crc32c.value(made).to_bytes(4, 'big')
        write_whole(f'{place}-{number}', checksum + made)
    except OSError as error:
        if not counts:
            raise
        Metrics.counter(UNWRITABLE, reason(error)).inc()


def reason(error: OSError) -> str:
    """What the system says, without the file, and what Beam adds."""
    said = (error.strerror if error.errno else None) or str(error)
    return printable(said.partition(' [while running')[0])[:200]


def _explained(error: Exception) -> EngineError | None:
    """What is to be said, in one line, of an engine or a worker that is not there."""
    text = str(error)
    if told := re.search(r'\[\[(.*?)\]\]', text, re.DOTALL):
        return (_Lost if told[1].startswith(LOST) else EngineError)(told[1])
    if isinstance(error, EngineError):
        return error
    if type(error).__name__ == 'KilledWorker':  # Dask's, after several
        return _Lost(LOST)
    # By what starts workers in containers, or as processes of a command of one's own.
    if isinstance(error, FileNotFoundError) and os.sep not in str(error.filename or os.sep):
        return EngineError(f'{error.filename}, by which workers are started, is not installed')
    if isinstance(error, subprocess.CalledProcessError):
        command = error.cmd if isinstance(error.cmd, str) else ' '.join(map(str, error.cmd))
        return EngineError(
            f'no worker could be started: `{printable(command)[:200]}` ended with status'
            f' {error.returncode}'
        )
    if isinstance(error, KeyError) and 'beam:env:' in text:
        return EngineError('the command of --environment_config ended before a worker was there')
    if isinstance(error, grpc.FutureTimeoutError):
        return EngineError('nothing answers at --job_endpoint')
    if match := re.search(r'details = "(failed to connect[^"]*)', text):
        return EngineError(f'no worker pool at --environment_config: {match[1]}')
    for known in (r'Unable to fetch remote [^\n]*', r"No module named '(?!data_prep)[^']*'"):
        if match := re.search(known, text):
            return EngineError(match[0])
    if 'Error starting worker' in text:
        return EngineError(f'the worker pool starts no worker: {text.strip().splitlines()[-1]}')
    return None


def runner_of(options: PipelineOptions):
    """The runner that the flags name; without one Beam's local runner in Python.

    `DirectRunner` would first try to download and start Beam's Go runner.

    Raises:
        ValueError: there is none of this name, or what it needs is not installed.
    """
    name = options.view_as(StandardOptions).runner or 'DirectRunner'
    try:
        if name.lower() in ('directrunner', 'direct'):
            return _local_runner()
        if name.lower() in ('daskrunner', 'dask'):
            return _dask_runner()
        return create_runner(name)
    except ImportError as error:
        raise ValueError(f'--runner={name}: {error}') from error


def check(argv: Sequence[str]) -> list[str]:
    """What Beam, and the runner that its flags name, say against the flags."""
    options = PipelineOptions(list(argv))
    name = options.view_as(StandardOptions).runner or 'DirectRunner'
    faults = []
    for flag in (word.split('=')[0] for word in argv):
        kind = re.match(r'--(dask|flink|spark|prism)_', flag)
        if kind and not name.lower().rpartition('.')[2].startswith(kind[1]):
            faults.append(f'{flag} is for --runner={kind[1].capitalize()}Runner')
        if flag in ('--job_endpoint', '--environment_type', '--environment_config') and (
            name in ('DirectRunner', 'DaskRunner')
        ):
            faults.append(f'{flag} is for --runner=PortableRunner')
    runner = runner_of(options)
    if name == 'PortableRunner' and not any(word.startswith('--job_endpoint') for word in argv):
        faults.append('--runner=PortableRunner needs --job_endpoint=HOST:PORT, or embed')
    return faults or PipelineOptionsValidator(options, runner).validate()


def own_worker(command: bytes) -> bytes:
    """Beam's command for a worker process as ours, without a shell between it and the job."""
    theirs = b'apache_beam.runners.worker.sdk_worker_main'
    if theirs not in command:
        return command
    return b'exec ' + command.replace(theirs, b'data_prep.beam_worker')


def _local_runner():
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner

    class Runner(FnApiRunner):
        def run_via_runner_api(self, pipeline_proto, options):
            for environment in pipeline_proto.components.environments.values():
                environment.payload = own_worker(environment.payload)
            return super().run_via_runner_api(pipeline_proto, options)

    return Runner()


def _dask_runner():
    try:
        from apache_beam.runners.dask import dask_runner
        import distributed  # noqa: F401  by which it reaches the cluster
    except ImportError as error:
        raise ImportError(f"{error}; pip install 'fgsep_jax[dask]'") from error
    for name in (
        'distributed',
        *filter(re.compile('distributed').match, logging.root.manager.loggerDict),
    ):
        logging.getLogger(name).setLevel(logging.CRITICAL)

    class Runner(dask_runner.DaskRunner):
        raises = True  # it has no counters

        def run_pipeline(self, pipeline, options):
            flags = options.view_as(dask_runner.DaskOptions)
            if not (flags.npartitions or flags.partition_size):
                flags.partition_size = 1
            try:
                self._result = super().run_pipeline(pipeline, options)
            except OSError as error:
                raise EngineError(f'no Dask scheduler: {error}') from error
            self._wait()
            return self._result

        def _wait(self):
            """Until it is done: Dask itself would wait for workers for ever."""
            since = time.monotonic()
            while not all(future.done() for future in self._result.futures):
                time.sleep(0.1)
                try:
                    if self._result.client.nthreads():
                        since = time.monotonic()
                except Exception as error:
                    raise EngineError(f'the Dask scheduler is gone: {error}') from error
                if time.monotonic() - since > START_SECONDS:
                    raise EngineError(f'the Dask cluster has had no worker for {START_SECONDS} s')

        def close(self):
            with contextlib.suppress(AttributeError):
                self._result.client.close()

    return Runner()


@functools.cache
def _watch_connections() -> None:
    """From now on Beam's local runner knows of workers that die, or never come.

    By itself it waits for them for ever.
    """
    from apache_beam.portability.api import beam_fn_api_pb2
    from apache_beam.runners.portability.fn_api_runner import worker_handlers
    from apache_beam.runners.portability.local_job_service import SubprocessSdkWorker
    from apache_beam.runners.worker import data_plane

    connection, handler = (
        worker_handlers.ControlConnection,
        worker_handlers.SubprocessSdkWorkerHandler,
    )
    data = data_plane._GrpcDataChannel
    read, read_data, push, start, work = (
        connection._read,
        data._read_inputs,
        connection.push,
        handler.start_worker,
        SubprocessSdkWorker.run,
    )

    def give_up(self, why=LOST):
        self.given_up = why
        for name in list(self._futures_by_id):
            if future := self._futures_by_id.pop(name, None):
                future.set(
                    beam_fn_api_pb2.InstructionResponse(instruction_id=name, error=f'[[{why}]]')
                )

    def watched_read(self):
        with contextlib.suppress(Exception):  # gRPC's, of a connection that is cut
            read(self)
        give_up(self)

    def quiet_read(self, elements):
        with contextlib.suppress(Exception):  # the same, of what comes beside
            read_data(self, elements)

    def watched_push(self, request):
        future = push(self, request)
        if getattr(self, 'given_up', ''):
            give_up(self, self.given_up)
        elif self._state == worker_handlers.BeamFnControlServicer.UNSTARTED_STATE:
            timer = threading.Timer(START_SECONDS, never_came, [self])
            timer.daemon = True
            timer.start()
        return future

    def never_came(self):
        if self._state == worker_handlers.BeamFnControlServicer.UNSTARTED_STATE:
            give_up(self, f'no worker came within {START_SECONDS} s')

    def watched_start(self):
        start(self)

        def follow():
            self.worker_thread.join()
            give_up(self.control_conn)

        threading.Thread(target=follow, daemon=True).start()

    def quiet_run(self):
        with contextlib.suppress(RuntimeError):  # the process was killed, or failed
            work(self)

    # What Beam logs as nobody's own arrives as an exception, too.
    logging.getLogger().addFilter(lambda record: 'apache_beam' not in record.pathname)
    connection._read, connection.push = watched_read, watched_push
    data._read_inputs = quiet_read
    handler.start_worker, SubprocessSdkWorker.run = watched_start, quiet_run
