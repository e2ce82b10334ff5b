"""What does a person see of a batch: while it runs, and when it is done?

>>> line(Progress(rows=5_242_880, rejects=3, share=0.5, rate=1_200_000, seconds_left=4.4))
'[##########----------]  50%  5,242,880 rows, 3 rejects, 1,200,000 a second, 0:04 left'
"""

import sys
import time

import click

from toolkit import console

WIDTH = 20  # of the bar
OFTEN, SELDOM = 0.1, 10.0  # seconds between two lines: on a terminal, and elsewhere


def line(progress):
    """Say how far it is.

    Parameters
    ----------
    progress : toolkit.batch.Progress

    Returns
    -------
    str
    """
    parts = [f"{progress.rows:,} rows"]
    parts += [f"{progress.rejects:,} rejects"] if progress.rejects else []
    parts.append(f"{progress.rate:,.0f} a second")
    if progress.seconds_left is not None:
        minutes, seconds = divmod(round(progress.seconds_left), 60)
        hours, minutes = divmod(minutes, 60)
        parts.append(f"{hours}:{minutes:02}:{seconds:02} left" if hours else f"{minutes}:{seconds:02} left")
    text = ", ".join(parts)
    if not progress.share:
        return text
    full = int(progress.share * WIDTH)
    return f"[{'#' * full}{'-' * (WIDTH - full)}] {progress.share:4.0%}  {text}"


class Shown:
    """Tells on stderr how far it is: on a terminal in one line, written again and again, elsewhere every ten seconds.

    Parameters
    ----------
    is_quiet : bool

    Attributes
    ----------
    rows : int
        How many were scored when it was told last.
    """

    def __init__(self, is_quiet):
        self.rows = 0
        self._is_quiet, self._is_terminal = is_quiet, sys.stderr.isatty()
        self._next = time.monotonic() + (0 if self._is_terminal else SELDOM)

    def __call__(self, progress):
        """Tell it."""
        self.rows = progress.rows
        now = time.monotonic()
        if self._is_quiet or now < self._next:
            return
        self._next = now + (OFTEN if self._is_terminal else SELDOM)
        if self._is_terminal:
            click.echo(f"\r\x1b[K{line(progress)}", nl=False, err=True)
        else:
            console.notice(line(progress))

    def clear(self):
        """Leave an empty line for what comes next."""
        if self._is_terminal and not self._is_quiet:
            click.echo("\r\x1b[K", nl=False, err=True)


def facts(summary, signature):
    """Say what came of it.

    Parameters
    ----------
    summary : toolkit.batch.Summary
    signature : mlib.Signature

    Returns
    -------
    dict of str to str
    """
    before = f", {summary.resumed_rows:,} of them before" if summary.resumed_rows else ""
    told = {"Rows": f"{summary.rows:,}{before}"}
    where = f", in {summary.rejects_output}" if summary.rejects_output else ""
    told["Rejects"] = f"{summary.rejects:,}{where}"
    told["Warnings"] = f"{summary.warnings:,} rows outside of what training saw" if summary.warnings else "none"
    told["Rate"] = f"{summary.rate:,.0f} rows a second, {summary.seconds:.1f} s"
    if summary.counts is not None:
        told["Predictions"] = (
            ", ".join(f"{name}: {count:,}" for name, count in summary.counts.items() if count) or "none"
        )
    elif summary.mean is None:
        told["Predictions"] = "none"
    else:
        low, mean = (f"{value:.4g}" for value in (summary.low, summary.mean))
        told["Predictions"] = f"{low} to {signature.amount(summary.high)}, mean {mean}"
    if summary.output != "-":
        told["Written"] = summary.output
    return told
