"""Tests of the page for people: its words through Flask's client, and all of it in a real browser."""

import contextlib
import html
import json
import math
import random
import re
import shlex
import shutil
import sys
from html.parser import HTMLParser

import pytest
import requests
from conftest import ENVIRONMENT, run, serving
from steady import put, wait_until

import mlib
from app import create_app
from service import page, plot

EXPECTED = "a number above 0 (145 to 300 pounds in training)"
CHROMIUM = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)
QUIET = ["disable-gpu", "disable-quic", "no-first-run", "disable-background-networking", "disable-component-update"]
needs_curl = pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")


# ------------------------------------------------------------------------------------------------ models, helpers


@pytest.fixture(name="client", scope="module")
def _client(model):
    return create_app(model).test_client()


@pytest.fixture(name="models", scope="module")
def _models(tmp_path_factory, model, two_features):
    """Paths of trained models, by what they have of their own."""
    folder, draw = tmp_path_factory.mktemp("models"), random.Random(5)

    def train(name, header, rows, target, **options):
        table, path = folder / f"{name}.csv", folder / f"{name}.joblib"
        lines = [header, *(",".join(map(str, row)) for row in rows)]
        table.write_text("\n".join(lines) + "\n", encoding="utf-8")
        mlib.retrain(data=table, target=target, model_name=path, **options)
        return path

    cities = [f"City {i:03} of a name that goes on and on" for i in range(200)]
    days = [f"20{20 + i // 336:02}-{1 + i // 28 % 12:02}-{1 + i % 28:02}" for i in range(700)]
    strange = [*WEIRD[:-1], '"' + WEIRD[-1].replace('"', '""') + '"']
    return {
        "default": model,
        "two": two_features,
        "line": train("line", "x,y", ((x, 2 * x + 1) for x in range(1, 41)), "y", estimator="linear"),
        "position": _retrained(folder / "position.joblib", target="Position", features=("Weight", "Team")),
        "classes": train(
            "classes", "x,kind", ((i % 30 / 8 + draw.random() / 2, f"kind {i % 30}") for i in range(600)), "kind"
        ),
        "dates": train(
            "dates",
            "day,open,city,rides",
            ((day, draw.choice(["yes", "no"]), draw.choice(cities), draw.randint(100, 300)) for day in days),
            "rides",
        ),
        "gaps": train(
            "gaps",
            "n,sure,g,y",
            ((i or "", ["yes", "no", ""][i % 3], "ab"[i % 2] if i % 5 else "", i) for i in range(90)),
            "y",
        ),
        "hours": train("hours", "at,y", ((f"{day}T{i % 24:02}:30", i % 24) for i, day in enumerate(days)), "y"),
        "weird": train(
            "weird",
            ",".join([*strange, "y"]),
            ([draw.gauss(0, i + 1) for i in range(len(WEIRD) + 1)] for _ in range(80)),
            "y",
        ),
        "wide": train(
            "wide",
            ",".join([*(f"gene_{i}" for i in range(2000)), "y"]),
            ([round(draw.gauss(0, 1), 4) for _ in range(2001)] for _ in range(60)),
            "y",
            estimator="dummy",
        ),
    }


# What a form or a script may stumble over: names of its own parts, of the page's control, and markup.
WEIRD = ["method", "elements", "checkValidity", "addEventListener", "submit", "id", "vary", "größe", "a b<c>&'d\"e"]


def _retrained(path, **options):
    mlib.retrain(model_name=path, **options)
    return path


@pytest.fixture(name="ask", scope="module")
def _ask(models):
    """Open the page of a model, with a query; the response."""
    clients = {}

    def ask(name, **query):
        client = clients.setdefault(name, create_app(models[name]).test_client())
        return client.get("/", query_string=query)

    return ask


class Form(HTMLParser):
    """What a page's form has: its fields (id to attributes), the ids that labels are for, and all ids."""

    def __init__(self, text):
        super().__init__()
        self.fields, self.labels, self.ids, self.tags = {}, set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Note what matters."""
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        self.ids += [attributes["id"]] if "id" in attributes else []
        if tag in ("input", "select") and attributes.get("type") != "hidden":
            self.fields[attributes["id"]] = attributes
        elif tag == "label":
            self.labels.add(attributes["for"])


def answer(response):
    """What stands in the page's answer, without tags."""
    text = re.search(r'<output id="answer" data-live>(.*?)</output>', response.text, re.DOTALL)[1]
    return re.sub("<[^>]+>", "|", text).strip("|").replace("||", "|")


def drawn(response):
    """What the page's plot draws."""
    return json.loads(
        re.search(r'<script type="application/json" id="plot" data-live>(.*?)</script>', response.text)[1]
    )


