//! The cluster: `Spec` of `/swarm` both ways, and the object as `/swarm` and `/info` show it.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use orch_core::objects::Labels;
use orch_core::objects::cluster::{Cluster, ClusterSpec, RootCa};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::scalar::{nanos, object};
use super::{ConvertError, lossless};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Spec {
    name: String,
    labels: Labels,
    orchestration: Orchestration,
    raft: Raft,
    dispatcher: Dispatcher,
    #[serde(rename = "CAConfig")]
    ca_config: CaConfig,
    task_defaults: TaskDefaults,
    encryption_config: EncryptionConfig,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Orchestration {
    task_history_retention_limit: Option<i64>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Raft {
    snapshot_interval: u64,
    keep_old_snapshots: Option<u64>,
    log_entries_for_slow_followers: u64,
    election_tick: u32,
    heartbeat_tick: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Dispatcher {
    heartbeat_period: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct CaConfig {
    node_cert_expiry: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct TaskDefaults {}

/// Only shown: managers cannot be locked yet.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct EncryptionConfig {
    auto_lock_managers: bool,
}

/// A spec as posted, laid over `base`: what is 0 or not given stays as it is, as in Docker.
/// Nothing in it is lost, or it is refused.
pub fn decode_over(base: &ClusterSpec, input: &Value) -> Result<ClusterSpec, ConvertError> {
    let wire: Spec = lossless::parse(input)?;
    let mut spec = base.clone();
    if !wire.name.is_empty() {
        spec.name = wire.name;
    }
    if input.get("Labels").is_some_and(Value::is_object) {
        spec.labels = wire.labels;
    }
    if let Some(limit) = wire.orchestration.task_history_retention_limit {
        spec.task_history_limit = limit;
    }
    if let Some(kept) = wire.raft.keep_old_snapshots {
        spec.raft.keep_old_snapshots = kept;
    }
    set_if_given(
        &mut spec.raft.snapshot_interval,
        wire.raft.snapshot_interval,
    );
    set_if_given(
        &mut spec.raft.log_entries_for_slow_followers,
        wire.raft.log_entries_for_slow_followers,
    );
    set_if_given(&mut spec.raft.election_tick, wire.raft.election_tick);
    set_if_given(&mut spec.raft.heartbeat_tick, wire.raft.heartbeat_tick);
    let period = Duration::from_nanos(wire.dispatcher.heartbeat_period);
    set_if_given(&mut spec.heartbeat_period, period);
    let expiry = Duration::from_nanos(wire.ca_config.node_cert_expiry);
    set_if_given(&mut spec.node_cert_expiry, expiry);
    lossless::ensure_kept(input, &encode(&spec))?;
    Ok(spec)
}

fn set_if_given<T: Default + PartialEq>(setting: &mut T, value: T) {
    if value != T::default() {
        *setting = value;
    }
}

fn encode(spec: &ClusterSpec) -> Spec {
    Spec {
        name: spec.name.clone(),
        labels: spec.labels.clone(),
        orchestration: Orchestration {
            task_history_retention_limit: Some(spec.task_history_limit),
        },
        raft: Raft {
            snapshot_interval: spec.raft.snapshot_interval,
            keep_old_snapshots: Some(spec.raft.keep_old_snapshots),
            log_entries_for_slow_followers: spec.raft.log_entries_for_slow_followers,
            election_tick: spec.raft.election_tick,
            heartbeat_tick: spec.raft.heartbeat_tick,
        },
        dispatcher: Dispatcher {
            heartbeat_period: nanos(spec.heartbeat_period),
        },
        ca_config: CaConfig {
            node_cert_expiry: nanos(spec.node_cert_expiry),
        },
        task_defaults: TaskDefaults {},
        encryption_config: EncryptionConfig {
            auto_lock_managers: false,
        },
    }
}

/// The cluster as `/info` shows it; `/swarm` adds the join tokens.
pub fn render(cluster: &Cluster) -> Value {
    let pools: Vec<_> = cluster
        .address_pools
        .iter()
        .map(ToString::to_string)
        .collect();
    let fields = json!({
        "Spec": encode(&cluster.spec),
        "TLSInfo": tls_info(&cluster.root_ca),
        "RootRotationInProgress": false,
        "DataPathPort": cluster.data_path_port,
        "DefaultAddrPool": pools,
        "SubnetSize": cluster.subnet_size,
    });
    object(cluster.id.as_str(), &cluster.meta, fields)
}

/// The cluster as `/swarm` shows it, tokens included.
pub fn render_with_tokens(cluster: &Cluster) -> Value {
    let mut out = render(cluster);
    out["JoinTokens"] = json!({
        "Worker": cluster.join_tokens.worker,
        "Manager": cluster.join_tokens.manager,
    });
    out
}

/// The trust root as Docker shows it: the certificate, and who issued it in base 64 of DER.
pub fn tls_info(root: &RootCa) -> Value {
    let mut info = json!({ "TrustRoot": root.certificate_pem });
    let parsed = x509_parser::pem::parse_x509_pem(root.certificate_pem.as_bytes());
    if let Ok((_, pem)) = parsed
        && let Ok(certificate) = pem.parse_x509()
    {
        info["CertIssuerSubject"] = json!(STANDARD.encode(certificate.subject().as_raw()));
        info["CertIssuerPublicKey"] = json!(STANDARD.encode(certificate.public_key().raw));
    }
    info
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `docker swarm init` posts as `Spec` when no flag is given.
    fn posted() -> Value {
        json!({"Labels": null, "Orchestration": {}, "Raft": {"ElectionTick": 0, "HeartbeatTick": 0},
               "Dispatcher": {}, "CAConfig": {}, "TaskDefaults": {},
               "EncryptionConfig": {"AutoLockManagers": false}})
    }

    #[test]
    fn init_without_flags_gives_dockers_defaults() {
        let spec = decode_over(&ClusterSpec::default(), &posted()).unwrap();
        assert_eq!(spec, ClusterSpec::default());
        let shown = json!(encode(&spec));
        assert_eq!(shown["Orchestration"]["TaskHistoryRetentionLimit"], 5);
        assert_eq!(shown["Raft"]["SnapshotInterval"], 10_000);
        assert_eq!(shown["Dispatcher"]["HeartbeatPeriod"], 5_000_000_000_u64);
        assert_eq!(
            shown["CAConfig"]["NodeCertExpiry"],
            7_776_000_000_000_000_u64
        );
    }

    #[test]
    fn a_spec_survives_being_read_edited_and_posted() {
        let mut posted = json!(encode(&ClusterSpec::default()));
        posted["Orchestration"]["TaskHistoryRetentionLimit"] = json!(0);
        posted["Dispatcher"]["HeartbeatPeriod"] = json!(2_000_000_000_u64);
        let spec = decode_over(&ClusterSpec::default(), &posted).unwrap();
        assert_eq!(spec.task_history_limit, 0);
        assert_eq!(spec.heartbeat_period, Duration::from_secs(2));
        assert_eq!(json!(encode(&spec)), posted);
    }

    #[test]
    fn what_cannot_be_honoured_is_refused() {
        let refuse = |place: &str, value: Value| {
            let mut body = posted();
            body[place] = value;
            decode_over(&ClusterSpec::default(), &body)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            refuse("EncryptionConfig", json!({"AutoLockManagers": true})),
            "field EncryptionConfig.AutoLockManagers: value true is not supported yet"
        );
        assert_eq!(
            refuse("CAConfig", json!({"SigningCACert": "pem"})),
            "field CAConfig.SigningCACert is not supported yet"
        );
        assert_eq!(
            refuse("TaskDefaults", json!({"LogDriver": {"Name": "syslog"}})),
            "field TaskDefaults.LogDriver.Name is not supported yet"
        );
    }
}
