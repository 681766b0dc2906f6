//! `info` and `version`.

use crate::{
    flags::GoDuration,
    format::{bytes_size, human_duration},
    model::{Cluster, Info, SwarmInfo, Version},
};

/// The server's basics and its swarm, in docker's order and words.
pub fn info(info: &Info) -> String {
    let mut out = String::from("Server:\n");
    let mut line = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    line(format!(" Containers: {}", info.containers));
    line(format!("  Running: {}", info.containers_running));
    line(format!("  Paused: {}", info.containers_paused));
    line(format!("  Stopped: {}", info.containers_stopped));
    line(format!(" Images: {}", info.images));
    let version = if info.server_version.is_empty() {
        "unknown"
    } else {
        &info.server_version
    };
    line(format!(" Server Version: {version}"));
    line(format!(" Storage Driver: {}", info.driver));
    for pair in &info.driver_status {
        line(format!("  {}", pair.join(": ")));
    }
    line(format!(" Logging Driver: {}", info.logging_driver));
    line(format!(" Cgroup Driver: {}", info.cgroup_driver));
    line(format!(" Cgroup Version: {}", info.cgroup_version));
    line(" Plugins:".to_owned());
    line(format!("  Volume: {}", info.plugins.volume.join(" ")));
    line(format!("  Network: {}", info.plugins.network.join(" ")));
    line(format!("  Log: {}", info.plugins.log.join(" ")));
    swarm(&info.swarm).into_iter().for_each(&mut line);
    line(format!(" Kernel Version: {}", info.kernel_version));
    line(format!(" Operating System: {}", info.operating_system));
    line(format!(" OSType: {}", info.os_type));
    line(format!(" Architecture: {}", info.architecture));
    line(format!(" CPUs: {}", info.ncpu));
    line(format!(" Total Memory: {}", bytes_size(info.mem_total)));
    line(format!(" Name: {}", info.name));
    line(format!(" ID: {}", info.id));
    line(format!(" Docker Root Dir: {}", info.docker_root_dir));
    if !info.labels.is_empty() {
        line(" Labels:".to_owned());
        info.labels
            .iter()
            .for_each(|label| line(format!("  {label}")));
    }
    out
}

fn swarm(swarm: &SwarmInfo) -> Vec<String> {
    let mut lines = vec![format!(" Swarm: {}", swarm.local_node_state)];
    if matches!(swarm.local_node_state.as_str(), "inactive" | "locked" | "") {
        return lines;
    }
    lines.push(format!("  NodeID: {}", swarm.node_id));
    if !swarm.error.is_empty() {
        lines.push(format!("  Error: {}", swarm.error));
    }
    lines.push(format!("  Is Manager: {}", swarm.control_available));
    match &swarm.cluster {
        Some(cluster)
            if swarm.control_available
                && swarm.error.is_empty()
                && swarm.local_node_state != "error" =>
        {
            lines.extend(self::cluster(swarm, cluster));
        }
        _ => {}
    }
    lines.push(format!("  Node Address: {}", swarm.node_addr));
    if !swarm.remote_managers.is_empty() {
        let mut addresses: Vec<&str> = swarm
            .remote_managers
            .iter()
            .map(|peer| peer.addr.as_str())
            .collect();
        addresses.sort_unstable();
        lines.push("  Manager Addresses:".to_owned());
        lines.extend(addresses.into_iter().map(|address| format!("   {address}")));
    }
    lines
}