def commands(text):
    """The same request elsewhere: for curl, Python and utilscli.py."""
    return list(map(html.unescape, re.findall(r'<code id="request-\d" data-live>(.*?)</code>', text, re.DOTALL)))


# -------------------------------------------------------------------------------------------------- the form


def test_the_page_says_what_it_is_and_has_a_labelled_field_a_feature(ask):
    response = ask("default")
    assert response.status_code == 200
    assert response.content_type == "text/html; charset=utf-8"
    assert "Predict the Height From Weight of MLB Players" in response.text
    form = Form(response.text)
    assert {key: field["name"] for key, field in form.fields.items()} == {"f1": "Weight"}
    assert form.labels == {"f1"}
    form = Form(ask("two").text)
    assert {key: field["name"] for key, field in form.fields.items()} == {"f1": "Weight", "f2": "Age", "vary": "vary"}
    assert form.labels == set(form.fields)


@pytest.mark.parametrize("name", ["default", "two", "position", "dates", "gaps", "hours", "weird", "wide"])
def test_every_field_has_a_label_and_ids_are_there_once(ask, name):
    form = Form(ask(name).text)
    assert set(form.fields) == form.labels
    assert len(set(form.ids)) == len(form.ids)
    described = {field["aria-describedby"] for field in form.fields.values() if "aria-describedby" in field}
    assert described <= set(form.ids)


def test_nothing_is_inline_and_nothing_is_from_elsewhere(ask):
    response = ask("position")
    for name, value in page.HEADERS.items():
        assert response.headers[name] == value
    assert "unsafe" not in response.headers["Content-Security-Policy"]
    for tag, attributes in Form(response.text).tags:
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        assert tag != "style"
        assert tag != "script" or "src" in attributes or attributes["type"] == "application/json"
        assert not re.match(r"(\w+:)?//", attributes.get("src") or attributes.get("href") or "")


@pytest.mark.parametrize("name", ["page.css", "page.js", "favicon.svg", "uplot/uPlot.iife.min.js", "uplot/LICENSE"])
def test_its_files_are_served_and_name_no_other_host(client, name):
    with client.get(f"/static/{name}") as response:
        assert response.status_code == 200
        links = set(re.findall(r"https?://[\w./-]+", response.text))
    assert links <= {"http://www.w3.org/2000/svg", "https://github.com/leeoniya/uPlot"}


def test_first_it_answers_the_example(client, model):
    response = client.get("/")
    assert 'value="205"' in response.text
    assert answer(response) == answer(client.get("/?Weight=205"))
    assert answer(response).startswith(mlib.predict(205, model)["height_human_readable"])


def test_a_long_median_is_shown_in_few_digits_that_lie_within_training(ask, models):
    signature = mlib.Signature.read(models["weird"])
    for feature, field in zip(signature.features, list(Form(ask("weird").text).fields.values()), strict=False):
        assert len(field["value"].lstrip("-")) <= 10
        assert feature.first <= float(field["value"]) <= feature.last
        assert float(field["value"]) == pytest.approx(feature.median, rel=1e-3)


def test_the_page_answers_without_javascript(client):
    response = client.get("/?Weight=200")
    assert answer(response) == "6 foot, 1 inches|90% interval: 5 foot, 10 inches to 6 foot, 4 inches"
    assert 'value="200"' in response.text
    assert "extrapolation" in client.get("/?Weight=400").text


@pytest.mark.parametrize("value", ["-5", "0", "nan", "abc", "", "1e999"])
def test_the_page_refuses_what_cannot_be(client, value):
    response = client.get("/", query_string={"Weight": value})
    assert response.status_code == 422
    assert f"expected {EXPECTED}." in answer(response)
    assert "<strong>" not in response.text
    assert 'aria-invalid="true"' in response.text
    assert drawn(response) is None
    assert response.headers["Content-Security-Policy"] == page.HEADERS["Content-Security-Policy"]


def test_the_page_escapes_what_was_typed(client):
    response = client.get("/", query_string={"Weight": '"><script>alert(1)</script>'})
    assert "<script>" not in response.text
    assert "&lt;script&gt;" in response.text


def test_a_missing_part_of_a_row_is_asked_for_on_the_page(ask):
    response = ask("two", Weight=200)
    assert response.status_code == 422
    assert "Age: got nothing" in response.text


