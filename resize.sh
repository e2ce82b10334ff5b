#!/usr/bin/env bash
# Grow the disk of this EC2 machine. ./resize.sh 50 shows what it would do; ./resize.sh 50 --yes does it.
set -euo pipefail

usage() {
  cat <<'END'
Usage: ./resize.sh SIZE [--mount PATH] [--yes]

Grow the disk of this EC2 machine (a Cloud9 environment is one) to SIZE GiB: its EBS volume, the partition on it,
the file system in that. All stay in use meanwhile. Without --yes nothing is changed: each command is shown, and why.

  SIZE          whole GiB, from what the volume has now (then only what is on it grows) to 16384
  --mount PATH  grow the disk of the file system that is mounted there; / unless given
  --yes         do it
  --help        show this

A volume cannot be made smaller again, costs by its size, and takes no other change for some hours. Take a snapshot
before, if what it holds matters. AWS must allow ec2:DescribeVolumes, ec2:ModifyVolume and
ec2:DescribeVolumesModifications.

Variables:
  RESIZE_WAIT=600                    how many seconds to wait for the volume
  AWS_EC2_METADATA_SERVICE_ENDPOINT  what tells which machine this is; http://169.254.169.254 unless set
END
}

wrong_usage() {
  printf "Error: %s\nTry './resize.sh --help'.\n" "$*" >&2
  exit 2
}

fail() {
  printf 'Error: %s\n' "$*" >&2
  exit 1
}

need() {  # COMMAND PACKAGE
  command -v "$1" >/dev/null || fail "$1 is not installed. It comes with the package $2."
}

size='' mount=/ yes=''
while (($#)); do
  case $1 in
    --help | -h) usage; exit ;;
    --yes) yes=yes ;;
    --mount)
      [[ -n ${2-} ]] || wrong_usage "--mount: got nothing, expected where the file system is mounted"
      mount=$2
      shift
      ;;
    -*) wrong_usage "$1 is no option of this" ;;
    *)
      [[ -z $size ]] || wrong_usage "SIZE: got $size and $1, expected one number"
      size=$1
      ;;
  esac
  shift
done
[[ -n $size ]] || wrong_usage "SIZE: got nothing, expected whole GiB, such as 50"
if ! [[ $size =~ ^[1-9][0-9]{0,4}$ ]] || ((size > 16384)); then
  wrong_usage "SIZE: got $size, expected whole GiB from 1 to 16384, such as 50"
fi
limit=${RESIZE_WAIT:-600}
[[ $limit =~ ^(0|[1-9][0-9]{0,5})$ ]] || wrong_usage "RESIZE_WAIT: got $limit, expected whole seconds, such as 600"

# What is mounted there: a file system, in a partition or not, on a disk.
need findmnt util-linux
need lsblk util-linux
about() { lsblk -dnro "$1" "$2" 2>/dev/null || true; }
found=$(findmnt -nro SOURCE,FSTYPE --mountpoint "$mount" | tail -n 1) || true
[[ -n $found ]] || fail "--mount: got $mount, expected where a file system is mounted, such as /"
read -r source kind <<<"$found"
case $kind in
  ext[234]) need resize2fs e2fsprogs ;;
  xfs) need xfs_growfs xfsprogs ;;
  *) fail "$mount is $kind on $source. This grows ext4 and xfs only; in a container, run it on the machine instead." ;;
