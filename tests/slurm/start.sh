#!/usr/bin/env bash
# A Slurm of one node on this machine for the tests, with two GPUs that do not exist. Needs Debian and root.
#   start.sh up FOLDER     install Debian's packages if they are missing, start the daemons; their state goes to FOLDER
#   start.sh down FOLDER   stop what `up` started, and remove the configuration it wrote
# Slurm's jobs drop every SLURM_* variable before they call srun, SLURM_CONF too: the configuration must be in /etc/slurm.
set -euo pipefail
unset SLURM_CONF

usage="usage: start.sh up|down FOLDER"
action=${1:?$usage}
folder=${2:?$usage}
config=/etc/slurm
mark="# written by tests/slurm/start.sh"

fail() {
    echo "error: $1" >&2
    exit 1
}

# Ours, so that a cluster's own configuration is never replaced or removed.
is_ours() { [ "$(head -n 1 "$1")" = "$mark" ]; }

install_packages() {
    command -v slurmctld slurmd sbatch munge > /dev/null && return
    command -v apt-get > /dev/null || fail "slurmctld, slurmd, sbatch or munge is missing, and so is apt-get to install them"
    apt-get update -qq > /dev/null
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        slurmctld slurmd slurm-client munge > /dev/null
}

# munged refuses folders of other owners, and keys that others may read.
start_munge() {
    munge -n > /dev/null 2>&1 && return
    mkdir -p /run/munge /var/log/munge /var/lib/munge /etc/munge
    [ -s /etc/munge/munge.key ] || dd if=/dev/urandom bs=1 count=1024 of=/etc/munge/munge.key status=none
    chown munge: /etc/munge /etc/munge/munge.key /run/munge /var/log/munge /var/lib/munge
    chmod 0700 /etc/munge /var/log/munge /var/lib/munge
    chmod 0755 /run/munge
    chmod 0400 /etc/munge/munge.key
    runuser -u munge -- munged
    touch "$folder/munge_is_ours"
}

# GPUs are known by character devices whose names end in a number; null devices will do.
make_gpus() {
    for i in 0 1; do
        [ -c "$folder/gpu/nvidia$i" ] || mknod "$folder/gpu/nvidia$i" c 1 3
    done
}

# config_overrides: the node is said to have what the profile asks for, whatever the machine has.
write_config() {
    local host
    host=$(hostname -s)
    cat > "$config/slurm.conf" << END
$mark
ClusterName=tests
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,batch_sched_delay=0,sched_min_interval=100000,bf_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MinJobAge=7200
KillWait=5
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 CPUs=8 RealMemory=1000000 Gres=gpu:none:2 State=UNKNOWN
PartitionName=cpu Nodes=$host Default=YES MaxTime=7-00:00:00 State=UP
PartitionName=gpu Nodes=$host MaxTime=7-00:00:00 State=UP
END
    cat > "$config/gres.conf" << END
$mark
Name=gpu Type=none Flags=nvidia_gpu_env File=$folder/gpu/nvidia[0-1]
END
}

is_idle() { timeout 5 sinfo --noheader --format %T 2> /dev/null | grep -q idle; }

up() {
    [ "$(id -u)" = 0 ] || fail "Slurm's daemons are started by root; you are $(id -un)"
    mkdir -p "$config" "$folder"/{state,spool,gpu}
    for file in "$config"/slurm.conf "$config"/gres.conf; do
        [ ! -e "$file" ] || is_ours "$file" || fail "$file is there: this machine has a Slurm of its own"
    done
    install_packages
    start_munge
    make_gpus
    write_config
    slurmctld -c
    slurmd
    for _ in $(seq 60); do
        is_idle && return
        sleep 0.5
    done
    tail -n 20 "$folder"/*.log >&2
    down
    fail "Slurm did not come up"
}

stop() {
    local id
    [ -f "$1" ] || return 0
    id=$(cat "$1")
    kill "$id" 2> /dev/null || return 0
    for _ in $(seq 100); do
        kill -0 "$id" 2> /dev/null || return 0
        sleep 0.2
    done
    fail "process $id of $1 does not end"
}

down() {
    if [ -f "$folder/slurmctld.pid" ]; then
        timeout 20 scancel --user=root || true
    fi
    stop "$folder/slurmd.pid"
    stop "$folder/slurmctld.pid"
    if [ -f "$folder/munge_is_ours" ]; then
        stop /run/munge/munged.pid
        rm "$folder/munge_is_ours"
    fi
    for file in "$config"/slurm.conf "$config"/gres.conf; do
        if [ -e "$file" ] && is_ours "$file"; then
            rm "$file"
        fi
    done
}

case $action in
    up) up ;;
    down) down ;;
    *) fail "$usage" ;;
esac