def test_many_problems_are_told_once_each_and_few_of_them(ask):
    response = ask("wide", gene_0="x")
    assert answer(response).count("got") == 6
    assert "And 94 more." in answer(response)  # of the first hundred


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("200", 200),
        ("200.5", 200.5),
        ("200,5", 200.5),
        (" 200 ", 200),
        ("1e2", 100),
        ("1,234", "1,234"),
        ("1_0", "1_0"),
    ],
)
def test_a_decimal_comma_does_and_one_that_may_part_thousands_does_not(model, text, value):
    parsed = page.parse(mlib.Signature.read(model).features[0], text)
    assert (parsed, type(parsed)) == (value, type(value))


def test_what_was_given_is_shown_as_the_widgets_have_it(ask):
    checked = ask("dates", day="2021-03-04", open="yes", city="City 007 of a name that goes on and on").text
    assert re.search(r'name="open" value="true" checked', checked)
    assert 'type="date" value="2021-03-04"' in checked
    assert not re.search("checked", ask("dates", day="2021-03-04", open="no", city="").text)
    assert 'type="datetime-local" value="2021-03-04T00:00"' in ask("hours", at="2021-03-04").text
    assert 'type="datetime-local" value="2021-03-04T05:30"' in ask("hours", at="2021-03-04 05:30").text
    gaps = ask("gaps", n="", sure="TRUE", g="").text
    assert '<option value="true" selected>' in gaps
    assert gaps.count('<option value="">not known</option>') == 2


def test_a_keyboard_without_a_minus_is_offered_where_none_is_needed(ask):
    assert 'inputmode="decimal"' in ask("default").text
    assert "inputmode" not in ask("weird").text


def test_a_choice_is_sent_as_it_is_however_many_blanks_it_has(tmp_path, write_table):
    """A browser sends an option without a value with its blanks squeezed."""
    levels = ["A", "A ", " x  y"]
    rows = "".join(f'"{levels[i % 3]}",{i % 3 + i / 1000}\n' for i in range(90))
    path = tmp_path / "blanks.joblib"
    mlib.retrain(data=write_table("g,y\n" + rows), target="y", model_name=path)
    text = create_app(path).test_client().get("/").get_data(as_text=True)
    for level in levels:
        assert f'<option value="{level}"' in text


def test_names_of_any_kind_come_back_as_they_went(ask):
    row = {name: f"0.{i + 1}" for i, name in enumerate(WEIRD)}
    response = ask("weird", **row, vary_="größe")
    assert response.status_code == 200
    assert json.loads(shlex.split(commands(response.text)[0])[-1]) == {name: float(text) for name, text in row.items()}
    assert drawn(response)["label"] == "größe"
    assert [field["name"] for field in Form(response.text).fields.values()] == [*WEIRD, "vary_"]


def test_a_form_too_long_for_an_address_is_posted(ask, models):
    response = ask("wide")
    assert '<form id="form" method="post"' in response.text
    fields = {field["name"]: field["value"] for field in Form(response.text).fields.values() if "value" in field}
    assert len(fields) == 2000
    assert "<summary>1,976 more</summary>" in response.text
    posted = create_app(models["wide"]).test_client().post("/", data={**fields, "vary": "gene_7"})
    assert posted.status_code == 200
    assert drawn(posted)["label"] == "gene_7"


# --------------------------------------------------------------------------------------- the answer, the commands


def test_a_model_without_interval_is_served_too(ask):
    response = ask("line", x="10.5")
    assert "Predict the y from x" in response.text
    assert answer(response) == "22"
    assert drawn(response)["half"] is None


def test_classes_are_answered_with_their_probabilities_the_most_probable_first(ask, models):
    response = ask("position", Weight=250, Team="NYA")
    expected = mlib.predict({"Weight": 250, "Team": "NYA"}, models["position"])
    best = max(expected["probabilities"].values())
    assert answer(response) == f"{expected['position']}|probability {best:.2g}"
    table = re.search('<table class="bars">.*?</table>', response.text, re.DOTALL)[0]
    shown = [float(text) for text in re.findall(r"<td>([\d.]+)</td>", table)]
    assert shown == sorted(shown, reverse=True)
    assert shown[0] == pytest.approx(best, abs=5e-4)
    rest = len(expected["probabilities"]) - 5
    assert f"{rest} other classes have " in response.text


def test_what_the_model_is_worth_is_said(client):
    text = client.get("/").text
    assert "0.142 on 128 held-out rows; always answering the mean: -0.005" in text
    assert "3eb759007d5dd205b7204605e7fcf982863b585660bf21d52775e3f65a979e75" in text
    for link in "model", "docs", "openapi.json", "metrics":
        assert f'<a href="{link}">' in text


