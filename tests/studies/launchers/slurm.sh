#!/usr/bin/env bash
# A Slurm of one node on this machine, for tests: munged, slurmctld and slurmd (Debian: apt-get install slurm-wlm munge).
#   tests/studies/launchers/slurm.sh start FOLDER     then: export SLURM_CONF=FOLDER/slurm.conf; sinfo; python -m warmexp -m … hydra/launcher=slurm
#   tests/studies/launchers/slurm.sh stop FOLDER
# Nothing outside FOLDER is touched, and no root is needed. FOLDER's path must be short (a socket lies in it) and free of spaces.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
export SLURM_CONF=$2/slurm.conf
folder=$2
host=$(hostname -s)

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

start() {
  mkdir -p "$folder/munge" "$folder/state" "$folder/spool"
  chmod 711 "$folder"
  chmod 700 "$folder/munge"
  (umask 077; head -c 128 /dev/urandom > "$folder/munge/key")
  cat > "$SLURM_CONF" <<CONF
ClusterName=here
SlurmctldHost=$host(127.0.0.1)
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthInfo=socket=$folder/munge/socket
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
KillWait=2
SchedulerParameters=sched_interval=2
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
  munged --force --key-file="$folder/munge/key" --socket="$folder/munge/socket" --pid-file="$folder/munge/pid" \
    --log-file="$folder/munge/log" --seed-file="$folder/munge/seed"
  slurmctld
  slurmd
  for _ in $(seq 60); do
    if sinfo --noheader --states=idle 2>/dev/null | grep -q idle; then return; fi
    sleep 0.5
  done
  echo "Slurm did not come up; see $folder/*.log" >&2
  exit 1
}

stop() {
  scancel --me 2>/dev/null || true
  for file in "$folder/slurmd.pid" "$folder/slurmctld.pid" "$folder/munge/pid"; do
    if [ -f "$file" ]; then kill "$(cat "$file")" 2>/dev/null || true; fi
  done
}

"$1"
