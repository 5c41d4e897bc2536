"""The platform dashboard (平台): Kafka, disks, certificates, processes and workers."""

from __future__ import annotations

from ops.dashboards.panel import Dashboard, Panel, Rows
from ops.dashboards.query import ALARM, UP, largest, rates
from ops.dashboards.variable import WHO

ROWS: Rows = {
    "Kafka": (
        Panel(
            title="Brokers 节点数",
            description="Brokers that are there, as whoever watches a consumer group sees it; 0 while none answers.",
            unit="short",
            queries={"{{group}}": f"min by (group) (mesh_kafka_brokers{{{WHO}}})"},
            kind="stat",
            thresholds=((None, "red"), (1.0, "green")),
        ),
        Panel(
            title="Partitions unwell 异常分区",
            description="Partitions without a leader, and those with fewer replicas in sync than there are.",
            unit="short",
            queries={"{{state}}": largest("mesh_kafka_partitions", "state", ',state!="all"')},
            thresholds=ALARM,
        ),
        Panel(
            title="Partitions 分区数",
            description="All partitions of the mesh's Kafka.",
            unit="short",
            queries={"all": largest("mesh_kafka_partitions", "state", ',state="all"')},
        ),
    ),
    "Hosts 主机": (
        Panel(
            title="Disk left 磁盘剩余",
            description="Free part of the disk on which the mesh's directory lies; under 15 % somebody has to act.",
            unit="percentunit",
            maximum=1,
            queries={
                "{{host}}": f"min by (host) (mesh_disk_free_bytes{{{WHO}}} / mesh_disk_size_bytes{{{WHO}}})",
            },
            thresholds=((None, "red"), (0.15, "yellow"), (0.3, "green")),
        ),
        Panel(
            title="Free bytes 剩余空间",
            description="Free space on that disk.",
            unit="bytes",
            queries={"{{host}}": f"min by (host) (mesh_disk_free_bytes{{{WHO}}})"},
        ),
        Panel(
            title="Days left of certificates 证书剩余天数",
            description="Days until the certificate of the mesh's servers, and its own on Kafka, end, where there is one.",
            unit="d",
            queries={
                "{{host}} {{certificate}}": "(min by (host, certificate) "
                f"(mesh_certificate_ends_timestamp_seconds{{{WHO}}}) - time()) / 86400"
            },
            kind="bargauge",
            thresholds=((None, "red"), (30.0, "yellow"), (60.0, "green")),
        ),
    ),
    "Processes 进程": (
        Panel(
            title="Processes 进程状态",
            description="Whether each process answers Prometheus.",
            unit="none",
            queries={"{{instance}}": f"max by (instance) (up{{{WHO}}})"},
            kind="stat",
            mappings=UP,
            thresholds=((None, "red"), (1.0, "green")),
        ),
        Panel(
            title="Workers by hop 各环节进程数",
            description="How many processes of each hop run: workers of streams and flows share the partitions.",
            unit="short",
            queries={"{{hop}}": f"sum by (hop) (mesh_hop{{{WHO}}})"},
            kind="bargauge",
        ),
        Panel(
            title="Version 版本",
            description="How many processes run which version, on which Python.",
            unit="short",
            queries={"{{version}}, Python {{python}}": f"count by (version, python) (mesh_build_info{{{WHO}}})"},
            kind="stat",
        ),
        Panel(
            title="CPU by process 进程 CPU",
            description="Processor time of each process of the mesh; 100 % is one core.",
            unit="percentunit",
            queries={"{{instance}}": rates("process_cpu_seconds_total", "instance")},
        ),
        Panel(
            title="Memory by process 进程内存",
            description="Resident memory of each process.",
            unit="bytes",
            queries={"{{instance}}": largest("process_resident_memory_bytes", "instance")},
        ),
        Panel(
            title="Open files by process 打开文件数",
            description="File descriptors of each process as a part of what it may have.",
            unit="percentunit",
            queries={
                "{{instance}}": f"max by (instance) (process_open_fds{{{WHO}}} / process_max_fds{{{WHO}}})",
            },
            thresholds=((None, "green"), (0.7, "yellow"), (0.9, "red")),
        ),
        Panel(
            title="Hours up 运行时长",
            description="For how many hours each process has run; a drop is a restart.",
            unit="h",
            queries={"{{instance}}": f"(time() - max by (instance) (process_start_time_seconds{{{WHO}}})) / 3600"},
        ),
    ),
    "Workers 工作进程": (
        Panel(
            title="Tasks behind 任务积压",
            description="Messages in the inbox of each task of the flows that are not folded yet.",
            unit="short",
            queries={"task {{task}}": largest("mesh_flow_task_lag_records", "task")},
        ),
        Panel(
            title="Oldest message by task 任务滞后",
            description="Age of the oldest message of each task of the flows.",
            unit="s",
            queries={"task {{task}}": largest("mesh_flow_task_lag_seconds", "task")},
        ),
        Panel(
            title="Streams behind 治理积压",
            description="Records that streams have not taken yet, all feeds together.",
            unit="short",
            queries={"streams": f"sum(max by (feed) (mesh_stream_lag_records{{{WHO}}}))"},
        ),
    ),
}

DASHBOARD = Dashboard(
    name="platform",
    title="pearlmesh · platform 平台",
    description="Kafka, disks, certificates, processes and workers.",
    rows=ROWS,
    variables=(),
)