@needs_curl
def test_the_same_request_is_a_command_that_runs(models, tmp_path):
    with serving(MLOPS_MODEL=models["position"]) as url:
        row = {"Weight": "230.5", "Team": "NYA"}
        text = requests.get(url, params=row, timeout=10).text
        found = commands(text)
        expected = {"prediction": mlib.predict({"Weight": 230.5, "Team": "NYA"}, models["position"])}
        assert json.loads(run("bash", "-c", found[0], cwd=tmp_path).stdout) == expected
        done = run(sys.executable, "-c", found[1], cwd=tmp_path)
        assert done.stdout == f"{expected!r}\n", done.stderr
        assert run("bash", "-c", found[2]).stdout == f"result: {json.dumps(expected)}\n"


@needs_curl
def test_with_keys_the_commands_send_one(tmp_path):
    with serving(MLOPS_API_KEYS="secret") as url:
        text = requests.get(url, headers={"Authorization": "Bearer secret"}, timeout=10).text
        curl, python, belt = commands(text)
        env = {**ENVIRONMENT, "MLOPS_API_KEY": "secret"}
        expected = {"prediction": mlib.predict(mlib.Signature.read().example())}
        assert json.loads(run("bash", "-c", curl, cwd=tmp_path, env=env).stdout) == expected
        assert run(sys.executable, "-c", python, cwd=tmp_path, env=env).stdout == f"{expected!r}\n"
        assert run("bash", "-c", belt, env=env).stdout == f"result: {json.dumps(expected)}\n"


def test_the_utility_belt_asks_the_same_of_the_default_model(server):
    text = requests.get(f"{server}/?Weight=400", timeout=10).text
    command = commands(text)[2]
    assert command == f"./utilscli.py predict \\\n  --weight 400 \\\n  --host {server}/predict"
    assert '"height_inches": 83.91' in run("bash", "-c", command).stdout


def test_commands_quote_whatever_a_value_holds(tmp_path, write_table):
    nasty = 'it\'s $(HOME) "x" `id` \\ <b> é'
    quoted = nasty.replace('"', '""')
    table = write_table("g,y\n" + "".join(f'"{quoted}{i % 2}",{i}\n' for i in range(40)))
    path = tmp_path / "nasty.joblib"
    mlib.retrain(data=table, target="y", model_name=path)
    curl, python, belt = commands(create_app(path).test_client().get("/", query_string={"g": f"{nasty}1"}).text)
    assert json.loads(shlex.split(curl)[-1]) == {"g": f"{nasty}1"}
    assert shlex.split(belt)[2:5] == ["\n", "--g", f"{nasty}1"] or shlex.split(belt)[2:4] == ["--g", f"{nasty}1"]
    compile(python, "python", "exec")
    assert repr({"g": f"{nasty}1"}) in python


# ---------------------------------------------------------------------------------------------------- the plot


def test_the_plot_holds_the_line_the_sample_and_ones_own_point(client, model):
    data = drawn(client.get("/?Weight=400"))
    assert (data["x"][0], data["x"][-1], data["trained"]) == (145, 400, [145, 300])
    assert data["x"] == sorted(set(data["x"]))
    line = data["series"][0]["values"]
    assert line == pytest.approx(mlib.load_model(model).predict([[x] for x in data["x"]]).tolist())
    assert data["own"] == {"x": 400, "y": [line[-1]]}
    sample = mlib.Signature.read(model).sample
    assert data["sample"] == [[row[0] for row in sample["rows"]], sample["target"]]
    assert data["half"] == mlib.Signature.read(model).interval["half_width"]


def test_the_plot_is_a_table_and_a_sentence_too(client):
    text = client.get("/?Weight=200").text
    assert "Plot: Height for Weight from 145 to 300 pounds is between 70.29 and 78.57 inches; " in text
    assert "with Weight 200 pounds it is 73.23 inches." in text
    table = re.search('<table id="figures".*?</table>', text, re.DOTALL)[0]
    assert table.count("<tr>") == 11
    assert '<th scope="row">145</th><td>70.29</td><td>67.05 to 73.53</td>' in table


def test_one_feature_is_varied_and_the_others_are_as_typed(ask, models):
    data = drawn(ask("two", Weight=200, Age=40, vary="Age"))
    model = mlib.load_model(models["two"])
    assert data["series"][0]["values"] == pytest.approx(model.predict([[200, x] for x in data["x"]]).tolist())
    assert data["own"]["x"] == 40
    assert "sample" not in data  # those rows have other weights
    assert len(data["rug"]) == 200
    assert drawn(ask("two", Weight=200, Age=40, vary="nonsense"))["label"] == "Weight, pounds"


