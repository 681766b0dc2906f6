//! What the engine says of its host.

use bollard::models::{PluginsInfo, SystemInfo};
use orch_core::objects::Labels;
use orch_core::objects::node::NodeDescription;

use super::{CALL_TIMEOUT, Engine, EngineError};

impl Engine {
    /// Describes the host. The address for tunnel packets is not the engine's to know.
    pub async fn describe(&self) -> Result<NodeDescription, EngineError> {
        let info = self
            .docker(CALL_TIMEOUT)?
            .info()
            .await
            .map_err(self.error())?;
        Ok(description(info))
    }
}

fn description(info: SystemInfo) -> NodeDescription {
    let positive = |number: Option<i64>| u64::try_from(number.unwrap_or(0)).unwrap_or(0);
    NodeDescription {
        hostname: info.name.unwrap_or_default(),
        architecture: info.architecture.unwrap_or_default(),
        os: info.os_type.unwrap_or_default(),
        nano_cpus: positive(info.ncpu).saturating_mul(1_000_000_000),
        memory_bytes: positive(info.mem_total),
        engine_version: info.server_version.unwrap_or_default(),
        engine_labels: engine_labels(&info.labels.unwrap_or_default()),
        plugins: info.plugins.map(plugins).unwrap_or_default(),
        data_path_address: None,
    }
}

fn engine_labels(labels: &[String]) -> Labels {
    labels
        .iter()
        .map(|label| label.split_once('=').unwrap_or((label, "")))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// As (type, name) in Docker's order of types.
fn plugins(info: PluginsInfo) -> Vec<(String, String)> {
    let kinds = [
        ("Authorization", info.authorization),
        ("Log", info.log),
        ("Network", info.network),
        ("Volume", info.volume),
    ];
    kinds
        .into_iter()
        .flat_map(|(kind, names)| {
            names
                .unwrap_or_default()
                .into_iter()
                .map(|name| (kind.to_owned(), name))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_words_are_taken_over() {
        let info = SystemInfo {
            name: Some("n1".to_owned()),
            architecture: Some("x86_64".to_owned()),
            os_type: Some("linux".to_owned()),
            ncpu: Some(2),
            mem_total: Some(1 << 30),
            server_version: Some("20.10.24".to_owned()),
            labels: Some(vec!["zone=a=b".to_owned(), "bare".to_owned()]),
            plugins: Some(PluginsInfo {
                network: Some(vec!["orchd".to_owned()]),
                log: Some(vec!["json-file".to_owned()]),
                ..PluginsInfo::default()
            }),
            ..SystemInfo::default()
        };
        let text = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            description(info),
            NodeDescription {
                hostname: "n1".to_owned(),
                architecture: "x86_64".to_owned(),
                os: "linux".to_owned(),
                nano_cpus: 2_000_000_000,
                memory_bytes: 1 << 30,
                engine_version: "20.10.24".to_owned(),
                engine_labels: [text("zone", "a=b"), text("bare", "")]
                    .into_iter()
                    .collect(),
                plugins: vec![text("Log", "json-file"), text("Network", "orchd")],
                data_path_address: None,
            }
        );
    }

    #[test]
    fn nonsense_numbers_are_nothing() {
        let info = SystemInfo {
            ncpu: Some(-1),
            ..SystemInfo::default()
        };
        assert_eq!(description(info), NodeDescription::default());
    }
}
