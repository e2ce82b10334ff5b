"""Is an endpoint trusted only where its certificate is good?  By requests (one row) and by aiohttp (many) alike."""

import datetime
import json
import shutil
import ssl
import subprocess

import pytest
import trustme
from standins import Utils, predicted, standin

import mlib

DAY = datetime.timedelta(days=1)


@pytest.fixture(name="utils")
def _utils(tmp_path):
    return Utils(tmp_path)


@pytest.fixture(name="authority", scope="module")
def _authority():
    return trustme.CA()


@pytest.fixture(name="known")
def _known(authority, tmp_path):
    """The path of the authority's certificate."""
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(path)
    return path


def secure(certificate):
    """What a server needs to show a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@pytest.fixture(name="good")
def _good(authority):
    with standin(predicted, secure(authority.issue_cert("127.0.0.1", "localhost"))) as server:
        yield server


def asked_both_ways(utils, url, *options, **variables):
    """Ask one row and several; return both results."""
    path, _ = utils.rows(3)
    many = utils.predict(url, "--from", path, "--chunk-rows", 2, "--json", *options, **variables)
    return utils.predict(url, "--weight", 200, "--json", *options, **variables), many


def answered(utils, done):
    """Check that both were answered as by the model here."""
    one, many = done
    assert (one.exit_code, many.exit_code) == (0, 0), one.stderr + many.stderr
    assert json.loads(one.stdout) == {"prediction": mlib.predict(200)}
    assert json.loads(many.stdout) == {"predictions": mlib.predict(utils.rows(3)[1])}


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_good_certificate_of_a_known_authority_is_trusted(utils, good, known, variable):
    answered(utils, asked_both_ways(utils, good.url, **{variable: known}))
    answered(utils, asked_both_ways(utils, good.url.replace("127.0.0.1", "localhost"), **{variable: known}))


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed, which names the files of a folder")
def test_a_folder_of_authorities_is_taken_too(utils, good, known, tmp_path):
    folder = tmp_path / "authorities"
    folder.mkdir()
    name = subprocess.run(
        ["openssl", "x509", "-hash", "-noout", "-in", known], capture_output=True, text=True, check=True
    ).stdout.strip()
    (folder / f"{name}.0").write_bytes(known.read_bytes())
    answered(utils, asked_both_ways(utils, good.url, REQUESTS_CA_BUNDLE=folder))


def refused(utils, authority_certificate, certificate, said, url=str):
    """Check that both are refused at once, that it is said why, and that nothing was sent."""
    with standin(predicted, secure(certificate)) as server:
        variables = {"REQUESTS_CA_BUNDLE": authority_certificate, "MLOPS_API_KEY": "s3cret"}
        for done in asked_both_ways(utils, url(server.url), **variables):
            assert done.exit_code == 3
            assert f"cannot be trusted: its certificate is refused, {said}" in done.stderr
            assert "Trying again" not in done.stderr
            assert "REQUESTS_CA_BUNDLE" in done.stderr
            assert "s3cret" not in done.output
        assert not server.asked


def test_a_certificate_of_an_unknown_authority_is_refused(utils, known):
    refused(utils, known, trustme.CA().issue_cert("127.0.0.1"), "unable to get local issuer certificate")


def test_where_no_authority_is_named_those_of_the_world_are_known(utils, authority):
    refused(utils, None, authority.issue_cert("127.0.0.1"), "unable to get local issuer certificate")


def test_a_certificate_that_expired_is_refused(utils, known, authority):
    now = datetime.datetime.now(datetime.UTC)
    certificate = authority.issue_cert("127.0.0.1", not_before=now - 2 * DAY, not_after=now - DAY)
    refused(utils, known, certificate, "certificate has expired")


def test_a_certificate_that_is_not_valid_yet_is_refused(utils, known, authority):
    now = datetime.datetime.now(datetime.UTC)
    certificate = authority.issue_cert("127.0.0.1", not_before=now + DAY, not_after=now + 2 * DAY)
    refused(utils, known, certificate, "certificate is not yet valid")


def test_a_certificate_of_another_name_is_refused(utils, known, authority):
    refused(utils, known, authority.issue_cert("other.example"), "IP address mismatch")
    refused(
        *(utils, known, authority.issue_cert("other.example"), "Hostname mismatch"),
        lambda url: url.replace("127.0.0.1", "localhost"),
    )


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_of_authorities_that_is_none_is_told(utils, good, tmp_path, content):
    path = tmp_path / "bundle.pem"
    if content:
        path.write_text(content, encoding="utf-8")
    for done in asked_both_ways(utils, good.url, REQUESTS_CA_BUNDLE=path):
        reason = "NO_CERTIFICATE_OR_CRL_FOUND" if content else "No such file or directory"
        assert done.exit_code == 1
        assert done.stderr.startswith(f"Error: Cannot read the certificates of authorities in {path}: ")
        assert reason in done.stderr
        assert done.stderr.endswith("Is REQUESTS_CA_BUNDLE right?\n")
    assert not good.asked


def test_who_asks_by_https_what_speaks_http_is_told(utils):
    with standin(predicted) as server:
        for done in asked_both_ways(utils, server.url.replace("http:", "https:"), "--retries", 0):
            assert done.exit_code == 3
            assert "cannot be reached: [SSL" in done.stderr