def test_categories_are_points_at_most_thirty_and_ones_own_among_them(ask, models):
    signature = mlib.Signature.read(models["dates"])
    rarest = min(range(len(signature.features[2].texts)), key=signature.features[2].histogram["counts"].__getitem__)
    city = signature.features[2].texts[rarest]
    response = ask("dates", day="2020-05-05", open="true", city=city, vary="city")
    data = drawn(response)
    assert len(data["names"]) == plot.MOST_CATEGORIES
    assert data["names"][data["own"]["x"]] == city
    assert "The 30 commonest of " in response.text
    assert drawn(ask("dates", day="2020-05-05", open="true", city=city, vary="open"))["names"] == ["false", "true"]


def test_what_is_missing_has_a_place_among_names_and_none_on_a_line(ask):
    data = drawn(ask("gaps", n="", sure="", g="", vary="g"))
    assert data["names"] == ["a", "b", "not known"]
    assert data["own"]["x"] == 2
    assert drawn(ask("gaps", n="", sure="", g="a", vary="n"))["own"] is None
    assert drawn(ask("gaps", n="", sure="", g="a", vary="sure"))["names"] == ["false", "true", "not known"]


def test_dates_are_varied_by_whole_weeks_from_ones_own(ask):
    day = 86_400
    data = drawn(ask("dates", day="2020-05-05", open="true", city="City 007 of a name that goes on and on"))
    steps = {(b - a) / day for a, b in zip(data["x"], data["x"][1:], strict=False)}
    assert len(steps) == 1
    assert steps.pop() % 7 == 0
    assert data["own"]["x"] in data["x"]
    assert data["own"]["x"] / day == 18_387  # days from 1970-01-01 to 2020-05-05


def test_the_five_most_probable_of_many_classes_are_drawn_each_in_its_own_way(ask, models):
    response = ask("classes", x="1.5")
    data = drawn(response)
    expected = mlib.predict({"x": 1.5}, models["classes"])["probabilities"]
    assert {each["name"] for each in data["series"]} == set(sorted(expected, key=expected.get)[-5:])
    for what in "dash", "marker", "color":
        assert len({each[what] for each in data["series"]}) == 5
    assert f"The 5 most probable of {len(expected)} classes." in response.text
    assert data["shares"]


def test_a_model_without_a_sample_is_plotted_without(tmp_path):
    path = _retrained(tmp_path / "none.joblib", sample=0)
    response = create_app(path).test_client().get("/")
    assert drawn(response)["sample"] == [[], []]
    assert "training rows" not in response.text


@pytest.mark.parametrize("value", ["1e300", "1e10", "145.00000001", "1e-300", "0.0001"])
def test_the_plot_is_finite_whatever_is_answered(client, value):
    response = client.get("/", query_string={"Weight": value})
    assert response.status_code == (422 if value == "1e300" else 200)
    assert "NaN" not in response.text
    assert "Infinity" not in response.text
    if response.status_code == 200:
        data = drawn(response)
        assert all(math.isfinite(x) for x in data["x"] + data["series"][0]["values"])


def test_json_in_the_page_ends_no_script(ask):
    assert ask("weird").text.count("</script>") == 3  # two files, and the plot's data


# ------------------------------------------------------------------------------------------------- in a browser


@pytest.fixture(name="chromium", scope="module")
def _chromium():
    if not CHROMIUM:
        pytest.skip("chromium is not installed")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-sync", *(f"--{name}" for name in QUIET)]
        )
        yield browser
        browser.close()


@pytest.fixture(name="urls", scope="module")
def _urls(models):
    """The URL of a real server of a model, started when it is first asked for."""
    started = {}
    with contextlib.ExitStack() as stack:

        def url(name):
            if name not in started:
                started[name] = stack.enter_context(serving(MLOPS_MODEL=models[name]))
            return started[name]

        yield url


@pytest.fixture(name="visit")
def _visit(chromium, urls):
    """Open a page; at the end hold that nothing was asked of another host, and that nothing was complained about."""
    with contextlib.ExitStack() as stack:
        wrong = []

        def visit(name, query="", **options):
            context = stack.enter_context(contextlib.closing(chromium.new_context(**options)))
            tab = context.new_page()
            url = urls(name)
            tab.on("request", lambda request: request.url.startswith(f"{url}/") or wrong.append(request.url))
            tab.on("pageerror", lambda error: wrong.append(str(error)))
            tab.on(
                "console", lambda message: re.search("status of (422|503)", message.text) or wrong.append(message.text)
            )
            if options.get("java_script_enabled", True):
                tab.add_init_script(
                    "addEventListener('securitypolicyviolation', (event) => console.error(event.violatedDirective))"
                )
            tab.goto(f"{url}/{query}")
            return tab

        yield visit
    assert not wrong


