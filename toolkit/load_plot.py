"""How did an endpoint's latencies go under a load, as a picture?

>>> check_plot("load.svg")
>>> plot(report, "load.svg")  # doctest: +SKIP
"""

import io
import math
import os

import mlib
from toolkit import load

NEEDED = "A plot is drawn with matplotlib: pip install -r requirements/plot.txt"
MOST_DOTS = 200_000
COLOURS = {"p50": "#0072b2", "p90": "#009e73", "p99": "#d55e00", "p99.9": "#cc79a7"}  # Okabe and Ito: all see them
SHORTEST = 1e-6  # seconds, of an axis that is logarithmic


def check_plot(path):
    """Refuse a plot that could not be written, before its load is sent.

    Parameters
    ----------
    path : path

    Raises
    ------
    mlib.OptionError
        It ends in neither .svg nor .png, or cannot be written there.
    mlib.Error
        matplotlib is not installed.
    """
    folder = os.path.dirname(os.path.abspath(path))
    if os.path.splitext(path)[1].lower() not in (".svg", ".png"):
        raise mlib.OptionError(f"{path} is no name of a plot; expected one that ends in .svg or .png.")
    if not os.path.isdir(folder):
        raise mlib.OptionError(f"{path} cannot be written: there is no folder {folder}.")
    if os.path.isdir(path) or not os.access(path if os.path.exists(path) else folder, os.W_OK):
        raise mlib.OptionError(f"{path} cannot be written: it is a folder, or may not be written.")
    try:
        import matplotlib.figure  # noqa: F401  # pylint: disable=unused-import
    except ImportError as error:
        raise mlib.Error(NEEDED) from error


def plot(report, path):
    """Draw latencies over time, and their distribution.

    Parameters
    ----------
    report : Report
    path : path
        Ends in .svg or .png.

    Raises
    ------
    mlib.ModelError
        The file cannot be written.
    ImportError
        matplotlib is not installed, which `check_plot` tells.
    """
    import matplotlib
    import numpy as np
    from matplotlib.figure import Figure

    kind = os.path.splitext(path)[1][1:].lower()
    with matplotlib.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "load", "axes.spines.right": False, "axes.spines.top": False}
    ):
        figure = Figure(figsize=(11, 5), layout="constrained")
        over_time, spread = figure.subplots(1, 2, width_ratios=[3, 2], sharey=True)
        name = report.name if len(report.name) <= 100 else f"{report.name[:60]}...{report.name[-37:]}"
        came = f"{report.answered:,} answered, {sum(report.errors.values()):,} errors"
        figure.suptitle(f"{name}\n{load.load_text(report)}: {came}", fontsize="medium", parse_math=False)
        due = np.asarray(report.due)
        order = np.argsort(due, kind="stable")
        latencies = np.maximum(np.asarray(report.latencies), SHORTEST)[order]
        _plot_over_time(over_time, report, due[order], latencies)
        _plot_spread(spread, report, latencies)
        drawn = io.BytesIO()
        figure.savefig(drawn, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
    mlib.write_file(path, drawn.getvalue())


def _plot_over_time(axes, report, due, latencies):
    """A dot a request, lines of what it was a second, and what failed below."""
    import numpy as np
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    step = max(1, math.ceil(len(due) / MOST_DOTS))
    dots = f"a request in {step}" if step > 1 else "a request"
    size = 14 if len(due) < 300 else 6 if len(due) < 5000 else 2
    faint = 0.6 if len(due) < 300 else 0.25 if len(due) < 5000 else 0.1
    if len(due):
        axes.scatter(
            due[::step], latencies[::step], s=size, color="0.35", alpha=faint, linewidths=0, rasterized=len(due) > 500
        )
        axes.scatter([], [], s=14, color="0.35", linewidths=0, label=dots)
    if report.duration >= 2 and len(due):
        edges = np.append(np.arange(math.ceil(report.duration)), report.duration)
        found = [load.percentiles(part) for part in np.split(latencies, np.searchsorted(due, edges[1:-1]))]
        for name in ("p50", "p99"):
            values = [math.nan if each[name] is None else each[name] for each in found]
            axes.stairs(values, edges, baseline=None, color=COLOURS[name], lw=1.5, label=f"{name} of a second")
    if report.failed:
        failed = np.asarray(report.failed)[:: max(1, len(report.failed) // MOST_DOTS)]
        axes.plot(
            failed,
            np.full(len(failed), 0.02),
            "|",
            color="#b00020",
            markersize=9,
            transform=axes.get_xaxis_transform(),
            rasterized=len(failed) > 500,
            label="failed",
        )
    if load.NOT_SENT in report.errors:
        axes.axvspan(report.sent / report.rate, report.duration, color="#b00020", alpha=0.12, lw=0, label=load.NOT_SENT)
    axes.set(xlabel="when it was due (seconds from the start)", ylabel="latency (logarithmic)", yscale="log")
    axes.set_xlim(-0.01 * report.duration, 1.01 * report.duration)
    low, high = (latencies.min(), latencies.max()) if len(latencies) else (0.01, 0.01)
    wide = max(1.5, 5 * math.sqrt(low / high))  # from one tick to the next but one at least
    axes.set_ylim(low / wide, high * wide)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 200 else (1,)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda seconds, _: load.time_text(seconds)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.25)
    _add_legend(axes, 3)


def _add_legend(axes, columns):
    """Below, where it hides nothing."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=columns, frameon=False, handlelength=1)


def _plot_spread(axes, report, latencies):
    """How many requests took how long, on the axis of the other panel."""
    import numpy as np
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    if not report.latencies:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "Nothing was answered.", transform=axes.transAxes, ha="center")
        return
    is_log = len(latencies) > 100
    bins = np.geomspace(*axes.get_ylim(), 61 if is_log else 31)
    axes.hist(latencies, bins=bins, orientation="horizontal", color="0.65", log=is_log)
    for name, colour in COLOURS.items():
        text = f"{name} {load.time_text(report.latency[name])}"
        axes.axhline(max(report.latency[name], SHORTEST), color=colour, lw=1.5, label=text)
    axes.set_xlabel(f"requests{' (logarithmic)' * is_log}")
    if is_log:
        axes.set_xlim(left=0.5)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:,.0f}"))
    axes.grid(alpha=0.25)
    _add_legend(axes, 2)
