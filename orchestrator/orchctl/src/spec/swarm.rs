//! `swarm init` and `swarm update`: flags to the swarm's spec and the init request.

use serde_json::{Map, Value, json};

use super::{Spec, SpecError};
use crate::args::{SwarmInit, SwarmSettings};

/// Docker's API has no field for it.
const HOST_LOSS_DELAY: &str = "orch.host-loss-delay";

/// The body of `POST /swarm/init`. What was not typed is left to the daemon's defaults.
pub fn init(args: &SwarmInit) -> Result<Value, SpecError> {
    let mut spec = Spec::default();
    for section in [
        "Orchestration",
        "Raft",
        "Dispatcher",
        "CAConfig",
        "EncryptionConfig",
    ] {
        spec.object(section);
    }
    spec.set("Labels", Map::new());
    spec.set("TaskDefaults", json!({}));
    apply(&mut spec, &args.settings)?;
    Ok(json!({
        "ListenAddr": args.listen_addr,
        "AdvertiseAddr": args.advertise_addr.as_deref().unwrap_or_default(),
        "DataPathAddr": args.data_path_addr.as_deref().unwrap_or_default(),
        "DataPathPort": data_path_port(args.data_path_port)?,
        "DefaultAddrPool": args.default_addr_pool,
        "SubnetSize": args.default_addr_pool_mask_length.unwrap_or(24),
        "ForceNewCluster": args.force_new_cluster,
        "AutoLockManagers": args.settings.autolock.unwrap_or(false),
        "Availability": args.availability.as_str(),
        "Spec": spec.into_value(),
    }))
}

/// The swarm's spec with what was typed.
pub fn update(spec: Value, settings: &SwarmSettings) -> Result<Value, SpecError> {
    let mut spec = Spec::new(spec);
    apply(&mut spec, settings)?;
    Ok(spec.into_value())
}

fn data_path_port(port: Option<u32>) -> Result<u32, SpecError> {
    match port.unwrap_or(0) {
        0 => Ok(0),
        port @ 1024..=49151 => Ok(port),
        port => Err(SpecError::new(format!(
            "invalid data path port {port}: use a port between 1024 and 49151, or 0 for 4789"
        ))),
    }
}

fn apply(spec: &mut Spec, settings: &SwarmSettings) -> Result<(), SpecError> {
    spec.set_some("EncryptionConfig.AutoLockManagers", settings.autolock);
    spec.set_some(
        "CAConfig.NodeCertExpiry",
        settings.cert_expiry.map(|expiry| expiry.0),
    );
    let heartbeat = settings.dispatcher_heartbeat.map(|period| period.0);
    spec.set_some("Dispatcher.HeartbeatPeriod", heartbeat);
    if let Some(delay) = settings.host_loss_delay {
        let millis = delay.0 / 1_000_000;
        let label = HOST_LOSS_DELAY.to_owned();
        spec.object("Labels")
            .insert(label, json!(format!("{millis}ms")));
    }
    spec.set_some("Raft.KeepOldSnapshots", settings.max_snapshots);
    spec.set_some("Raft.SnapshotInterval", settings.snapshot_interval);
    spec.set_some(
        "Orchestration.TaskHistoryRetentionLimit",
        settings.task_history_limit,
    );
    if !settings.external_ca.is_empty() {
        let authorities = settings
            .external_ca
            .iter()
            .map(|text| external_ca(text))
            .collect::<Result<_, _>>()?;
        spec.set("CAConfig.ExternalCAs", Value::Array(authorities));
    }
    Ok(())
}

/// `protocol=cfssl,url=https://...[,option=value]`.
fn external_ca(text: &str) -> Result<Value, SpecError> {
    let mut authority = json!({ "Protocol": "", "URL": "" });
    let mut options = Map::new();
    for field in text.split(',') {
        match field.split_once('=') {
            Some(("protocol", "cfssl")) => authority["Protocol"] = json!("cfssl"),
            Some(("protocol", other)) => {
                return Err(SpecError::new(format!(
                    "unrecognized external CA protocol {other}"
                )));
            }
            Some(("url", url)) => authority["URL"] = json!(url),
            Some((key, value)) => {
                options.insert(key.to_owned(), json!(value));
            }
            None => {
                return Err(SpecError::new(format!(
                    "invalid field '{field}' in --external-ca: must be a key=value pair"
                )));
            }
        }
    }
    if authority["Protocol"] == "" || authority["URL"] == "" {
        return Err(SpecError::new(
            "the external-ca option needs protocol= and url= parameters",
        ));
    }
    if !options.is_empty() {
        authority["Options"] = Value::Object(options);
    }
    Ok(authority)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command, SwarmCommand};

    fn build(line: &[&str]) -> Result<Value, SpecError> {
        let words = ["orchctl", "swarm", "init"].iter().chain(line);
        let cli = Cli::try_parse_from(words).unwrap();
        let Command::Swarm(SwarmCommand::Init(args)) = cli.command else {
            panic!()
        };
        init(&args)
    }

    #[test]
    fn init_sends_what_was_typed() {
        let request = build(&["--advertise-addr", "10.0.0.1"]).unwrap();
        assert_eq!(request["ListenAddr"], "0.0.0.0:2377");
        assert_eq!(request["AdvertiseAddr"], "10.0.0.1");
        assert_eq!(request["Spec"]["Raft"], json!({}));
        let patient = build(&["--host-loss-delay", "1m"]).unwrap();
        assert_eq!(
            patient["Spec"]["Labels"],
            json!({"orch.host-loss-delay": "60000ms"})
        );
        let typed = build(&["--task-history-limit", "3", "--dispatcher-heartbeat", "2s"]).unwrap();
        assert_eq!(
            typed["Spec"]["Orchestration"]["TaskHistoryRetentionLimit"],
            3
        );
        assert_eq!(
            typed["Spec"]["Dispatcher"]["HeartbeatPeriod"],
            2_000_000_000_u64
        );
        assert_eq!(
            (&request["SubnetSize"], &request["DataPathPort"]),
            (&json!(24), &json!(0))
        );
    }

    #[test]
    fn bad_settings_are_refused_here() {
        assert!(build(&["--data-path-port", "80"]).is_err());
        assert!(build(&["--external-ca", "protocol=acme,url=x"]).is_err());
        assert!(build(&["--external-ca", "protocol=cfssl"]).is_err());
    }

    #[test]
    fn update_keeps_what_it_does_not_know() {
        let before = json!({"Name": "default", "Orch": {"x": 1}, "Raft": {"ElectionTick": 10}});
        let settings = SwarmSettings {
            task_history_limit: Some(9),
            ..Default::default()
        };
        assert_eq!(
            update(before, &settings).unwrap(),
            json!({
                "Name": "default", "Orch": {"x": 1}, "Raft": {"ElectionTick": 10},
                "Orchestration": {"TaskHistoryRetentionLimit": 9}
            })
        );
    }
}
