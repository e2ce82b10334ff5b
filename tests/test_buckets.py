"""Tests of files in buckets: batch and its model, by s3fs from a running moto."""

import shutil

import boto3
import pytest
from click.testing import CliRunner
from moto.server import ThreadedMotoServer

import mlib
import utilscli
from toolkit import batch

pytest.importorskip("s3fs")


@pytest.fixture(name="moto", scope="module")
def _moto():
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(name="bucket")
def _bucket(moto, monkeypatch, tmp_path):
    """A client of a bucket, in an environment in which everybody finds it."""
    for name, value in {
        "AWS_ENDPOINT_URL": moto,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="rows", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    yield client
    for each in client.list_objects_v2(Bucket="rows").get("Contents", []):
        client.delete_object(Bucket="rows", Key=each["Key"])
    client.delete_bucket(Bucket="rows")


def keys(client):
    """The keys of all objects."""
    return [each["Key"] for each in client.list_objects_v2(Bucket="rows").get("Contents", [])]


def content(client, key):
    """The bytes of an object."""
    return client.get_object(Bucket="rows", Key=key)["Body"].read()


ROWS = b"Name,Weight\n" + b"".join(b"Joe %d,%d\n" % (i, 150 + i % 100) for i in range(2000)) + b"Lee,x\n"


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "parquet"])
def test_objects_are_read_and_written_as_files_are(bucket, model, tmp_path, kind):
    path = tmp_path / "in.csv"
    path.write_bytes(ROWS)
    batch.score_file(path, tmp_path / f"out.{kind}", model, chunk_rows=300)
    bucket.put_object(Bucket="rows", Key="data/in.csv", Body=ROWS)
    summary = batch.score_file("s3://rows/data/in.csv", f"s3://rows/out.{kind}", model, chunk_rows=300)
    assert content(bucket, f"out.{kind}") == (tmp_path / f"out.{kind}").read_bytes()
    assert content(bucket, f"out.{kind}.rejects.jsonl") == (tmp_path / f"out.{kind}.rejects.jsonl").read_bytes()
    assert (summary.rows, summary.rejects_output) == (2001, f"s3://rows/out.{kind}.rejects.jsonl")
    # What was written is read again, from there.
    batch.score_file(f"s3://rows/out.{kind}", tmp_path / "again.csv", model, keep=["Name"])
    batch.score_file(tmp_path / f"out.{kind}", tmp_path / "here.csv", model, keep=["Name"])
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()


def test_no_object_that_is_read_is_written_over(bucket, model):
    bucket.put_object(Bucket="rows", Key="in.csv", Body=ROWS)
    with pytest.raises(mlib.OptionError, match="is the input"):
        batch.score_file("s3://rows/in.csv", "s3://rows/in.csv", model)
    assert content(bucket, "in.csv") == ROWS


def test_a_bucket_that_is_not_there_cannot_be_written(bucket, model, tmp_path):
    (tmp_path / "in.csv").write_bytes(ROWS)
    with pytest.raises(mlib.Error, match="Cannot write s3://no-such-bucket/out"):
        batch.score_file(tmp_path / "in.csv", "s3://no-such-bucket/out.csv", model)
    assert not keys(bucket)


def test_the_objects_of_a_folder_are_read_in_the_order_of_their_names(bucket, model, tmp_path):
    for key, weight in {"b": 200, "a": 180, "c": 220}.items():
        bucket.put_object(Bucket="rows", Key=f"parts/{key}.csv", Body=f"Weight\n{weight}\n".encode())
    batch.score_file("s3://rows/parts", tmp_path / "out.csv", model, only=["height_inches"])
    assert [line.split(",")[0] for line in (tmp_path / "out.csv").read_text().splitlines()] == [
        "Weight",
        "180",
        "200",
        "220",
    ]


def test_an_object_is_there_when_it_is_whole_and_not_before(bucket, model):
    bucket.put_object(Bucket="rows", Key="in.csv", Body=ROWS)

    class EndedError(Exception):
        """Somebody ends the work."""

    def end(_):
        raise EndedError

    with pytest.raises(EndedError):
        batch.score_file("s3://rows/in.csv", "s3://rows/out.csv", model, chunk_rows=100, progress=end)
    assert keys(bucket) == ["in.csv"]


def test_with_too_many_rejects_only_they_are_written(bucket, model):
    bucket.put_object(Bucket="rows", Key="in.csv", Body=ROWS)
    with pytest.raises(mlib.GateError):
        batch.score_file("s3://rows/in.csv", "s3://rows/out.csv", model, max_rejects=batch.Limit(0))
    assert keys(bucket) == ["in.csv", "out.csv.rejects.jsonl"]


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("s3://rows/none.csv", "Cannot read s3://rows/none.csv: "),
        ("s3://no-such-bucket/in.csv", "Cannot read s3://no-such-"),
    ],
)
@pytest.mark.usefixtures("bucket")
def test_what_is_not_there_is_one_line(model, tmp_path, address, says):
    with pytest.raises(mlib.DataError, match=says):
        batch.score_file(address, tmp_path / "out.csv", model)


@pytest.mark.usefixtures("bucket")
def test_a_bucket_that_is_not_there_cannot_be_written_to(model, tmp_path):
    (tmp_path / "in.csv").write_bytes(ROWS)
    with pytest.raises(mlib.Error, match=r"s3://no-such-bucket/out\.csv"):
        batch.score_file(tmp_path / "in.csv", "s3://no-such-bucket/out.csv", model)


@pytest.mark.usefixtures("bucket")
def test_to_go_on_wants_a_file_of_this_machine(model, tmp_path):
    (tmp_path / "in.csv").write_bytes(ROWS)
    with pytest.raises(
        mlib.OptionError, match=r"--resume goes on with files on this machine, and s3://rows/out\.csv is none"
    ):
        batch.score_file(tmp_path / "in.csv", "s3://rows/out.csv", model, resume=True)


def test_a_compiled_model_comes_from_a_bucket(bucket, model, tmp_path):
    (tmp_path / "in.csv").write_bytes(ROWS)
    bucket.put_object(Bucket="rows", Key="model.onnx", Body=model.with_suffix(".onnx").read_bytes())
    command = ["batch", str(tmp_path / "in.csv"), str(tmp_path / "out.csv"), "--model", "s3://rows/model.onnx"]
    assert CliRunner().invoke(utilscli.cli, command).exit_code == 0
    batch.score_file(tmp_path / "in.csv", tmp_path / "here.csv", model)
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()


def test_a_joblib_model_comes_from_a_bucket_only_with_its_digest(bucket, model, tmp_path):
    import hashlib

    (tmp_path / "in.csv").write_bytes(ROWS)
    shutil.copy(model, tmp_path / "model.joblib")
    bucket.upload_file(str(model), "rows", "model.joblib")
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    command = ["batch", str(tmp_path / "in.csv"), str(tmp_path / "out.csv"), "--model", "s3://rows/model.joblib"]
    refused = CliRunner().invoke(utilscli.cli, command)
    assert (refused.exit_code, "give the digest that you expect: --sha256" in refused.stderr) == (1, True)
    wrong = CliRunner().invoke(utilscli.cli, [*command, "--sha256", "0" * 64])
    assert wrong.exit_code == 1
    assert f"s3://rows/model.joblib has the sha256 {digest}" in wrong.stderr
    assert CliRunner().invoke(utilscli.cli, [*command, "--sha256", digest]).exit_code == 0
    assert (tmp_path / "out.csv").exists()