esac
[[ $source != *\[* ]] ||
  fail "$mount is a bind mount, of a folder of ${source%%\[*}. Give --mount the path where all of that is mounted."
source=$(readlink -m -- "$source")
type=$(about TYPE "$source")
case $type in
  disk) disk=$source number='' table='' ;;
  part)
    disk=/dev/$(about PKNAME "$source")
    number=${source#"$disk"}  # 1 of xvda1, p1 of nvme0n1p1
    number=${number#p}
    table=$(about PTTYPE "$disk")
    if [[ $table == dos ]] && ((number > 4)); then
      fail "$source cannot grow: it is a logical partition, and growpart does not grow the extended one around it."
    fi
    start=$(cat "/sys/class/block/${source##*/}/start" 2>/dev/null || echo 0)
    for other in "/sys/class/block/${disk##*/}"/*/start; do
      [[ ! -e $other ]] || (($(cat "$other") <= start)) ||
        fail "$source cannot grow: behind it on $disk is another partition, ${other%/start}."
    done
    need growpart "cloud-guest-utils (Debian, Ubuntu) or cloud-utils-growpart (Amazon Linux)"
    ;;
  *)
    fail "$mount is on $source, of type ${type:-unknown}. This grows a disk or a partition;" \
      "LVM and RAID have tools of their own."
    ;;
esac
sudo=''
if ((EUID)); then
  need sudo sudo
  sudo=yes
  # Asked before anything is paid for. sudo -v would want a password from more users than sudo itself does.
  [[ -z $yes ]] || sudo true ||
    fail "sudo did not let you be root, as growing what is on a disk needs; why is told above. Nothing was changed."
fi

# Which machine this is. The link-local address must never be asked through a proxy, which would answer for itself.
need curl curl
need aws "awscli, or see https://docs.aws.amazon.com/cli/"
endpoint=${AWS_EC2_METADATA_SERVICE_ENDPOINT:-http://169.254.169.254}
endpoint=${endpoint%/}
export no_proxy="${no_proxy:-${NO_PROXY:-}},169.254.169.254" AWS_PAGER=''
export NO_PROXY=$no_proxy
ask() { curl --noproxy '*' --silent --fail --connect-timeout 2 --max-time 5 "$@"; }
token=$(ask --request PUT --header "X-aws-ec2-metadata-token-ttl-seconds: 300" "$endpoint/latest/api/token") ||
  fail "This is no EC2 machine, or its metadata service is off: $endpoint gave no token (IMDSv2)."
metadata() { ask --header "X-aws-ec2-metadata-token: $token" "$endpoint/latest/meta-data/$1" || true; }
instance=$(metadata instance-id)
region=$(metadata placement/region)
if ! [[ $instance =~ ^i-[0-9a-f]+$ && $region =~ ^[a-z0-9-]+$ ]]; then
  fail "This is no EC2 machine: $endpoint told the instance \"$instance\" and the region \"$region\"."
fi

# Which of its volumes the disk is: an NVMe disk has the volume as its serial number, an older one the name, nearly.
refused() {
  fail "AWS did not do \"aws ec2 $1\"; what it said is above. It needs credentials that allow" \
    "ec2:DescribeVolumes, ec2:ModifyVolume and ec2:DescribeVolumesModifications."
}
to=(--region "$region" --output text)
volumes=$(aws ec2 describe-volumes --filters "Name=attachment.instance-id,Values=$instance" \
  --query "Volumes[].[VolumeId,Size,Attachments[0].Device]" "${to[@]}") || refused describe-volumes
serial=$(about SERIAL "$disk")
volume=''
while read -r id has device; do
  device=/dev/xvd${device#/dev/*d}  # /dev/sda1 is what AWS calls the /dev/xvda of the machine
  if [[ ${id/-/} == "$serial" || ${device%%[0-9]*} == "$disk" ]]; then
    volume=$id now=$has
  fi
done <<<"$volumes"
[[ -n $volume ]] || fail "$disk is none of the volumes of $instance: ${volumes//$'\n'/; }."
((size >= now)) ||
  fail "SIZE: got $size, expected at least the $now GiB that $volume has. A volume cannot be made smaller."
if [[ $table == dos ]] && ((size > 2048)); then
  fail "SIZE: got $size, expected at most 2048: the partition table of $disk is MBR, which ends at 2 TiB."
fi

show() {  # WHY COMMAND...
  printf '\n# %s\n' "$1"
  printf '%q ' "${@:2}" | sed 's/ $/\n/'
}

step() {  # WHY COMMAND...: show it, and with --yes do it
  show "$@"
  [[ -z $yes ]] || "${@:2}"
}

wait_until() {  # WHAT IT IS CALLED, HOW TO TELL, WHY, COMMAND...: with --yes ask the command until it is so
  local state end=$((SECONDS + limit))
  show "${@:3}"
  [[ -n $yes ]] || return 0
  while state=$("${@:4}") || fail "$1 could not be asked for; why is told above."; ! "$2" "$state"; do
    ((SECONDS < end)) || fail "$1 is still $state after $limit seconds. Run this again later."
    sleep 1
  done
}

is_modified() {
  [[ $1 != failed ]] || fail "AWS could not change $volume. Its console says why, under Volumes."
  [[ $1 == optimizing || $1 == completed ]]
}
is_seen() { ((${1:-0} >= size << 30)); }
has_bytes() { df --block-size=1 --output=size "$mount" | tail -n 1; }

printf '%s is %s on %s, in volume %s of %s in %s, of %s GiB.\n' \
  "$mount" "$kind" "$source" "$volume" "$instance" "$region" "$now"
[[ -n $yes ]] || echo "This shows what would be done. To do it, add --yes."
before=$(has_bytes)
if ((size > now)); then
  step "Make the volume larger. That is paid for from then on, and cannot be taken back." \
    aws ec2 modify-volume --volume-id "$volume" --size "$size" "${to[@]}" || refused modify-volume
  wait_until "$volume" is_modified "Wait until AWS says optimizing or completed: from then on all of it is there." \
    aws ec2 describe-volumes-modifications --volume-ids "$volume" \
    --query "VolumesModifications[0].ModificationState" "${to[@]}"
fi
wait_until "The size of $disk in bytes" is_seen "Wait until Linux sees all $size GiB." lsblk -bdnro SIZE "$disk"
if [[ -n $number ]]; then
  # The disk may be full: the temporary files go to memory.
  failed=''
  said=$(step "Let the partition take what is free behind it." \
    ${sudo:+sudo} env TMPDIR=/dev/shm growpart "$disk" "$number") || failed=yes
  printf '%s\n' "$said"
  # growpart also fails when the partition has all already. It says NOCHANGE then; sudo fails without that word.
  [[ -z $failed || $said == *NOCHANGE:* ]] || fail "growpart did not grow $source."
fi
case $kind in
  ext*) grow=(resize2fs "$source") ;;
  xfs) grow=(xfs_growfs -d "$mount") ;;
esac
step "Let the file system fill it, while it is in use." ${sudo:+sudo} "${grow[@]}" ||
  fail "${grow[0]} did not grow $mount."

[[ -n $yes ]] || exit 0
after=$(has_bytes)
printf '\n'
if ((after <= before)); then
  ((size == now)) || fail "$volume has $size GiB now, but $mount did not get larger."
  echo "Nothing was left to be grown."
fi
df --human-readable "$mount"
