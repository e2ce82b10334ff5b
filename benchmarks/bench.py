"""How fast is it, beside the bare work?  ``make bench`` measures, and writes results.json, ratios.png and README.md.

Each ratio is of two things measured in turns in one run, since machines are noisy: ours and the plain program that does
the same and nothing else. What is written down is the median of the turns' ratios; the raw seconds are in results.json.
"""

import contextlib
import gc
import http.client
import json
import os
import platform
import re
import runpy
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import mlib
from toolkit import load, remote

HERE = Path(__file__).parent
ROOT = HERE.parent

RUNS = 25
MILLION = 1_000_000

BARE_CLI = """
import click, onnxruntime, numpy
session = onnxruntime.InferenceSession("model.onnx")
print(session.run(None, {"x": numpy.array([[180.0]])})[0])
"""

PLAIN_TRAINING = """
import sys
import pandas as pd
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
table = pd.read_csv(sys.argv[1])
x, y = table[["Weight"]].to_numpy(), table["Height"].to_numpy()
x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.1, random_state=3)
model = TransformedTargetRegressor(make_pipeline(StandardScaler(), Ridge()), transformer=StandardScaler())
print(model.fit(x_train, y_train).score(x_test, y_test))
"""

PLAIN_MIXED = """
import sys
import pandas as pd
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler


def train(path):
    table = pd.read_csv(path)
    target = table.pop("price")
    x_train, x_test, y_train, y_test = train_test_split(table, target, test_size=0.1, random_state=3)
    texts = table.select_dtypes("str").columns
    numbers = [name for name in table.columns if name not in texts]
    prepare = ColumnTransformer(
        [
            ("number", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
            ("category", OneHotEncoder(handle_unknown="ignore", sparse_output=False), texts),
        ],
        sparse_threshold=0,
    )
    model = TransformedTargetRegressor(make_pipeline(prepare, Ridge()), transformer=StandardScaler())
    return model.fit(x_train, y_train).score(x_test, y_test)


if __name__ == "__main__":
    print(train(sys.argv[1]))
"""

PEAK = """
import resource
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""

MEMORY = """
import resource, sys
import numpy as np
import mlib
model, generator = mlib.load_model(), np.random.default_rng(0)
for _ in range(int(sys.argv[1]) // 1_000_000):
    mlib.predict(generator.uniform(145, 300, (1_000_000, 1)), model)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def in_turns(ours, bare, runs=RUNS, warm_up=2):
    """Time two functions in turns; return the seconds of each."""
    times = [], []
    for run in range(-warm_up, runs):
        for function, seconds in zip((ours, bare), times, strict=True):
            gc.collect()
            start = time.perf_counter()
            function()
            if run >= 0:
                seconds.append(time.perf_counter() - start)
    return times


def process(*command):
    """Return a function that runs a command in the repository's root; Python keeps its bytecode, as it does at home."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return lambda: subprocess.run(list(map(str, command)), cwd=ROOT, env=env, check=True, capture_output=True)


def repeated(function, times):
    """Return a function that calls another many times: what takes microseconds is not timed once."""

    def repeat():
        for _ in range(times):
            function()

    return repeat


def cli_compiled(_folder):
    """Whole process, over one that imports click and onnxruntime and runs the session once."""
    return in_turns(process(sys.executable, "cli.py", "--weight", 180), process(sys.executable, "-c", BARE_CLI))


def cli_joblib(folder):
    """The same command through model.joblib alone, over through the compiled form."""
    alone = folder / "alone.joblib"
    alone.write_bytes(Path(mlib.MODEL).read_bytes())
    return in_turns(
        process(sys.executable, "cli.py", "--weight", 180, "--model", alone),
        process(sys.executable, "cli.py", "--weight", 180),
    )


def one_row(_folder):
    """mlib.predict of one row, warm, over the bare session's run."""
    session, x = onnxruntime.InferenceSession(mlib.compiled_path(mlib.MODEL)), np.array([[180.0]])
    return in_turns(
        repeated(lambda: mlib.predict({"Weight": 180}), 20_000),
        repeated(lambda: session.run(None, {"x": x}), 20_000),
    )


def million_rows(_folder):
    """mlib.predict of 1,000,000 rows, array in and array out, over one bare run on the same array."""
    session = onnxruntime.InferenceSession(mlib.compiled_path(mlib.MODEL))
    x = np.random.default_rng(0).uniform(145, 300, (MILLION, 1))
    return in_turns(lambda: mlib.predict(x), lambda: session.run(None, {"x": x}))


def write_million(folder):
    """Write a table of a million players, drawn from a line with noise."""
    generator = np.random.default_rng(0)
    weight = generator.normal(205, 22, MILLION).clip(100, 350).round(1)
    height = (62 + 0.055 * weight + generator.normal(0, 2, MILLION)).round(1)
    pd.DataFrame({"Weight": weight, "Height": height}).to_csv(folder / "million.csv", index=False)
    return folder / "million.csv"


def retrain_warm(folder):
    """Retrain on 1,000,000 rows, over reading, splitting, fitting and scoring them; both in one warm process."""
    data = write_million(folder)

    def plain():
        table = pd.read_csv(data)
        x, y = table[["Weight"]].to_numpy(), table["Height"].to_numpy()
        x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.1, random_state=3)
        model = TransformedTargetRegressor(make_pipeline(StandardScaler(), Ridge()), transformer=StandardScaler())
        model.fit(x_train, y_train).score(x_test, y_test)

    return in_turns(lambda: mlib.retrain(data=data, model_name=folder / "m.joblib"), plain)


