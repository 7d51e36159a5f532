"""How figures are drawn, and how they become files: one palette that stands on white and black."""

import functools
import io
import re
import warnings

import numpy as np

from fgsep_jax import names

# matplotlib, which takes a second to import, is imported where something is drawn: tables do
# without it.

DPI = 150  # of PNG files
MOST_POINTS = 3000  # of a line: more than a page has dots across
INK, GRID = '#1c2128', '#d4d9df'  # `inline` turns these into the page's own
COLORS = {
    'Conv-TasNet': '#3b82c4',
    'Big-Conv-TasNet': '#7d5fc4',
    'Deep w/ PReLU': '#e08a1e',
    'Deep w/ dilation': '#a8703a',
    'Deep w/ GLU': '#2f9e6e',
    'M1': '#3b82c4',
    'M1+': '#86b9e6',
    'M2': '#e08a1e',
    'M2+': '#f2bf7a',
}
OTHERS = ('#d1495b', '#1fa3b0', '#b0589f', '#6f8f2f')  # of models that the papers do not have
NEUTRAL = '#8a929c'  # of oracles
DASHES = ('-', '--', ':', '-.')
HATCHES = ('', '////', '....', 'xxxx')
MARKERS = 'os^D'
RC = {
    'font.family': 'sans-serif',
    'font.sans-serif': ['DejaVu Sans'],
    'font.size': 9,
    'axes.titlesize': 9.5,
    'axes.titleweight': 'bold',
    'axes.titlelocation': 'left',
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.edgecolor': INK,
    'axes.labelcolor': INK,
    'axes.grid': True,
    'axes.axisbelow': True,
    'grid.color': GRID,
    'grid.linewidth': 0.6,
    'text.color': INK,
    'xtick.color': INK,
    'ytick.color': INK,
    'axes.linewidth': 0.7,
    'xtick.major.width': 0.7,
    'ytick.major.width': 0.7,
    'lines.linewidth': 1.6,
    'hatch.linewidth': 0.6,
    'image.aspect': 'auto',
    'image.interpolation': 'nearest',
    'image.origin': 'lower',
    'legend.frameon': False,
    'svg.fonttype': 'none',
    'svg.hashsalt': 'fgsep_jax',
    'axes.facecolor': 'none',
    'boxplot.patchartist': True,
    'boxplot.showfliers': False,
    'boxplot.medianprops.color': INK,
    'boxplot.medianprops.linewidth': 1.4,
    'boxplot.whiskerprops.color': INK,
    'boxplot.whiskerprops.linewidth': 0.7,
    'boxplot.capprops.color': INK,
    'boxplot.capprops.linewidth': 0.7,
    'text.parse_math': False,  # a $ in a name is a $
}


def styled(make):
    """Decorates a function that makes Figures, so that all look alike."""

    @functools.wraps(make)
    def wrapped(*args, **kwargs):
        import matplotlib

        with matplotlib.rc_context(RC):
            return make(*args, **kwargs)

    return wrapped


