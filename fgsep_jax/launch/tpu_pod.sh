#!/usr/bin/env bash
# Trains on a Cloud TPU slice: the same command on every host of it, one shared folder.
#
#   export TPU_NAME=fgsep ZONE=us-west4-a ACCELERATOR_TYPE=v5litepod-16 NFS=10.0.0.2:/share
#   tpu_pod.sh create          the slice
#   tpu_pod.sh install         mounts $NFS at /mnt/fgsep, copies this checkout there, installs it
#   tpu_pod.sh run --config=configs/convtasnet.py:wsj0_2mix --config.data.dir=gs://BUCKET/wsj0_2mix
#   tpu_pod.sh ssh COMMAND     anything else, on every host
#   tpu_pod.sh delete          the slice; what is in $NFS stays
#
# Needs gcloud with a project set. Run folders must be on a file system that all hosts see (a
# Filestore share, https://cloud.google.com/tpu/docs/storage-options); data may be in gs:// too.
set -euo pipefail

case ${1:-} in
  create | install | run | ssh | delete) ;;
  *) sed -n '2,13s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
: "${TPU_NAME:?name of the slice}" "${ZONE:?a zone with such TPUs}"
ACCELERATOR_TYPE=${ACCELERATOR_TYPE:-v5litepod-16}
# https://cloud.google.com/tpu/docs/runtimes
case $ACCELERATOR_TYPE in
  v6e-*) default=v2-alpha-tpuv6e ;;
  v5p-*) default=v2-alpha-tpuv5 ;;
  v5litepod-*) default=v2-alpha-tpuv5-lite ;;
  *) default=tpu-ubuntu2204-base ;;
esac
RUNTIME_VERSION=${RUNTIME_VERSION:-$default}
SHARED=/mnt/fgsep
CODE=$SHARED/code

on_hosts() {  # on_hosts all|0 COMMAND
  gcloud compute tpus tpu-vm ssh "$TPU_NAME" --zone="$ZONE" --worker="$1" --command="$2"
}

command=$1
shift
case $command in
  create)
    gcloud compute tpus tpu-vm create "$TPU_NAME" --zone="$ZONE" \
      --accelerator-type="$ACCELERATOR_TYPE" --version="$RUNTIME_VERSION" ;;
  install)
    : "${NFS:?host:/share that all hosts of the slice can mount}"
    on_hosts all "sudo apt-get install -y -q nfs-common && sudo mkdir -p $SHARED &&
      { mountpoint -q $SHARED || sudo mount -t nfs $NFS $SHARED; } && sudo chmod a+rwx $SHARED"
    archive=$(mktemp)
    trap 'rm -f "$archive"' EXIT
    git -C "$(dirname "$0")" archive --output="$archive" "HEAD:$(
      cd "$(dirname "$0")/../.." && git rev-parse --show-prefix)"
    gcloud compute tpus tpu-vm scp "$archive" "$TPU_NAME:/tmp/fgsep.tar" --zone="$ZONE" --worker=0
    on_hosts 0 "mkdir -p $CODE && tar -x -f /tmp/fgsep.tar -C $CODE"
    # The hosts' own Python may be older than 3.11; each gets its environment on its own disk.
    on_hosts all "python3 -m pip install -q --user uv && cp -r $CODE ~/fgsep && cd ~/fgsep &&
      python3 -m uv venv -q --python 3.11 ~/venv &&
      python3 -m uv pip install -q --python ~/venv/bin/python -e '.[tpu]'" ;;
  run)
    # printf: an argument with blanks or quotes arrives as it was given. One folder for the runs.
    on_hosts all "mkdir -p $SHARED/runs && cd ~/fgsep && ln -sfn $SHARED/runs runs &&
      ~/venv/bin/python -m fgsep_jax.main --multihost $(printf '%q ' "$@")" ;;
  ssh) on_hosts all "$*" ;;
  delete) gcloud compute tpus tpu-vm delete "$TPU_NAME" --zone="$ZONE" ;;
esac
