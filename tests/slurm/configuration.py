"""What the tests' Slurm is: its nodes, and the files that its daemons read."""

from __future__ import annotations

from pathlib import Path

NODES, CPUS, MEMORY_MB, GPUS, GPU_TYPE = ("node1", "node2"), 16, 32000, 4, "v100"
ACCOUNT = "toy"
# Slurm's own are 30 and 120 s: the wait before a kill, and before a requeued job may start again.
KILL_WAIT_S = CREDENTIALS_EXPIRE_S = 5


def slurm_conf(folder: Path, host: str, ports: dict[str, int]) -> str:
    nodes = "\n".join(
        f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[node]} CPUs={CPUS} RealMemory={MEMORY_MB} "
        f"Gres=gpu:{GPU_TYPE}:{GPUS} State=UNKNOWN"
        for node in NODES
    )
    partition = f"Nodes={','.join(NODES)} MaxTime=INFINITE DefaultTime=10 State=UP"
    return f"""ClusterName=toy
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports["ctld"]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/run/munge.socket,cred_expire={CREDENTIALS_EXPIRE_S}
StateSaveLocation={folder}/state/ctld
SlurmdSpoolDir={folder}/state/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd-%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd-%n.log
SlurmctldDebug=info
SlurmdDebug=info
# No cgroups and no binding: works in containers, and on machines smaller than pretended. linuxproc would lose tasks
# whose parent died: they outlive scancel and requeue.
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SlurmdParameters=config_overrides
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,bf_interval=5,sched_interval=5
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=200
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
KillWait={KILL_WAIT_S}
MinJobAge=300
SlurmctldTimeout=30
SlurmdTimeout=60
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={ports["dbd"]}
# With slurmdbd this is the munge socket for talking to it (AuthInfo is not used there).
AccountingStoragePass={folder}/run/munge.socket
AccountingStorageTRES=gres/gpu
# Without associations a wrong account is taken for a right one.
AccountingStorageEnforce=associations
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=5
GresTypes=gpu
{nodes}
PartitionName=gpu  {partition} Default=YES PriorityTier=1
PartitionName=low  {partition} Default=NO PriorityTier=1 PreemptMode=REQUEUE GraceTime=10
PartitionName=high {partition} Default=NO PriorityTier=10 PreemptMode=OFF
"""


def slurmdbd_conf(folder: Path, host: str, ports: dict[str, int], password: str) -> str:
    return f"""DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={ports["dbd"]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/run/munge.socket
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={ports["mariadb"]}
StorageUser=slurm
StoragePass={password}
StorageLoc=slurm_acct_db
LogFile={folder}/log/slurmdbd.log
PidFile={folder}/run/slurmdbd.pid
DebugLevel=info
"""
