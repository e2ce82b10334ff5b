"""What does a place answer where the default model is deployed?

A test module brings the way to ask it, and inherits the rest:

    class TestFunction(Contract):
        @pytest.fixture
        def ask(self): return lambda payload: (status, document)

    class TestService(HttpContract):
        @pytest.fixture
        def url(self, server): return server
"""

import json

import pytest
import requests

ANSWERS = {  # the lengths in words by hand: 72.16 inches are 6 feet of 12 and 0.16 more
    145: {"height_inches": 70.29, "height_human_readable": "5 foot, 10 inches"},
    180: {"height_inches": 72.16, "height_human_readable": "6 foot, 0 inches"},
    200: {"height_inches": 73.23, "height_human_readable": "6 foot, 1 inches"},
    300: {"height_inches": 78.57, "height_human_readable": "6 foot, 7 inches"},
}
BAD_ROWS = {  # which fields they are refused for
    "nothing": ({}, ["Weight"]),
    "a misspelt field": ({"Wieght": 200}, ["Weight", "Wieght"]),
    "one field too many": ({"Weight": 200, "Shoes": 44}, ["Shoes"]),
    "text": ({"Weight": "heavy"}, ["Weight"]),
    "a number as text": ({"Weight": "200"}, ["Weight"]),
    "null": ({"Weight": None}, ["Weight"]),
    "true": ({"Weight": True}, ["Weight"]),
    "a list": ({"Weight": [200]}, ["Weight"]),
    "an object": ({"Weight": {}}, ["Weight"]),
    "zero": ({"Weight": 0}, ["Weight"]),
    "less than zero": ({"Weight": -5}, ["Weight"]),
    "more than can be": ({"Weight": 1e300}, ["Weight"]),
}
NO_ROWS = {"a number": 200, "a text": "abc", "null": None, "no rows": [], "a list of numbers": [200]}
NO_JSON = [b"", b"Weight=200", b'{"Weight": 200', b'{"Weight": NaN}', b'{"Weight": Infinity}', b'{"Weight": 1e999}']


def is_problem(status, document, expected_status):
    """Check that an answer is a refusal as all are (RFC 9457), and tells nothing of the inside."""
    assert status == document["status"] == expected_status
    assert {"type", "title", "detail"} <= set(document)
    inside = json.dumps(document)
    assert not [word for word in ("Traceback", ".py", "site-packages", "/app", "/var/task") if word in inside]
    return document


class Contract:
    """A payload goes in, a status and a document come out."""

    bad_row = 422  # the status of a row that cannot be answered

    def test_a_row_is_answered(self, ask):
        assert ask({"Weight": 200}) == (200, {"prediction": ANSWERS[200]})

    def test_many_rows_are_answered_in_their_order(self, ask):
        weights = [300, 145, 200, 180]
        expected = {"predictions": [ANSWERS[weight] for weight in weights]}
        assert ask([{"Weight": weight} for weight in weights]) == (200, expected)

    def test_a_row_outside_of_training_is_answered_with_a_warning(self, ask):
        status, document = ask({"Weight": 400})
        assert status == 200
        assert document["prediction"]["height_inches"] == 83.91
        assert document["prediction"]["warnings"] == [
            {"field": "Weight", "got": 400, "expected": "145 to 300 pounds, as in training"}
        ]

    @pytest.mark.parametrize("what", BAD_ROWS)
    def test_a_bad_row_is_refused_by_field(self, ask, what):
        row, fields = BAD_ROWS[what]
        document = is_problem(*ask(row), self.bad_row)
        assert [error["field"] for error in document["errors"]] == fields
        if fields == ["Weight"]:
            assert document["errors"][0]["expected"].startswith("a number above 0")

    def test_a_bad_row_among_good_ones_is_refused_by_its_number(self, ask):
        document = is_problem(*ask([{"Weight": 200}, {"Weight": -5}]), self.bad_row)
        assert "row 2" in document["detail"]

    def test_a_misspelt_name_is_answered_with_the_nearest(self, ask):
        assert "Did you mean Weight?" in is_problem(*ask({"Wieght": 200}), self.bad_row)["detail"]

    @pytest.mark.parametrize("what", NO_ROWS)
    def test_what_is_no_row_is_refused(self, ask, what):
        is_problem(*ask(NO_ROWS[what]), 400)


class HttpContract(Contract):
    """The same over HTTP, with the rest of what a web service is asked."""

    @pytest.fixture
    def ask(self, url):
        """Ask POST /predict."""

        def post(payload):
            response = requests.post(f"{url}/predict", json=payload, timeout=30)
            kind = "application/json" if response.ok else "application/problem+json"
            assert response.headers["Content-Type"] == kind
            return response.status_code, response.json()

        return post

    @pytest.mark.parametrize("body", NO_JSON)
    def test_what_is_no_json_is_refused(self, url, body):
        response = requests.post(f"{url}/predict", data=body, headers={"Content-Type": "application/json"}, timeout=30)
        is_problem(response.status_code, response.json(), 400)

    def test_an_unknown_path_is_not_found(self, url):
        response = requests.get(f"{url}/nope", timeout=30)
        assert "/nope" in is_problem(response.status_code, response.json(), 404)["detail"]

    def test_a_prediction_is_not_there_to_be_got(self, url):
        response = requests.get(f"{url}/predict", timeout=30)
        is_problem(response.status_code, response.json(), 405)

    def test_it_is_live_and_ready(self, url):
        assert requests.get(f"{url}/health/live", timeout=30).json() == {"status": "live"}
        response = requests.get(f"{url}/health/ready", timeout=30)
        assert (response.status_code, response.json()["status"]) == (200, "ready")

    def test_people_find_a_page(self, url):
        response = requests.get(url, timeout=30)
        assert (response.status_code, response.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert "Weight" in response.text