def says(tab, text):
    """Wait until the answer has a text."""
    tab.locator("#answer", has_text=text).wait_for()


def pixels(tab):
    """How many pixels of the plot's canvas are not empty, and a digest of them."""
    return tab.evaluate(
        """() => {
            const canvas = document.querySelector("#chart canvas");
            // Through a copy: a browser complains of a canvas that is read again and again.
            const copy = new OffscreenCanvas(canvas.width, canvas.height);
            const pencil = copy.getContext("2d", { willReadFrequently: true });
            pencil.drawImage(canvas, 0, 0);
            const { data } = pencil.getImageData(0, 0, canvas.width, canvas.height);
            let drawn = 0, digest = 0;
            for (let i = 0; i < data.length; i += 4) {
                if (data[i + 3]) drawn++;
                digest = (digest * 31 + data[i] * 7 + data[i + 1] * 5 + data[i + 2] * 3 + data[i + 3]) % 1000000007;
            }
            return [drawn, digest];
        }"""
    )


def test_the_answer_follows_what_one_types_without_a_reload(visit):
    tab = visit("default")
    tab.evaluate("window.isSame = true")
    field = tab.get_by_label("Weight, pounds")
    field.fill("200")
    says(tab, "6 foot, 1 inches")
    before = pixels(tab)
    field.press("Control+A")
    field.press_sequentially("300")
    says(tab, "6 foot, 7 inches")
    assert tab.evaluate("isSame && document.activeElement.id") == "f1"
    assert tab.url.endswith("/?Weight=300")
    assert '{"Weight": 300}' in tab.locator("#request-1").inner_text()
    after = pixels(tab)
    assert min(before[0], after[0]) > 5000
    assert before[1] != after[1]
    tab.reload()
    says(tab, "6 foot, 7 inches")


def test_ones_own_point_is_where_the_line_is(visit):
    tab = visit("default", "?Weight=200")
    tab.locator("#chart canvas").wait_for()
    found = tab.evaluate(
        """() => {
            const drawn = JSON.parse(document.getElementById("plot").textContent);
            const at = [chart.valToPos(drawn.own.x, "x", true), chart.valToPos(drawn.own.y[0], "y", true)];
            const ring = chart.ctx.getImageData(at[0] + 6 * devicePixelRatio, at[1], 1, 1).data;
            return [...ring].slice(0, 3);
        }"""
    )
    assert found == [0xB8, 0x44, 0x0A]  # --own


def test_the_plot_is_read_under_the_pointer(visit):
    tab = visit("default")
    tab.locator("#chart .u-over").hover()
    assert re.fullmatch(r"At [\d.]+: 7\d\.\d+ \([\d.]+ to [\d.]+\)", tab.locator("#reading").inner_text())


def test_what_is_half_typed_alarms_nobody(visit):
    tab = visit("default")
    field = tab.get_by_label("Weight, pounds")
    field.fill("")
    tab.wait_for_timeout(400)
    assert not tab.locator(".problem").count()
    field.press_sequentially("1e")
    tab.wait_for_timeout(400)
    assert not tab.locator(".problem").count()
    field.press_sequentially("2")
    says(tab, "5 foot, 8 inches")
    field.fill("-5")
    field.blur()  # one is done
    says(tab, f"Weight: got -5, expected {EXPECTED}.")
    assert field.get_attribute("aria-invalid") == "true"
    field.fill("200")
    says(tab, "6 foot, 1 inches")
    assert field.get_attribute("aria-invalid") is None


def test_a_page_that_opened_with_a_problem_is_mended_by_typing(visit):
    tab = visit("default", "?Weight=-5")
    assert not tab.locator("#chart canvas").is_visible()
    tab.get_by_label("Weight, pounds").fill("200")
    says(tab, "6 foot, 1 inches")
    assert tab.locator("#chart canvas").is_visible()
    assert tab.locator("#request-2").is_visible()


def test_late_answers_do_not_replace_newer_ones(visit):
    tab = visit("default")
    tab.route("**/?Weight=150*", lambda route: (tab.wait_for_timeout(600), route.continue_()))
    field = tab.get_by_label("Weight, pounds")
    field.fill("150")
    tab.wait_for_timeout(250)
    field.fill("300")
    says(tab, "6 foot, 7 inches")
    tab.wait_for_timeout(900)
    says(tab, "6 foot, 7 inches")


def test_a_service_that_fails_is_said(visit):
    tab = visit("default")
    tab.route("**/?Weight=*", lambda route: route.fulfill(status=503, body="{}", content_type="application/json"))
    tab.get_by_label("Weight, pounds").fill("210")
    says(tab, "The service answered with an error (503).")
    tab.unroute_all()
    tab.get_by_label("Weight, pounds").fill("200")
    says(tab, "6 foot, 1 inches")


