"""Tests of ./resize.sh: moto is its AWS; its disks are real ones in files where root runs the tests, else told ones."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import types
from itertools import pairwise
from pathlib import Path

import pytest
import requests
from conftest import ROOT, run
from moto.server import ThreadedMotoServer
from standins import settings, standin

GIB = 1 << 30
REGION = "eu-west-1"
SUDO = [] if os.geteuid() == 0 else ["sudo"]
HERE = f"--region {REGION} --output text"
DESCRIBE_ONLY = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "ec2:Describe*", "Resource": "*"}}
needs_aws = pytest.mark.skipif(not shutil.which("aws"), reason="the AWS command line (aws) is not installed")


@pytest.fixture(name="moto", scope="module")
def _moto():
    """A client of moto's EC2, and where it listens."""
    import boto3

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    origin = f"http://{host}:{port}"
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "endpoint_url": origin}
    try:
        yield types.SimpleNamespace(
            origin=origin, ec2=boto3.client("ec2", REGION, **keys), iam=boto3.client("iam", REGION, **keys)
        )
    finally:
        requests.post(f"{origin}/moto-api/reset-auth", data="inf", timeout=10)
        server.stop()


class Machine:
    """An EC2 machine that has one volume, what tells it so, and a folder of commands that go before the real ones."""

    def __init__(self, folder, moto, metadata, gib=10, device="/dev/sda1"):
        volume = [{"DeviceName": device, "Ebs": {"VolumeSize": gib}}]
        answer = moto.ec2.run_instances(ImageId="ami-12345678", MinCount=1, MaxCount=1, BlockDeviceMappings=volume)
        self.id = answer["Instances"][0]["InstanceId"]
        self.ec2, self.folder, self.metadata = moto.ec2, folder, metadata
        self.volume = self.volumes()[0]["VolumeId"]
        self.serial = self.volume.replace("-", "")
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.env = {
            "PATH": os.environ["PATH"],
            **{name: value for name, value in os.environ.items() if name in ("LD_LIBRARY_PATH", "PYENV_VERSION")},
            **{name: value for name, value in settings(folder).items() if value is not None},
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata.origin,
            "AWS_ENDPOINT_URL": moto.origin,
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
            "RESIZE_WAIT": "60",
        }

    def volumes(self):
        """Its volumes, as AWS tells them."""
        of_it = [{"Name": "attachment.instance-id", "Values": [self.id]}]
        return self.ec2.describe_volumes(Filters=of_it)["Volumes"]

    @property
    def gib(self):
        """The size of its volume."""
        return self.volumes()[0]["Size"]

    def command(self, name, body):
        """Put a command before the real one of that name."""
        path = self.bin / name
        path.write_text(f"#!/bin/bash\n{body}\n", encoding="utf-8")
        path.chmod(0o755)

    def __call__(self, *args, before=(), **given):
        """Run ./resize.sh, by a command before it; keywords are environment variables, None takes one away."""
        env = {**self.env, "PATH": f"{self.bin}:{self.env['PATH']}", **given}
        return run(
            *before, ROOT / "resize.sh", *args, cwd=self.folder, env={k: v for k, v in env.items() if v is not None}
        )

    def told(self, source, kind="ext4", type_="part", disk="nvme0n1", table="gpt"):
        """Tell that / is there; what would grow it only writes down that it was called."""
        self.command("findmnt", f"echo {source} {kind}")
        about = {"TYPE": type_, "PKNAME": disk, "PTTYPE": table, "SERIAL": self.serial if "nvme" in disk else ""}
        cases = "".join(f"{column}) echo {value} ;; " for column, value in about.items())
        self.command("lsblk", f'case "$2" in {cases} SIZE) echo {20000 * GIB} ;; esac')
        self.command("df", f"[[ $1 == --h* ]] || wc -c < {self.folder}/done")
        for name in ("growpart", "resize2fs", "xfs_growfs"):
            self.command(name, f'echo "{name} $*" >> {self.folder}/done')
        self.command("sudo", '"$@"')
        (self.folder / "done").touch()

    def done(self):
        """Which of these commands were called."""
        return (self.folder / "done").read_text().splitlines()