def retrain_process(folder):
    """The same as whole processes, imports with them: utilscli.py retrain, over the plain program."""
    data = write_million(folder)
    return in_turns(
        process(sys.executable, "utilscli.py", "retrain", "--data", data, "--model-name", folder / "m.joblib"),
        process(sys.executable, "-c", PLAIN_TRAINING, data),
        runs=10,
        warm_up=1,
    )


def write_houses(folder):
    """Write a table of a million houses: six numbers, one with gaps, three categories, and yes or no."""
    generator = np.random.default_rng(0)
    cities, colours = [f"city {i:02d}" for i in range(30)], ["red", "green", "blue", "white", "black"]
    table = pd.DataFrame(
        {
            "area": generator.normal(120, 30, MILLION).clip(20).round(1),
            "rooms": generator.integers(1, 9, MILLION),
            "age": generator.exponential(30, MILLION).round(1),
            "latitude": generator.normal(45, 1, MILLION).round(4),
            "longitude": generator.normal(5, 1, MILLION).round(4),
            "rating": generator.uniform(1, 5, MILLION).round(2),
            "city": np.array(cities)[generator.integers(0, len(cities), MILLION)],
            "colour": np.array(colours)[generator.integers(0, len(colours), MILLION)],
            "grade": np.array(list("ABCDEFGHIJKL"))[generator.integers(0, 12, MILLION)],
            "garage": np.where(generator.random(MILLION) < 0.5, "yes", "no"),
        }
    )
    price = 2000 * table.area + 5000 * table.rooms - 300 * table.age + 50_000 * (table.city == "city 03")
    table["price"] = (price + generator.normal(0, 20_000, MILLION)).round()
    table.loc[generator.random(MILLION) < 0.02, "rating"] = np.nan
    table.to_csv(folder / "houses.csv", index=False)
    return folder / "houses.csv"


def retrain_mixed(folder):
    """Retrain on 1,000,000 rows of ten mixed columns, over the same pipeline of plain scikit-learn; both warm."""
    data, program = write_houses(folder), folder / "plain.py"
    program.write_text(PLAIN_MIXED, encoding="utf-8")
    train = runpy.run_path(str(program))["train"]
    return in_turns(
        lambda: mlib.retrain(data=data, target="price", model_name=folder / "houses.joblib"),
        lambda: train(data),
        runs=7,
        warm_up=1,
    )


def retrain_mixed_memory(folder):
    """Peak memory of the same as whole processes; bytes."""
    data = write_houses(folder)
    ours = f"import mlib\nmlib.retrain(data={str(data)!r}, target='price', model_name={str(folder / 'h.joblib')!r})\n"

    def peak(code, *args):
        command = [sys.executable, "-c", code + PEAK, *args]
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        return int(done.stdout.splitlines()[-1])

    return [peak(ours) for _ in range(3)], [peak(PLAIN_MIXED, str(data)) for _ in range(3)]


def one_row_mixed(folder):
    """mlib.predict of one row of ten mixed columns, warm, over the bare session's run."""
    data, path = write_houses(folder), folder / "houses.joblib"
    pd.read_csv(data, nrows=20_000).to_csv(data, index=False)
    mlib.retrain(data=data, target="price", model_name=path)
    model = mlib.load_model(path)
    row = model.signature.example()
    session, x = onnxruntime.InferenceSession(mlib.compiled_path(str(path))), np.array([model.signature.check(row)[0]])
    return in_turns(
        repeated(lambda: mlib.predict(row, path), 10_000), repeated(lambda: session.run(None, {"x": x}), 10_000)
    )