def axes(rows=1, columns=1, *, width=8.0, height=3.0, **settings):
    """A matplotlib Figure and its axes.

    Args:
      rows, columns: of axes.
      width, height: in inches.
      **settings: of `Figure.subplots`.

    Returns:
      (Figure, axes [rows, columns]).
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout='constrained')
    return figure, figure.subplots(rows, columns, squeeze=False, **settings)


def styles(pairs):
    """A colour a model, dashes, hatches and markers for what else differs.

    Args:
      pairs: list of (model, label).

    Returns:
      {label: {'color', 'linestyle', 'hatch', 'marker'}}.
    """
    colors, variants, drawn = dict(COLORS), {}, {}
    for model, label in pairs:
        others = len(colors) - len(COLORS)
        color = colors.setdefault(model, OTHERS[others % len(OTHERS)])
        labels = variants.setdefault(model, [])
        labels += [label] if label not in labels else []
        i = labels.index(label) % len(DASHES)
        drawn[label] = {
            'color': color,
            'linestyle': DASHES[i],
            'hatch': HATCHES[i],
            'marker': MARKERS[i],
        }
    return drawn


def extremes(*lines, most=MOST_POINTS):
    """Which points of lines over the same places are drawn: of many, of each short stretch the
    lowest and the highest of each line, so that no spike is lost and a file stays small.

    Args:
      *lines: value_N each, without NaN.
      most: points of a line that are all drawn.

    Returns:
      Places, sorted: an array, or a slice of all.
    """
    count = len(lines[0])
    if count <= most:
        return slice(None)
    starts = np.linspace(0, count, most // (2 * len(lines)) + 1).astype(int)
    return np.unique(
        [
            start + place
            for start, end in zip(starts[:-1], starts[1:])
            for value_N in lines
            for place in (value_N[start:end].argmin(), value_N[start:end].argmax())
        ]
    )


def no_run(ax, x):
    """Marks the place of a bar or a box without a run."""
    ax.text(x, 0, ' no run', rotation=90, ha='center', va='bottom', fontsize=7, color=NEUTRAL)


def short(label, longest=28):
    """A label that can be drawn, cut to some letters, so that it leaves room for what it labels."""
    label = names.shown(label)
    return label if len(label) <= longest else label[: longest - 1] + '\N{HORIZONTAL ELLIPSIS}'


def legend_below(figure, handles):
    """One legend for all axes, below them; the figure grows by its height.

    Args:
      figure: matplotlib Figure.
      handles: {label: artist}.
    """
    if not handles:
        return
    handles = {short(label, 60): handle for label, handle in handles.items()}
    inches = 0.075 * max(map(len, handles)) + 0.7
    columns = max(1, min(len(handles), int(figure.get_figwidth() / inches)))
    figure.set_figheight(figure.get_figheight() + 0.18 * -(-len(handles) // columns))
    figure.legend(
        handles.values(),
        handles.keys(),
        loc='outside lower center',
        fontsize=8.5,
        ncols=columns,
        handlelength=2.6,
    )


@functools.lru_cache(maxsize=256)  # an SVG file goes into the page, too
def rendered(item, kind):
    """A Figure item as the bytes of an SVG or PNG file on white.

    The same figure gives the same bytes.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    content = io.BytesIO()
    with matplotlib.rc_context(RC), warnings.catch_warnings():
        # A name in another script: SVG files and the page leave it to the browser's fonts.
        warnings.filterwarnings('ignore', 'Glyph .* missing from')
        if item.figure.get_layout_engine():
            # Once, and as for an SVG file; `savefig` would draw everything for it, each time.
            item.figure.set_dpi(DPI)
            FigureCanvasSVG(item.figure)
            item.figure.get_layout_engine().execute(item.figure)
            item.figure.set_layout_engine(None)
        item.figure.savefig(
            content,
            format=kind,
            facecolor='white',
            dpi=DPI,
            metadata={'Date': None} if kind == 'svg' else {'Software': None},
        )
    return content.getvalue()


def inline(item):
    """A Figure item as SVG to stand in a page, and its width in points.

    Its background is the page's, ink and grid are in the page's colours, and its ids are its own.
    """
    text = rendered(item, 'svg').decode()
    text = text[text.index('<svg') :].replace('fill: #ffffff', 'fill: none', 1)  # the background
    text = text.replace(INK, 'var(--ink)').replace(GRID, 'var(--grid)')
    # Ids must be unique in the page; those that nothing refers to go.
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
    text = re.sub(
        r' id="([^"]+)"',
        lambda match: f' id="{item.name}-{match[1]}"' if match[1] in used else '',
        text,
    )
    text = re.sub(r'(href="#|url\(#)', rf'\g<1>{item.name}-', text)
    size = re.search(r'<svg[^>]* width="([\d.]+)pt" height="([\d.]+)pt"', text)
    text = text.replace(f' width="{size[1]}pt" height="{size[2]}pt"', '', 1)
    # What it shows is said beside it.
    return text.replace('<svg', '<svg aria-hidden="true" focusable="false"', 1), float(size[1])
