"""Tests of the table and of what makes it."""

import hashlib

import pandas as pd
import pytest
from conftest import ROOT

import htwtmlb

POSITIONS = {
    "Catcher",
    "First_Baseman",
    "Second_Baseman",
    "Third_Baseman",
    "Shortstop",
    "Outfielder",
    "Designated_Hitter",
    "Starting_Pitcher",
    "Relief_Pitcher",
}


@pytest.fixture(name="table", scope="module")
def _table():
    return pd.read_csv(ROOT / "htwtmlb.csv")


def test_the_columns_are_the_published_ones(table):
    assert list(table.columns) == ["Unnamed: 0", "Name", "Team", "Position", "Height", "Weight", "Age"]
    assert [dtype.kind for dtype in table.dtypes[["Unnamed: 0", "Height", "Weight", "Age"]]] == ["i", "i", "i", "f"]


def test_every_player_is_there_once_and_without_gaps(table):
    assert len(table) == 1277
    assert list(table["Unnamed: 0"]) == list(range(1277))
    assert not table.isna().any(axis=None)
    assert not table.duplicated(["Name", "Team", "Position", "Height", "Weight", "Age"]).any()
    assert not table.duplicated(["Name", "Team", "Age"]).any()


def test_names_are_written_as_in_the_published_table(table):
    assert table["Name"].str.fullmatch(r"[A-Za-z.'-]+(_[A-Za-z.'-]+)+").all()
    assert {"Paul_Bako", "A.J._Pierzynski", "Jorge_De_La_Rosa"} <= set(table["Name"])


def test_values_lie_where_players_do(table):
    assert table["Height"].between(60, 84).all()
    assert table["Weight"].between(130, 330).all()
    assert table["Age"].between(18, 50).all()
    assert table["Age"].round(2).equals(table["Age"])
    assert set(table["Position"]) == POSITIONS
    assert table["Team"].str.fullmatch("[A-Z]{3}").all()
    assert table["Team"].nunique() == 30


@pytest.mark.parametrize(
    ("name", "position", "height", "weight", "age"),
    [
        # The age is that of the birthday, in years of 365.25 days.
        ("Paul_Bako", "Catcher", 74, 205, 34.78),  # 1972-06-20
        ("Johan_Santana", "Starting_Pitcher", 72, 210, 28.05),  # 1979-03-13
        ("Mariano_Rivera", "Relief_Pitcher", 74, 195, 37.34),  # 1969-11-29
        ("Derek_Jeter", "Shortstop", 75, 195, 32.76),  # 1974-06-26
        ("David_Ortiz", "Designated_Hitter", 75, 230, 31.37),  # 1975-11-18
        ("Ichiro_Suzuki", "Outfielder", 71, 175, 33.44),  # 1973-10-22
    ],
)
def test_players_that_everybody_knows(table, name, position, height, weight, age):
    player = table[table["Name"] == name].iloc[0]
    assert tuple(player[["Position", "Height", "Weight", "Age"]]) == (position, height, weight, age)


def test_the_file_is_the_one_that_was_published_with_this_version():
    digest = hashlib.sha256((ROOT / "htwtmlb.csv").read_bytes()).hexdigest()
    assert digest == "3eb759007d5dd205b7204605e7fcf982863b585660bf21d52775e3f65a979e75"


def test_building_it_again_gives_the_same_bytes(tmp_path):
    htwtmlb.write(tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == (ROOT / "htwtmlb.csv").read_bytes()


def appearances(*rows):
    """Rows of (player, year, games by position), made by hand."""
    columns = dict.fromkeys(htwtmlb.POSITIONS, 0)
    return pd.DataFrame([{**columns, "playerID": player, "yearID": year, **games} for player, year, games in rows])


def test_a_position_is_that_of_most_games_and_the_career_decides_between_equals():
    played = appearances(
        ("most", 2007, {"G_1b": 3}),
        ("most", 2007, {"G_1b": 3, "G_of": 5}),  # for another team
        ("equal", 2007, {"G_2b": 4, "G_3b": 4}),
        ("equal", 2006, {"G_3b": 9}),
        ("pinch", 2007, {}),
        ("pinch", 2005, {"G_ss": 1}),
        ("never", 2007, {}),
        ("other", 2006, {"G_c": 9}),
    )
    pitched = pd.DataFrame({"playerID": [], "yearID": [], "G": [], "GS": []})
    assert dict(htwtmlb.positions(played, pitched)) == {
        "most": "First_Baseman",
        "equal": "Third_Baseman",
        "pinch": "Shortstop",
    }


def test_a_pitcher_is_a_starter_when_at_least_half_of_his_games_were_starts():
    played = appearances(*((name, 2007, {"G_p": 10}) for name in ("half", "less", "traded")))
    pitched = pd.DataFrame(
        [("half", 2007, 10, 5), ("less", 2007, 10, 4), ("traded", 2007, 4, 0), ("traded", 2007, 6, 6)],
        columns=["playerID", "yearID", "G", "GS"],
    )
    assert dict(htwtmlb.positions(played, pitched)) == {
        "half": "Starting_Pitcher",
        "less": "Relief_Pitcher",
        "traded": "Starting_Pitcher",
    }