def help_mixed(folder):
    """`cli.py --help` with the options of ten mixed columns, over importing click; whole processes."""
    data, path = write_houses(folder), folder / "houses.joblib"
    pd.read_csv(data, nrows=20_000).to_csv(data, index=False)
    mlib.retrain(data=data, target="price", model_name=path)
    return in_turns(
        process(sys.executable, "cli.py", "--help", "--model", path), process(sys.executable, "-c", "import click")
    )


def memory(_folder):
    """Peak memory of predicting 10,000,000 rows, an array of a million at a time, over that of one; bytes."""

    def peak(rows):
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, str(rows)], cwd=ROOT, check=True, capture_output=True, text=True
        )
        return int(done.stdout)

    return [peak(10 * MILLION) for _ in range(10)], [peak(MILLION) for _ in range(10)]


def installed_size(folder):
    """Megabytes of requirements/serve.txt, installed without their caches of compiled Python."""
    target = folder / "serve"
    requirements = ROOT / "requirements" / "serve.txt"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--target", target, "-r", requirements]
    subprocess.run(pip, check=True, capture_output=True)
    size = sum(path.lstat().st_size for path in target.rglob("*") if path.is_file())
    return [size / 1e6], [1.0]


@contextlib.contextmanager
def service():
    """Run `python app.py`; give its address."""
    with tempfile.TemporaryFile("w+") as log:
        env = {**os.environ, "PORT": "0"}
        server = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=env, stderr=log, text=True)
        try:
            found = None
            while not found and server.poll() is None:
                time.sleep(0.05)
                log.seek(0)
                found = re.search(r"http://127\.0\.0\.1:\d+", log.read())
            yield found[0]
        finally:
            server.terminate()
            server.wait(30)


def predict_process(_folder):
    """`utilscli.py predict` to a local server, over importing click and requests; whole processes."""
    with service() as url:
        return in_turns(
            process(sys.executable, "utilscli.py", "predict", "--weight", 180, "--host", url),
            process(sys.executable, "-c", "import click, requests"),
        )


def predict_many(_folder):
    """Ask a local server for 10,000 rows as the command does, over posting the bytes and reading the answer's."""
    rows = [{"Weight": 150 + number % 100} for number in range(10_000)]
    body = json.dumps(rows).encode()
    with service() as url, contextlib.closing(http.client.HTTPConnection(url.removeprefix("http://"))) as connection:
        endpoint, last = remote.Endpoint(url), {}

        def bare():
            connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
            return connection.getresponse().read()

        times = in_turns(
            lambda: endpoint.ask_many(rows, lambda result: last.update(answers=result.answers)),
            bare,
            runs=100,
            warm_up=10,
        )
        if last["answers"] != json.loads(bare())["predictions"]:
            raise ValueError("the answers differ")
        return times


def load_rate(folder):
    """Requests a second that `load` reaches at 8 connections, over those of wrk, of one row each."""
    script = folder / "post.lua"
    script.write_text(
        'wrk.method = "POST"\nwrk.body = [[{"Weight": 180}]]\nwrk.headers["Content-Type"] = "application/json"\n',
        encoding="utf-8",
    )
    rates, wrk_rates, busy = [], [], []
    with service() as url:
        wrk = ["wrk", "--threads", "1", "--connections", "8", "--duration", "4s", "--script", script, f"{url}/predict"]
        for _ in range(7):
            report = load.run(remote.Endpoint(url), [{"Weight": 180}], rate=50_000, duration=4, concurrency=8)
            printed = subprocess.run(wrk, check=True, capture_output=True, text=True).stdout
            rates.append(report.throughput)
            wrk_rates.append(float(re.search(r"Requests/sec: +([\d.]+)", printed)[1]))
            busy.append(report.client_cpu)
    print(f"            load was busy {statistics.median(busy):.0%} of the time")
    return rates, wrk_rates


