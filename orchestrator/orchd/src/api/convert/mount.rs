//! `ContainerSpec.Mounts`: folders, volumes and memory.

use std::collections::BTreeMap;

use orch_core::objects::Labels;
use orch_core::objects::task::{self as model, MountSource};
use serde::{Deserialize, Serialize};

use super::ConvertError;
use super::scalar::{is_default, nonempty};

const KINDS: &str = "bind, volume, tmpfs";

/// Wire shape of a mount.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Mount {
    #[serde(rename = "Type")]
    kind: String,
    #[serde(skip_serializing_if = "is_default")]
    source: String,
    #[serde(skip_serializing_if = "is_default")]
    target: String,
    #[serde(skip_serializing_if = "is_default")]
    read_only: bool,
    #[serde(skip_serializing_if = "is_default")]
    bind_options: BindOptions,
    #[serde(skip_serializing_if = "is_default")]
    volume_options: VolumeOptions,
    #[serde(skip_serializing_if = "is_default")]
    tmpfs_options: TmpfsOptions,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct BindOptions {
    #[serde(skip_serializing_if = "is_default")]
    propagation: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct VolumeOptions {
    #[serde(skip_serializing_if = "is_default")]
    no_copy: bool,
    #[serde(skip_serializing_if = "is_default")]
    labels: Labels,
    #[serde(skip_serializing_if = "is_default")]
    driver_config: DriverConfig,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct DriverConfig {
    #[serde(skip_serializing_if = "is_default")]
    name: String,
    #[serde(skip_serializing_if = "is_default")]
    options: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct TmpfsOptions {
    #[serde(skip_serializing_if = "is_default")]
    size_bytes: u64,
    #[serde(skip_serializing_if = "is_default")]
    mode: u32,
}

impl Mount {
    /// From the wire. Options of another kind of mount are dropped here, and so found out by the
    /// comparison with what came in.
    pub fn decode(self) -> Result<model::Mount, ConvertError> {
        let source = match self.kind.as_str() {
            "bind" => MountSource::Bind {
                path: self.source,
                propagation: nonempty(self.bind_options.propagation),
            },
            "volume" => MountSource::Volume {
                name: nonempty(self.source),
                labels: self.volume_options.labels,
                driver: nonempty(self.volume_options.driver_config.name),
                options: self.volume_options.driver_config.options,
                no_copy: self.volume_options.no_copy,
            },
            "tmpfs" => MountSource::Tmpfs {
                size_bytes: Some(self.tmpfs_options.size_bytes).filter(|size| *size != 0),
                mode: Some(self.tmpfs_options.mode).filter(|mode| *mode != 0),
            },
            other => {
                let reason = format!("\"{other}\" is not one of {KINDS}");
                return Err(ConvertError::invalid("mount type", reason));
            }
        };
        Ok(model::Mount {
            target: self.target,
            source,
            read_only: self.read_only,
        })
    }

    /// To the wire.
    pub fn encode(mount: &model::Mount) -> Self {
        let common = Self {
            target: mount.target.clone(),
            read_only: mount.read_only,
            ..Self::default()
        };
        match &mount.source {
            MountSource::Bind { path, propagation } => Self {
                kind: "bind".to_owned(),
                source: path.clone(),
                bind_options: BindOptions {
                    propagation: propagation.clone().unwrap_or_default(),
                },
                ..common
            },
            MountSource::Volume {
                name,
                labels,
                driver,
                options,
                no_copy,
            } => Self {
                kind: "volume".to_owned(),
                source: name.clone().unwrap_or_default(),
                volume_options: VolumeOptions {
                    no_copy: *no_copy,
                    labels: labels.clone(),
                    driver_config: DriverConfig {
                        name: driver.clone().unwrap_or_default(),
                        options: options.clone(),
                    },
                },
                ..common
            },
            MountSource::Tmpfs { size_bytes, mode } => Self {
                kind: "tmpfs".to_owned(),
                tmpfs_options: TmpfsOptions {
                    size_bytes: size_bytes.unwrap_or_default(),
                    mode: mode.unwrap_or_default(),
                },
                ..common
            },
        }
    }
}