def told_by_metadata(instance):
    """Answer as the metadata service does, to those who have a token."""

    def answer(asked):
        if (asked.method, asked.path) == ("PUT", "/latest/api/token"):
            return 200, {}, b"t0ken"
        if asked.headers["X-aws-ec2-metadata-token"] != "t0ken":
            return 401, {}, b""
        found = {"instance-id": instance[0], "placement/region": REGION}.get(asked.path.partition("meta-data/")[2])
        return (200, {}, found.encode()) if found else (404, {}, b"")

    return answer


@contextlib.contextmanager
def started(folder, moto, **options):
    """Start a machine."""
    instance = []
    with standin(told_by_metadata(instance)) as metadata:
        machine = Machine(folder, moto, metadata, **options)
        instance.append(machine.id)
        yield machine


@pytest.fixture(name="machine")
def _machine(tmp_path, moto):
    """A machine of 10 GiB, with / in a partition of an NVMe disk."""
    with started(tmp_path, moto) as machine:
        machine.told("/dev/nvme0n1p1")
        yield machine


def shown(done):
    """The commands that were shown."""
    return [after for line, after in pairwise(done.stdout.splitlines()) if line.startswith("# ")]


# ------------------------------------------------------------------------------------------------- told disks


def test_the_help_says_that_nothing_is_done_without_yes():
    done = run("./resize.sh", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Without --yes nothing is changed" in done.stdout


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "SIZE: got nothing, expected whole GiB"),
        ([""], "SIZE: got nothing"),
        (["0"], "SIZE: got 0, expected whole GiB from 1 to 16384"),
        (["-5"], "-5 is no option"),
        (["10.5"], "SIZE: got 10.5, expected whole GiB"),
        (["1e3"], "SIZE: got 1e3"),
        (["020"], "SIZE: got 020"),
        (["50G"], "SIZE: got 50G"),
        (["16385"], "SIZE: got 16385, expected whole GiB from 1 to 16384"),
        (["99999999999999999999"], "SIZE: got 99999999999999999999"),
        (["20;reboot"], "SIZE: got 20;reboot"),
        (["20", "30"], "SIZE: got 20 and 30, expected one number"),
        (["20", "--mount"], "--mount: got nothing"),
        (["20", "--mount", ""], "--mount: got nothing"),
        (["20", "--force"], "--force is no option"),
    ],
)
def test_what_is_no_size_is_refused_before_anything_is_asked(machine, args, said):
    done = machine(*args, "--yes") if args != ["20", "--mount"] else machine(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert not machine.metadata.asked
    assert not machine.done()


@pytest.mark.parametrize("limit", ["08", "010", "-1", "1m", "1.5", "1000000"])
def test_what_is_no_number_of_seconds_is_refused_before_anything_is_asked(machine, limit):
    done = machine("20", "--yes", RESIZE_WAIT=limit)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"RESIZE_WAIT: got {limit}, expected whole seconds" in done.stderr
    assert not machine.metadata.asked


LAYOUTS = {
    "an ext4 partition of an NVMe disk": (
        {"source": "/dev/nvme0n1p1"},
        ["growpart /dev/nvme0n1 1", "resize2fs /dev/nvme0n1p1"],
    ),
    "the twelfth partition of an NVMe disk": (
        {"source": "/dev/nvme1n1p12", "disk": "nvme1n1"},
        ["growpart /dev/nvme1n1 12", "resize2fs /dev/nvme1n1p12"],
    ),
    "an xfs partition of an NVMe disk": (
        {"source": "/dev/nvme0n1p1", "kind": "xfs"},
        ["growpart /dev/nvme0n1 1", "xfs_growfs -d /"],
    ),
    "an NVMe disk without partitions": (
        {"source": "/dev/nvme0n1", "type_": "disk"},
        ["resize2fs /dev/nvme0n1"],
    ),
    "a partition of an older machine's disk, with MBR": (
        {"source": "/dev/xvda1", "disk": "xvda", "table": "dos"},
        ["growpart /dev/xvda 1", "resize2fs /dev/xvda1"],
    ),
}


@needs_aws
@pytest.mark.parametrize(("layout", "growing"), LAYOUTS.values(), ids=LAYOUTS)
def test_without_yes_it_shows_each_command_and_with_it_does_them(machine, layout, growing):
    machine.told(**layout)
    root, disk = " ".join([*SUDO, ""]), layout.get("disk", "nvme0n1")
    query = "--query VolumesModifications\\[0\\].ModificationState"
    expected = [
        f"aws ec2 modify-volume --volume-id {machine.volume} --size 20 {HERE}",
        f"aws ec2 describe-volumes-modifications --volume-ids {machine.volume} {query} {HERE}",
        f"lsblk -bdnro SIZE /dev/{disk}",
        *[root + command.replace("growpart", "env TMPDIR=/dev/shm growpart") for command in growing],
    ]
    done = machine("20")
    assert (done.returncode, done.stderr) == (0, "")
    assert "To do it, add --yes" in done.stdout
    assert shown(done) == expected
    assert (machine.gib, machine.done()) == (10, [])
    done = machine("20", "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert shown(done) == expected
    assert (machine.gib, machine.done()) == (20, growing)


@needs_aws
def test_another_name_of_a_partition_is_followed(machine):
    root = machine.folder / "root"
    root.symlink_to("/dev/nvme0n1p1")
    machine.told(root)
    assert machine("20", "--yes").returncode == 0
    assert machine.done() == ["growpart /dev/nvme0n1 1", "resize2fs /dev/nvme0n1p1"]


@needs_aws
def test_a_volume_that_has_the_size_already_is_left_alone_and_what_is_on_it_grows(machine):
    done = machine("10", "--yes")
    assert done.returncode == 0
    assert "modify-volume" not in done.stdout
    assert machine.done() == ["growpart /dev/nvme0n1 1", "resize2fs /dev/nvme0n1p1"]


@needs_aws
def test_a_volume_is_never_made_smaller(machine):
    done = machine("9", "--yes")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"SIZE: got 9, expected at least the 10 GiB that {machine.volume} has" in done.stderr
    assert (machine.gib, machine.done()) == (10, [])


@needs_aws
def test_an_old_partition_table_ends_at_two_tebibytes(machine):
    machine.told("/dev/xvda1", disk="xvda", table="dos")
    assert machine("2048").returncode == 0
    done = machine("2049", "--yes")
    assert done.returncode == 1
    assert "SIZE: got 2049, expected at most 2048: the partition table of /dev/xvda is MBR" in done.stderr
    assert machine.gib == 10


@needs_aws
def test_a_disk_that_is_none_of_the_volumes_is_left_alone(machine):
    machine.serial = "AWS0123456789"  # what an instance store has
    machine.told("/dev/nvme0n1p1")
    done = machine("20", "--yes")
    assert done.returncode == 1
    assert f"/dev/nvme0n1 is none of the volumes of {machine.id}: {machine.volume}" in done.stderr
    assert (machine.gib, machine.done()) == (10, [])


@pytest.mark.parametrize(
    ("layout", "said"),
    [
        (
            {"source": "overlay", "kind": "overlay"},
            "/ is overlay on overlay. This grows ext4 and xfs only; in a container",
        ),
        ({"source": "/dev/nvme0n1p1", "kind": "btrfs"}, "/ is btrfs on /dev/nvme0n1p1"),
        ({"source": "/dev/mapper/vg-root", "type_": "lvm"}, "of type lvm. This grows a disk or a partition"),
        ({"source": "/dev/md0", "type_": "raid1"}, "of type raid1"),
        ({"source": "/dev/nvme0n1p1[/srv]"}, "/ is a bind mount, of a folder of /dev/nvme0n1p1. Give --mount"),
        (
            {"source": "/dev/xvda5", "disk": "xvda", "table": "dos"},
            "/dev/xvda5 cannot grow: it is a logical partition",
        ),
    ],
)
def test_what_it_cannot_grow_is_refused_before_anything_is_asked(machine, layout, said):
    machine.told(**layout)
    done = machine("20", "--yes")
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert not machine.metadata.asked


def test_a_path_where_nothing_is_mounted_is_refused(tmp_path):
    done = run("./resize.sh", "20", "--mount", tmp_path)
    assert done.returncode == 1
    assert f"--mount: got {tmp_path}, expected where a file system is mounted" in done.stderr


@pytest.mark.parametrize(
    ("missing", "package"),
    [
        ("growpart", "cloud-guest-utils"),
        ("resize2fs", "e2fsprogs"),
        ("curl", "curl"),
        ("aws", "awscli"),
        ("lsblk", "util"),
    ],
)
def test_a_command_that_is_missing_is_named_with_its_package(machine, missing, package):
    machine.command("aws", "exit 1")
    (machine.bin / missing).unlink(missing_ok=True)
    for name in {"bash", "cat", "curl", "env", "readlink", "tail"} - {missing}:
        (machine.bin / name).symlink_to(shutil.which(name))
    done = machine("20", "--yes", PATH=str(machine.bin))
    assert done.returncode == 1
    assert f"{missing} is not installed. It comes with the package {package}" in done.stderr
    assert not machine.metadata.asked


def nothing(_asked):
    """Answer as Google's and Azure's metadata do: at the same address, with other routes."""
    return 404, {}, b"not here"


@pytest.mark.parametrize("listens", [True, False])
def test_a_machine_that_is_not_of_ec2_is_told_so(machine, listens):
    machine.command("aws", "exit 1")
    with contextlib.ExitStack() as stack:
        origin = stack.enter_context(standin(nothing)).origin
        if not listens:
            stack.close()
        done = machine("20", "--yes", AWS_EC2_METADATA_SERVICE_ENDPOINT=origin)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"This is no EC2 machine, or its metadata service is off: {origin} gave no token (IMDSv2)." in done.stderr


def test_whoever_answers_everything_is_no_metadata_service(machine):
    machine.command("aws", "exit 1")
    with standin(lambda asked: (200, {}, b"<html>Welcome")) as portal:
        done = machine("20", "--yes", AWS_EC2_METADATA_SERVICE_ENDPOINT=portal.origin)
    assert done.returncode == 1
    assert "This is no EC2 machine" in done.stderr
    assert 'told the instance "<html>Welcome"' in done.stderr


@needs_aws
def test_the_metadata_is_never_asked_through_a_proxy(machine):
    nowhere = {"AWS_ENDPOINT_URL": "https://127.0.0.1:1", "AWS_MAX_ATTEMPTS": "1"}
    with standin(lambda asked: (200, {}, b"i-0000")) as proxy:
        names = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")
        done = machine("20", **dict.fromkeys(names, proxy.origin), **nowhere)
        assert done.returncode == 1  # AWS itself was not reached
        assert not proxy.asked
    assert [asked.path for asked in machine.metadata.asked] == [
        "/latest/api/token",
        "/latest/meta-data/instance-id",
        "/latest/meta-data/placement/region",
    ]


@needs_aws
def test_missing_credentials_are_told(machine):
    done = machine("20", "--yes", AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Unable to locate credentials" in done.stderr
    assert "It needs credentials that allow ec2:DescribeVolumes, ec2:ModifyVolume" in done.stderr


@needs_aws
def test_a_permission_that_is_missing_is_told_and_nothing_is_grown(machine, moto):
    moto.iam.create_user(UserName=machine.id)
    moto.iam.put_user_policy(UserName=machine.id, PolicyName="p", PolicyDocument=json.dumps(DESCRIBE_ONLY))
    key = moto.iam.create_access_key(UserName=machine.id)["AccessKey"]
    keys = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    requests.post(f"{moto.origin}/moto-api/reset-auth", data="0", timeout=10)  # from now on it checks
    try:
        assert machine("20", **keys).returncode == 0
        done = machine("20", "--yes", **keys)
    finally:
        requests.post(f"{moto.origin}/moto-api/reset-auth", data="inf", timeout=10)
    assert done.returncode == 1
    assert "is not authorized to perform: ec2:ModifyVolume" in done.stderr
    assert 'AWS did not do "aws ec2 modify-volume"' in done.stderr
    assert (machine.gib, machine.done()) == (10, [])


def ec2_that(volume, state="optimizing", refuses=None):
    """Answer as EC2 whose volume, when it is to be changed, gets into a state; one action it may refuse."""

    def answer(asked):
        action = dict(pair.split("=") for pair in asked.body.decode().split("&"))["Action"]
        if action == refuses:
            error = "<Error><Code>VolumeModificationRateExceeded</Code><Message>Not so often.</Message></Error>"
            return 400, {}, f"<Response><Errors>{error}</Errors></Response>".encode()
        change = f"<item><modificationState>{state}</modificationState></item>"
        body = {
            "DescribeVolumes": f"<volumeSet><item><volumeId>{volume}</volumeId><size>10</size></item></volumeSet>",
            "DescribeVolumesModifications": f"<volumeModificationSet>{change}</volumeModificationSet>",
        }
        return 200, {}, f"<{action}Response>{body.get(action, '')}</{action}Response>".encode()

    return answer


@needs_aws
@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"refuses": "ModifyVolume"}, "Not so often."),
        ({"refuses": "DescribeVolumesModifications"}, " could not be asked for; why is told above."),
        ({"state": "failed"}, "AWS could not change vol-"),
        ({"state": "modifying"}, "is still modifying after 1 seconds"),
    ],
)
def test_a_volume_that_does_not_get_larger_is_told_and_nothing_is_grown(machine, how, said):
    with standin(ec2_that(machine.volume, **how)) as ec2:
        done = machine("20", "--yes", AWS_ENDPOINT_URL=ec2.origin, RESIZE_WAIT="1")
    assert done.returncode == 1
    assert said in done.stderr
    assert not machine.done()