def test_a_value_of_any_length_is_refused_in_words(visit):
    tab = visit("default")
    tab.get_by_label("Weight, pounds").fill("x" * 100_000)
    says(tab, "expected a number above 0")
    tab.get_by_label("Weight, pounds").fill("225")
    says(tab, "6 foot, 3 inches")


@pytest.mark.parametrize("height", [330, 560])
def test_on_a_telephone_the_answer_does_not_cover_what_one_types_in(visit, height):
    tab = visit("default", "?Weight=900", viewport={"width": 360, "height": height})
    field = tab.get_by_label("Weight, pounds")
    field.focus()
    over, under = field.bounding_box(), tab.locator(".answer").bounding_box()
    assert over["y"] + over["height"] <= under["y"] or under["y"] + under["height"] <= over["y"]


def test_what_one_typed_outlives_another_model(chromium, tmp_path, model, two_features):
    put(model, tmp_path)
    with serving(MLOPS_MODEL=tmp_path / "model.joblib") as url, contextlib.closing(chromium.new_context()) as context:
        tab = context.new_page()
        tab.goto(f"{url}/?Weight=200")
        put(two_features, tmp_path)
        version = mlib.Signature.read(two_features).version
        wait_until(lambda: requests.get(f"{url}/ping", timeout=10).json()["version"] == version)
        tab.get_by_label("Weight, pounds").fill("260")
        tab.get_by_label("Age").wait_for()
        assert tab.get_by_label("Weight, pounds").input_value() == "260"