fn cluster(swarm: &SwarmInfo, cluster: &Cluster) -> Vec<String> {
    let spec = &cluster.spec;
    let seconds = |nanos: i64| human_duration(nanos / 1_000_000_000);
    let mut lines = vec![
        format!("  ClusterID: {}", cluster.id),
        format!("  Managers: {}", swarm.managers),
        format!("  Nodes: {}", swarm.nodes),
        format!(
            "  Default Address Pool: {}  ",
            cluster.default_addr_pool.join("  ")
        ),
        format!("  SubnetSize: {}", cluster.subnet_size),
        format!("  Data Path Port: {}", cluster.data_path_port),
        "  Orchestration:".to_owned(),
    ];
    let history = spec.orchestration.task_history_retention_limit.unwrap_or(0);
    lines.push(format!("   Task History Retention Limit: {history}"));
    lines.push("  Raft:".to_owned());
    lines.push(format!(
        "   Snapshot Interval: {}",
        spec.raft.snapshot_interval
    ));
    if let Some(kept) = spec.raft.keep_old_snapshots {
        lines.push(format!("   Number of Old Snapshots to Retain: {kept}"));
    }
    lines.extend([
        format!("   Heartbeat Tick: {}", spec.raft.heartbeat_tick),
        format!("   Election Tick: {}", spec.raft.election_tick),
        "  Dispatcher:".to_owned(),
        format!(
            "   Heartbeat Period: {}",
            seconds(spec.dispatcher.heartbeat_period)
        ),
        "  CA Configuration:".to_owned(),
        format!(
            "   Expiry Duration: {}",
            seconds(spec.ca_config.node_cert_expiry)
        ),
        format!("   Force Rotate: {}", spec.ca_config.force_rotate),
        format!(
            "  Autolock Managers: {}",
            spec.encryption_config.auto_lock_managers
        ),
        format!(
            "  Root Rotation In Progress: {}",
            cluster.root_rotation_in_progress
        ),
    ]);
    lines
}

/// The client's part of `version`.
pub fn client_version(version: &str) -> String {
    format!("Client: orchctl\n Version:           {version}\n API version:       1.51\n")
}

/// The daemon's part of `version`.
pub fn server_version(server: &Version) -> String {
    let Version {
        version,
        api_version,
        min_api_version,
        git_commit,
        os,
        arch,
        kernel_version,
    } = server;
    format!(
        "\nServer: orchd\n Version:           {version}\n API version:       {api_version} (minimum \
         version {min_api_version})\n Git commit:        {git_commit}\n OS/Arch:           \
         {os}/{arch}\n Kernel:            {kernel_version}\n"
    )
}

/// A duration of the API (nanoseconds) as Go prints it.
pub(super) fn go_duration(nanos: i64) -> String {
    GoDuration(nanos).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::decode;

    #[test]
    fn the_swarm_block() {
        let info: Info = decode(
            r#"{"Swarm": {"NodeID": "n", "NodeAddr": "10.0.0.1", "LocalNodeState": "active",
                "ControlAvailable": true, "Error": "", "Nodes": 3, "Managers": 1,
                "RemoteManagers": [{"NodeID": "n", "Addr": "10.0.0.1:2377"}],
                "Cluster": {"ID": "c", "DefaultAddrPool": ["10.0.0.0/8"], "SubnetSize": 24,
                  "DataPathPort": 4789, "RootRotationInProgress": false,
                  "Spec": {"Orchestration": {"TaskHistoryRetentionLimit": 5},
                    "Raft": {"SnapshotInterval": 10000, "KeepOldSnapshots": 0,
                             "HeartbeatTick": 1, "ElectionTick": 10},
                    "Dispatcher": {"HeartbeatPeriod": 5000000000},
                    "CAConfig": {"NodeCertExpiry": 7776000000000000},
                    "EncryptionConfig": {"AutoLockManagers": false}}}}}"#,
        )
        .unwrap();
        assert_eq!(
            swarm(&info.swarm).join("\n"),
            " Swarm: active\n  NodeID: n\n  Is Manager: true\n  ClusterID: c\n  Managers: 1\n  \
             Nodes: 3\n  Default Address Pool: 10.0.0.0/8  \n  SubnetSize: 24\n  Data Path Port: \
             4789\n  Orchestration:\n   Task History Retention Limit: 5\n  Raft:\n   Snapshot \
             Interval: 10000\n   Number of Old Snapshots to Retain: 0\n   Heartbeat Tick: 1\n   \
             Election Tick: 10\n  Dispatcher:\n   Heartbeat Period: 5 seconds\n  CA \
             Configuration:\n   Expiry Duration: 3 months\n   Force Rotate: 0\n  Autolock \
             Managers: false\n  Root Rotation In Progress: false\n  Node Address: 10.0.0.1\n  \
             Manager Addresses:\n   10.0.0.1:2377"
        );
        let inactive: Info = decode(r#"{"Swarm": {"LocalNodeState": "inactive"}}"#).unwrap();
        assert_eq!(swarm(&inactive.swarm), [" Swarm: inactive"]);
    }
}