# name: (what, target, how). A target is a ratio at most, but for those AT_LEAST, and for megabytes.
AT_LEAST = ("cli_joblib", "load_rate")
MEASURES = {
    "cli_compiled": (
        "`./cli.py --weight 180`, whole process, over click, onnxruntime and one run of the session",
        1.2,
        cli_compiled,
    ),
    "cli_joblib": ("the same through `model.joblib` alone, over through the compiled form (at least)", 6, cli_joblib),
    "one_row": ("`mlib.predict` of one row, warm, over the bare `InferenceSession.run`", 3, one_row),
    "million_rows": ("`mlib.predict` of 1,000,000 rows, array to array, over one bare run", 1.2, million_rows),
    "retrain_warm": (
        "`retrain` on 1,000,000 rows, over scikit-learn's read, split, fit and score; warm",
        1.5,
        retrain_warm,
    ),
    "retrain_process": ("the same as whole processes", 1.5, retrain_process),
    "retrain_mixed": (
        "`retrain` on 1,000,000 rows of ten mixed columns, over the same pipeline in scikit-learn; warm",
        1.5,
        retrain_mixed,
    ),
    "retrain_mixed_memory": ("peak memory of these two, whole processes", 1.3, retrain_mixed_memory),
    "one_row_mixed": (
        "`mlib.predict` of one row of ten mixed columns, warm, over the bare `InferenceSession.run`",
        5,
        one_row_mixed,
    ),
    "help_mixed": ("`./cli.py --help` with their ten options, over `import click`", 2, help_mixed),
    "memory": ("peak memory of 10,000,000 rows in chunks, over 1,000,000", 1.1, memory),
    "predict_process": (
        "`./utilscli.py predict` to a local server, whole process, over importing click and requests",
        2,
        predict_process,
    ),
    "predict_many": (
        "10,000 rows asked of a local server, over posting the bytes and reading the answer's",
        1.3,
        predict_many,
    ),
    "load_rate": ("requests a second of `./utilscli.py load` at 8 connections, over wrk's (at least)", 0.8, load_rate),
    "installed_size": ("installed size of requirements/serve.txt, MB", 170, installed_size),
}


def machine():
    """Describe the machine and the versions that were measured."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    packages = mlib.Signature.read().packages
    return {
        "processor": cpu[1] if cpu else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "system": f"{platform.system()}, Python {platform.python_version()}",
        "versions": {name: packages[name] for name in ("scikit-learn", "numpy", "pandas", "onnxruntime")},
    }


def ratio_of(ours, bare):
    """The median of the ratios of what was measured in the same turn: what slows the machine slows both."""
    return statistics.median(one / other for one, other in zip(ours, bare, strict=True))


def rows_of(results):
    """A row of the table a measure: what, target, ratio, medians of ours and of the bare, whether it is met."""
    for name, (what, target, _) in MEASURES.items():
        if name in results:
            ratio = ratio_of(*results[name])
            yield what, target, ratio, ratio >= target if name in AT_LEAST else ratio <= target


def write_readme(results, about):
    """Put the table and the machine into README.md, between its two marks."""
    lines = ["| what | target | measured | |", "| --- | --- | --- | --- |"]
    for what, target, ratio, is_met in rows_of(results):
        lines.append(f"| {what} | {target:g} | {ratio:.2f} | {'met' if is_met else '**missed**'} |")
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    lines += [
        "",
        f"Measured on {about['processor']}, {about['cores']} cores, {about['memory_gb']} GB, {about['system']}, "
        f"{versions}.",
    ]
    path = HERE / "README.md"
    before, mark, rest = path.read_text(encoding="utf-8").partition("<!-- results -->\n")
    after = rest.partition("<!-- end -->")
    path.write_text(before + mark + "\n".join(lines) + "\n" + after[1] + after[2], encoding="utf-8")


def draw(results):
    """Draw each ratio as a share of its target."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    rows = list(rows_of(results))[::-1]
    figure, axis = plt.subplots(figsize=(9, 5), dpi=100, constrained_layout=True)
    for place, (what, target, ratio, is_met) in enumerate(rows):
        share = target / ratio if "at least" in what else ratio / target
        axis.barh(place, share, color="#0072b2" if is_met else "#d55e00")
        axis.text(share - 0.02, place, f"{ratio:.2f}", va="center", ha="right", color="white")
    axis.axvline(1, color="black", linewidth=1, linestyle="--")
    labels = [what.replace("`", "").replace(", over", ",\nover") for what, *_ in rows]
    axis.set_yticks(range(len(rows)), labels, fontsize=7)
    axis.set(title="Measured, as a share of the target (left of the line is met)", xlim=(0, None))
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(HERE / "ratios.png")


def main():
    """Measure all, or those that are named, and write the results."""
    os.environ.pop("MLOPS_MODEL", None)
    wanted = sys.argv[1:] or list(MEASURES)
    path = HERE / "results.json"
    known = json.loads(path.read_text(encoding="utf-8"))["measured"] if path.exists() and sys.argv[1:] else {}
    for name in wanted:
        what, _, measure = MEASURES[name]
        try:
            with tempfile.TemporaryDirectory() as folder:
                known[name] = measure(Path(folder))
        except FileNotFoundError as error:  # wrk is not everywhere
            print(f"not measured, {error}: {what}")
            continue
        print(f"{ratio_of(*known[name]):10.2f}  {what}", flush=True)
    about = machine()
    path.write_text(json.dumps({"machine": about, "measured": known}, indent=1) + "\n", encoding="utf-8")
    write_readme(known, about)
    draw(known)


if __name__ == "__main__":
    main()
