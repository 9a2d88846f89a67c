"""What the lab's Slurm is told: four GPU nodes of 8, one of another model, one without GPUs; all of it on loopback."""

from dataclasses import dataclass
from pathlib import Path

CLUSTER = "lab"
GPU, OTHER_GPU = "h800", "l40"
GPU_NODES = ("hgx01", "hgx02", "hgx03", "hgx04")
OTHER_NODES = ("viz01",)
CPU_NODES = ("cpu01",)
NODES = (*GPU_NODES, *OTHER_NODES, *CPU_NODES)
GPUS_PER_NODE, OTHER_GPUS_PER_NODE = 8, 4


@dataclass(frozen=True)
class Places:
    """Folders of one lab, and the ports that were free when it began."""

    folder: Path
    database_port: int
    dbd_port: int
    controller_port: int
    node_ports: dict[str, int]
    host: str
    plugins: Path | None

    @property
    def etc(self) -> Path:
        return self.folder / "etc"

    @property
    def logs(self) -> Path:
        return self.folder / "log"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def munge_socket(self) -> Path:
        return self.folder / "run" / "munge.socket"

    def gpu_devices(self, count: int) -> list[Path]:
        return [self.folder / "gpus" / f"gpu{number}" for number in range(count)]

    @property
    def authentication(self) -> str:
        # A requeued job waits until its old credential has expired: two minutes, unless told
        return f"AuthType=auth/munge\nAuthInfo=socket={self.munge_socket},cred_expire=8\n"

    @property
    def plugin_line(self) -> str:
        return f"PluginDir={self.plugins}\n" if self.plugins else ""


def slurm_conf(places: Places) -> str:
    node = f"NodeHostname={places.host} NodeAddr=127.0.0.1 CPUs=32 RealMemory=64000 State=UNKNOWN"
    gpus = {
        **dict.fromkeys(GPU_NODES, f" Gres=gpu:{GPU}:{GPUS_PER_NODE}"),
        **dict.fromkeys(OTHER_NODES, f" Gres=gpu:{OTHER_GPU}:{OTHER_GPUS_PER_NODE}"),
    }
    nodes = "\n".join(f"NodeName={name} Port={places.node_ports[name]} {node}{gpus.get(name, '')}" for name in NODES)
    partition = "MaxTime=1-00:00:00 DefaultTime=01:00:00 State=UP"
    return f"""ClusterName={CLUSTER}
SlurmctldHost={places.host}(127.0.0.1)
SlurmctldPort={places.controller_port}
SlurmUser=root
SlurmdUser=root
{places.authentication}{places.plugin_line}CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={places.state}/controller
SlurmdSpoolDir={places.state}/%n
SlurmctldPidFile={places.folder}/run/slurmctld.pid
SlurmdPidFile={places.folder}/run/%n.pid
SlurmctldLogFile={places.logs}/slurmctld.log
SlurmdLogFile={places.logs}/%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
KillWait=2
MinJobAge=600
SchedulerParameters=bf_interval=2,sched_interval=3,batch_sched_delay=0,bf_continue
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
PriorityType=priority/basic
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={places.dbd_port}
AccountingStoragePass={places.munge_socket}
AccountingStorageTRES=gres/gpu,gres/gpu:{GPU},gres/gpu:{OTHER_GPU}
AccountingStorageEnforce=associations
JobAcctGatherType=jobacct_gather/none
GresTypes=gpu
{nodes}
PartitionName=batch Nodes={",".join(GPU_NODES)} Default=YES {partition}
PartitionName=viz Nodes={",".join(OTHER_NODES)} {partition}
PartitionName=urgent Nodes={",".join(OTHER_NODES)} PriorityTier=9 {partition}
PartitionName=cpu Nodes={",".join(CPU_NODES)} {partition}
"""


def slurmdbd_conf(places: Places, *, password: str) -> str:
    return f"""DbdHost={places.host}
DbdAddr=127.0.0.1
DbdPort={places.dbd_port}
SlurmUser=root
{places.authentication}{places.plugin_line}CommunicationParameters=NoInAddrAny
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={places.database_port}
StorageUser=slurm
StoragePass={password}
StorageLoc=slurm_acct_db
LogFile={places.logs}/slurmdbd.log
PidFile={places.folder}/run/slurmdbd.pid
"""


def gres_conf(places: Places) -> str:
    """Slurm counts only GPUs that are device nodes: twins of /dev/null stand in for them."""
    lines = ["AutoDetect=off"]
    for names, model, count in ((GPU_NODES, GPU, GPUS_PER_NODE), (OTHER_NODES, OTHER_GPU, OTHER_GPUS_PER_NODE)):
        files = ",".join(map(str, places.gpu_devices(count)))
        lines.append(f"NodeName={','.join(names)} Name=gpu Type={model} File={files}")
    return "\n".join(lines) + "\n"