@needs_aws
def test_a_volume_whose_data_are_still_moved_is_used_at_once(machine):
    with standin(ec2_that(machine.volume, state="optimizing")) as ec2:
        done = machine("20", "--yes", AWS_ENDPOINT_URL=ec2.origin)
    assert done.returncode == 0, done.stderr
    assert machine.done() == ["growpart /dev/nvme0n1 1", "resize2fs /dev/nvme0n1p1"]


def sees(machine, *sizes):
    """Let Linux see one size after the other of the disk, the last one for good, and write down who asks."""
    (machine.bin / "lsblk").rename(machine.bin / "lsblk-of-the-rest")
    asked = f"echo asked >> {machine.folder}/done; seen=({' '.join(map(str, sizes))})"
    at = f"n=$(wc -l < {machine.folder}/done); echo ${{seen[n > {len(sizes)} ? {len(sizes) - 1} : n - 1]}}"
    machine.command("lsblk", f'[[ $2 == SIZE ]] || exec lsblk-of-the-rest "$@"\n{asked}\n{at}')


@needs_aws
def test_the_partition_is_grown_only_when_linux_sees_all_of_the_volume(machine):
    sees(machine, 10 * GIB, 20 * GIB - 1, 20 * GIB)
    done = machine("20", "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert machine.done() == [*["asked"] * 3, "growpart /dev/nvme0n1 1", "resize2fs /dev/nvme0n1p1"]


@needs_aws
def test_a_volume_that_linux_does_not_see_in_time_is_told_and_nothing_is_grown(machine):
    sees(machine, 10 * GIB)
    done = machine("20", "--yes", RESIZE_WAIT="1")
    assert done.returncode == 1
    assert f"The size of /dev/nvme0n1 in bytes is still {10 * GIB} after 1 seconds. Run this again" in done.stderr
    assert set(machine.done()) == {"asked"}


@pytest.fixture(name="nobody", scope="module")
def _nobody():
    """What to put before a command so that it does not run as root."""
    before = ["unshare", "--user"] if os.geteuid() == 0 else []
    if before and subprocess.run([*before, "true"], capture_output=True, check=False).returncode:
        pytest.skip("root cannot run a command as somebody else here (unshare --user)")
    return before


@needs_aws
def test_sudo_is_asked_before_anything_is_paid(machine, nobody):
    machine.command("sudo", f'echo "sudo $*" >> {machine.folder}/done; "$@"')
    done = machine("20", before=nobody)
    assert (done.returncode, done.stderr, machine.done()) == (0, "", [])
    assert shown(done)[-1] == "sudo resize2fs /dev/nvme0n1p1"
    done = machine("20", "--yes", before=nobody)
    assert (done.returncode, done.stderr) == (0, "")
    assert machine.done() == [
        "sudo true",
        "sudo env TMPDIR=/dev/shm growpart /dev/nvme0n1 1",
        "growpart /dev/nvme0n1 1",
        "sudo resize2fs /dev/nvme0n1p1",
        "resize2fs /dev/nvme0n1p1",
    ]


def test_who_cannot_be_root_is_told_so_before_anything_is_paid(machine, nobody):
    machine.command("aws", "exit 1")
    machine.command("sudo", "echo sudo: a password is required >&2; exit 1")
    done = machine("20", "--yes", before=nobody)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("sudo: a password is required\nError: sudo did not let you be root")
    assert not machine.metadata.asked
    assert not machine.done()


@needs_aws
def test_sudo_that_fails_later_is_not_taken_for_a_partition_that_has_all(machine, nobody):
    machine.command("sudo", "[[ $1 == true ]] || { echo sudo: timed out >&2; exit 1; }")
    done = machine("20", "--yes", before=nobody)
    assert done.returncode == 1
    assert done.stderr == "sudo: timed out\nError: growpart did not grow /dev/nvme0n1p1.\n"
    assert not machine.done()


@needs_aws
def test_a_partition_that_cannot_be_written_ends_it_and_one_that_has_all_does_not(machine):
    machine.command("growpart", "echo FAILED: no space; exit 2")
    done = machine("10", "--yes")
    assert done.returncode == 1
    assert "growpart did not grow /dev/nvme0n1p1" in done.stderr
    assert not machine.done()
    machine.command("growpart", "echo NOCHANGE: it cannot be grown; exit 1")
    assert machine("10", "--yes").returncode == 0
    assert machine.done() == ["resize2fs /dev/nvme0n1p1"]


# ------------------------------------------------------------------------------------------------- real disks


class Disk:
    """A disk of 1 GiB in a file, with a file system that is mounted."""

    def __init__(self, folder, kind, layout):
        self.image, self.mount = folder / "disk", folder / "mounted"
        self.mount.mkdir()
        self.resize(1)
        if layout:
            self.sh("sfdisk", "--quiet", self.image, input=layout)
        self.loop = self.sh("losetup", "--find", "--partscan", "--show", self.image).stdout.strip()
        self.source = f"{self.loop}p1" if layout else self.loop
        try:
            if not Path(self.source).exists():  # a small kernel reads no partition tables; partx does it for it
                self.sh("partx", "--add", self.loop)
            self.sh(f"mkfs.{kind}", "-q", self.source)
            self.sh("mount", self.source, self.mount)
        except BaseException:
            self.sh("losetup", "--detach", self.loop)
            raise

    def resize(self, gib):
        """Make it so large."""
        self.sh("truncate", f"--size={gib}G", self.image)

    @staticmethod
    def sh(*command, **options):
        """Run a command that has to succeed."""
        options = {"capture_output": True, "text": True, "timeout": 120, **options}
        return subprocess.run(list(map(str, command)), check=True, **options)

    @property
    def gib(self):
        """The size of the file system, as those who write into it find it."""
        found = os.statvfs(self.mount)
        return found.f_blocks * found.f_frsize / GIB

    def partitions(self):
        """What stands in its partition table."""
        return self.sh("sfdisk", "--dump", self.loop).stdout

    def close(self):
        """Take it away."""
        self.sh("umount", self.mount)
        self.sh("losetup", "--detach", self.loop)


def has_sys_resource():
    """Whether this process may use more than its share, as growing a mounted ext4 does."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return bool(int(re.search(r"CapEff:\s*(\w+)", status)[1], 16) & 1 << 24)


ONE, TWO = "label: gpt\n,1000M\n", "label: gpt\n,500M\n,400M\n"
MBR = "label: dos\n,1000M\n"


@pytest.fixture(name="real")
def _real(tmp_path, moto):
    """Start a machine whose volume of 1 GiB is a real disk, and grows when AWS is told so."""
    with contextlib.ExitStack() as stack:

        def start(kind, layout, grows=True):
            tools = ["losetup", "sfdisk", "growpart", f"mkfs.{kind}", "resize2fs" if kind == "ext4" else "xfs_growfs"]
            missing = [tool for tool in tools if not shutil.which(tool)]
            if os.geteuid() or missing:
                pytest.skip(f"a disk in a file needs {', '.join(missing) or 'root'}")
            if grows and kind == "ext4" and not has_sys_resource():
                pytest.skip("Linux grows a mounted ext4 only for who has CAP_SYS_RESOURCE")
            try:
                disk = Disk(tmp_path, kind, layout)
            except subprocess.CalledProcessError as error:
                pytest.skip(f"this machine has no disks in files: {error.stderr.strip()}")
            stack.callback(disk.close)
            machine = stack.enter_context(started(tmp_path, moto, gib=1))
            lsblk, aws = shutil.which("lsblk"), shutil.which("aws")
            # A disk in a file has no serial number; and without partitions, it is of a type of its own.
            told = f'case "$2" in SERIAL) echo {machine.serial} ;; TYPE) {lsblk} "$@" | sed s/loop/disk/ ;;'
            machine.command("lsblk", f'{told} *) {lsblk} "$@" ;; esac')
            grown = f"truncate --size=2G {disk.image}; losetup --set-capacity {disk.loop}"
            machine.command("aws", f'{aws} "$@" || exit\n[[ $2 != modify-volume ]] || {{ {grown}; }}')
            return machine, disk

        yield start


@needs_aws
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
@pytest.mark.parametrize("layout", [ONE, MBR, ""], ids=["gpt", "mbr", "no-partition"])
def test_a_real_disk_grows_while_it_is_in_use_and_keeps_what_it_holds(real, kind, layout):
    machine, disk = real(kind, layout)
    held = os.urandom(1 << 20)
    (disk.mount / "held").write_bytes(held)
    before = disk.gib
    assert before < 1
    with (disk.mount / "open").open("w") as file:
        done = machine("2", "--mount", disk.mount)
        assert (done.returncode, done.stderr) == (0, "")
        assert (disk.gib, machine.gib) == (before, 1)
        done = machine("2", "--mount", disk.mount, "--yes")
        assert done.returncode == 0, done.stderr
        file.write("still written to")
    assert machine.gib == 2
    assert 1.85 < disk.gib <= 2
    assert (disk.mount / "held").read_bytes() == held
    done = machine("2", "--mount", disk.mount, "--yes")
    assert done.returncode == 0, done.stderr
    assert "Nothing was left to be grown." in done.stdout


@needs_aws
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_a_real_partition_grows_into_a_volume_that_is_larger_already(real, kind):
    machine, disk = real(kind, ONE)
    machine.ec2.modify_volume(VolumeId=machine.volume, Size=2)
    disk.resize(2)
    disk.sh("losetup", "--set-capacity", disk.loop)
    done = machine("2", "--mount", disk.mount, "--yes")
    assert done.returncode == 0, done.stderr
    assert "modify-volume" not in done.stdout
    assert 1.85 < disk.gib <= 2


@needs_aws
def test_a_real_partition_with_another_behind_it_is_refused_before_anything_is_paid(real):
    machine, disk = real("ext4", TWO, grows=False)
    table = disk.partitions()
    done = machine("2", "--mount", disk.mount, "--yes")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{disk.source} cannot grow: behind it on {disk.loop} is another partition, " in done.stderr
    assert f"{disk.loop.rpartition('/')[2]}p2." in done.stderr
    assert (machine.gib, disk.partitions()) == (1, table)