def test_the_keyboard_does(visit):
    tab = visit("two", "?Weight=200&Age=30")
    reached = []
    for _ in range(14):
        tab.keyboard.press("Tab")
        reached.append(tab.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
    assert reached[:3] == ["f1", "f2", "vary"]
    assert [text for text in reached if text.startswith("Copy")] == ["Copy curl", "Copy Python", "Copy utilscli.py"]
    tab.locator("#f1").focus()
    tab.keyboard.press("Control+A")
    tab.keyboard.type("300")
    tab.keyboard.press("Enter")
    says(tab, "6 foot, 7 inches")
    assert tab.evaluate("document.activeElement.id") == "f1"
    tab.locator("#vary").focus()
    tab.keyboard.press("A")  # as a list does: chooses Age
    tab.locator("#plot-title", has_text="Height along Age").wait_for()
    assert tab.evaluate("document.activeElement.id") == "vary"
    tab.locator("summary", has_text="The plot as a table").focus()
    tab.keyboard.press("Enter")
    assert tab.locator("#figures tbody tr").count() == 10
    tab.get_by_label("Weight, pounds").fill("200")
    says(tab, "6 foot, 1 inches")
    assert tab.locator("#figures").is_visible()  # what was unfolded stays so


def test_focus_is_to_be_seen(visit):
    tab = visit("default")
    tab.keyboard.press("Tab")
    width, style = tab.evaluate("(s => [s.outlineWidth, s.outlineStyle])(getComputedStyle(document.activeElement))")
    assert (width, style) == ("3px", "solid")


def test_without_javascript_there_is_a_button(visit):
    tab = visit("two", java_script_enabled=False)
    tab.get_by_label("Weight, pounds").fill("300")
    tab.get_by_label("Age, years").fill("35")
    tab.get_by_label("Vary").select_option("Age")
    tab.get_by_role("button", name="Predict").click()
    says(tab, "6 foot, 7 inches")
    assert tab.url.endswith("/?Weight=300&Age=35&vary=Age")
    assert tab.locator("#plot-title").inner_text() == "Height along Age"
    tab.locator("summary", has_text="The plot as a table").click()
    assert tab.locator("#figures tbody tr").count() == 10
    assert not tab.get_by_role("button", name="Copy").count()
    tab.get_by_label("Weight, pounds").fill("-5")
    tab.get_by_role("button", name="Predict").click()
    says(tab, "Weight: got -5")


@pytest.mark.parametrize("name", ["default", "position", "classes", "dates", "weird", "wide"])
def test_a_narrow_telephone_scrolls_one_way(visit, name):
    tab = visit(name, viewport={"width": 320, "height": 640}, has_touch=True, is_mobile=True)
    tab.locator("#chart canvas").wait_for()
    for summary in tab.locator("summary").all():
        summary.click()
    assert tab.evaluate("document.documentElement.scrollWidth") == 320
    small = tab.evaluate(
        """() => [...document.querySelectorAll("input:not([type=checkbox]), select, button, summary, nav a, .check")]
            .filter((each) => each.checkVisibility() && each.getBoundingClientRect().height < 44)
            .map((each) => each.outerHTML)"""
    )
    assert not small


def test_the_answer_stays_in_view_while_a_long_form_is_filled_in(visit):
    tab = visit("weird", viewport={"width": 360, "height": 640})
    box = tab.locator(".answer").bounding_box()
    assert 0 < box["y"] <= 640 - box["height"] + 1


def test_the_dark_is_dark_and_the_plot_follows_when_it_falls(visit):
    tab = visit("default", color_scheme="light")
    background = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"
    assert min(tab.evaluate(background)) > 240
    tab.locator("#chart canvas").wait_for()
    light = pixels(tab)
    tab.emulate_media(color_scheme="dark")
    assert max(tab.evaluate(background)) < 40
    wait_until(lambda: pixels(tab)[1] != light[1])


def test_a_copied_command_is_what_is_shown_and_runs(visit):
    tab = visit("default", "?Weight=250", permissions=["clipboard-read", "clipboard-write"])
    for number, name in enumerate(["curl", "Python", "utilscli.py"], start=1):
        tab.get_by_role("button", name=f"Copy {name}").click()
        tab.get_by_role("button", name=f"Copied {name}").wait_for()
        copied = tab.evaluate("navigator.clipboard.readText()")
        assert copied == tab.locator(f"#request-{number}").inner_text()
        command = [sys.executable, "-c", copied] if name == "Python" else ["bash", "-c", copied]
        done = run(*command, env=ENVIRONMENT)
        assert "6 foot, 4 inches" in done.stdout, done.stderr


def test_it_copies_where_the_clipboard_is_not_given(visit):
    tab = visit("default")
    tab.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    tab.get_by_role("button", name="Copy curl").click()
    assert tab.evaluate("getSelection().toString()") == tab.locator("#request-1").inner_text()


@pytest.mark.parametrize("name", ["two", "line", "position", "classes", "dates", "gaps", "hours", "weird", "wide"])
def test_every_feature_of_every_kind_of_model_is_plotted(visit, name):
    tab = visit(name)
    chosen = tab.locator("#vary option").all()[:10]
    for number in range(len(chosen) or 1):
        if chosen:
            tab.locator("#vary").select_option(index=number)
            tab.locator("#plot-title", has_text=f" along {chosen[number].inner_text()}").wait_for()
        assert pixels(tab)[0] > 2000


def test_a_wide_form_answers_as_one_types_too(visit):
    tab = visit("wide")
    tab.locator("#vary").select_option("gene_1999")
    tab.locator("#plot-title", has_text="gene_1999").wait_for()
    tab.get_by_label("gene_3", exact=True).fill("0.25")
    tab.locator("#request-1", has_text='"gene_3": 0.25').wait_for(state="attached")
    assert tab.url.endswith("/")


def test_strange_names_are_typed_into_too(visit):
    tab = visit("weird")
    tab.evaluate("window.isSame = true")
    for name in WEIRD:
        tab.get_by_label(name, exact=True).fill("0.5")
    body = json.dumps(dict.fromkeys(WEIRD, 0.5), ensure_ascii=False)
    tab.locator("#request-1", has_text=shlex.quote(body)).wait_for()
    assert tab.evaluate("isSame")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["default", "position", "dates", "gaps"])
def test_axe_finds_nothing(visit, name, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    tab = visit(name, color_scheme=scheme)
    tab.locator("#chart canvas").wait_for()
    for summary in tab.locator("summary").all():
        summary.click()
    result = axe.Axe().run(tab)
    assert not result.violations_count, result.generate_report()


def test_axe_finds_nothing_where_something_is_refused(visit):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    tab = visit("default", "?Weight=-5")
    result = axe.Axe().run(tab)
    assert not result.violations_count, result.generate_report()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["default", "gaps"])
def test_axe_finds_nothing_in_the_documentation_and_a_telephone_shows_all_of_it(visit, name, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    tab = visit(name, "docs", color_scheme=scheme, viewport={"width": 360, "height": 800})
    for summary in tab.locator("summary").all():
        summary.click()
    assert tab.evaluate("document.documentElement.scrollWidth") == 360
    result = axe.Axe().run(tab)
    assert not result.violations_count, result.generate_report()


def test_a_command_of_the_documentation_is_selected_by_one_click_without_javascript(visit):
    tab = visit("default", "docs", java_script_enabled=False)
    tab.locator("#predict .command code").first.click()
    assert tab.evaluate("getSelection().toString()").startswith("curl -s http://127.0.0.1:")
