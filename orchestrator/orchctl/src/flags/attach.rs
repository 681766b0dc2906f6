//! What a service is attached to: networks, secrets, configs, credential specs, and the placement
//! preference.

use std::str::FromStr;

use serde_json::{Map, Value, json};

use super::{FlagError, fields};

/// `--network name` or `name=,alias=,driver-opt=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkAttachment {
    /// Name or id as typed; the command resolves it.
    pub target: String,
    aliases: Vec<String>,
    driver_opts: Vec<(String, String)>,
}

impl FromStr for NetworkAttachment {
    type Err = FlagError;

    fn from_str(text: &str) -> Result<Self, FlagError> {
        let mut attachment = Self {
            target: String::new(),
            aliases: Vec::new(),
            driver_opts: Vec::new(),
        };
        if !text.contains('=') {
            attachment.target = text.to_owned();
        } else {
            for field in fields::parse(text)? {
                let value = field.required()?;
                match field.key.as_str() {
                    "name" => attachment.target = value.to_owned(),
                    "alias" => attachment.aliases.push(value.to_owned()),
                    "driver-opt" => {
                        let (key, value) = value.split_once('=').ok_or_else(|| {
                            FlagError::new(format!("invalid key value pair format: {value}"))
                        })?;
                        attachment
                            .driver_opts
                            .push((key.to_owned(), value.to_owned()));
                    }
                    key => return Err(FlagError::new(format!("invalid field key {key}"))),
                }
            }
        }
        if attachment.target.is_empty() {
            return Err(FlagError::new("network name/id is not specified"));
        }
        Ok(attachment)
    }
}

impl NetworkAttachment {
    /// The API's shape, for the network that the name stands for.
    pub fn to_json(&self, network_id: &str) -> Value {
        let mut config = Map::from_iter([("Target".to_owned(), json!(network_id))]);
        if !self.aliases.is_empty() {
            config.insert("Aliases".into(), json!(self.aliases));
        }
        if !self.driver_opts.is_empty() {
            let options: Map<String, Value> = self
                .driver_opts
                .iter()
                .map(|(key, value)| (key.clone(), json!(value)))
                .collect();
            config.insert("DriverOpts".into(), Value::Object(options));
        }
        Value::Object(config)
    }
}

/// `--secret name` or `source=,target=,uid=,gid=,mode=`; configs use the same words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileReference {
    /// The secret's or config's name.
    pub source: String,
    target: Option<String>,
    uid: String,
    gid: String,
    mode: u32,
}

impl FromStr for FileReference {
    type Err = FlagError;

    fn from_str(text: &str) -> Result<Self, FlagError> {
        let mut reference = Self {
            source: String::new(),
            target: None,
            uid: "0".into(),
            gid: "0".into(),
            mode: 0o444,
        };
        if !text.contains('=') {
            reference.source = text.to_owned();
        } else {
            for field in fields::parse(text)? {
                let value = field.required()?;
                match field.key.as_str() {
                    "source" | "src" => reference.source = value.to_owned(),
                    "target" => reference.target = Some(value.to_owned()),
                    "uid" => reference.uid = value.to_owned(),
                    "gid" => reference.gid = value.to_owned(),
                    "mode" => {
                        reference.mode = u32::from_str_radix(value, 8).map_err(|_| {
                            FlagError::new(format!("invalid mode specified: {value} is not octal"))
                        })?;
                    }
                    key => return Err(FlagError::new(format!("invalid field in request: {key}"))),
                }
            }
        }
        if reference.source.is_empty() {
            return Err(FlagError::new("source is required"));
        }
        Ok(reference)
    }
}

impl FileReference {
    /// The API's shape of a secret reference.
    pub fn to_secret_json(&self, id: &str) -> Value {
        let target = self.target.clone().unwrap_or_else(|| self.source.clone());
        json!({ "SecretID": id, "SecretName": self.source, "File": self.file(&target) })
    }

    /// The API's shape of a config reference; a target without a path is below `/`.
    pub fn to_config_json(&self, id: &str) -> Value {
        let target = self.target.clone().unwrap_or_else(|| self.source.clone());
        json!({ "ConfigID": id, "ConfigName": self.source, "File": self.file(&target) })
    }

    fn file(&self, name: &str) -> Value {
        json!({ "Name": name, "UID": self.uid, "GID": self.gid, "Mode": self.mode })
    }
}

/// `--credential-spec file://|registry://|config://` (Windows containers).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialSpec {
    key: &'static str,
    value: String,
}

impl FromStr for CredentialSpec {
    type Err = FlagError;

    fn from_str(text: &str) -> Result<Self, FlagError> {
        for (prefix, key) in [
            ("config://", "Config"),
            ("file://", "File"),
            ("registry://", "Registry"),
        ] {
            if let Some(value) = text.strip_prefix(prefix) {
                return Ok(Self {
                    key,
                    value: value.to_owned(),
                });
            }
        }
        Err(FlagError::new(
            "invalid credential spec: value must be prefixed with 'config://', 'file://', or \
             'registry://'",
        ))
    }
}

impl CredentialSpec {
    /// The API's shape.
    pub fn to_json(&self) -> Value {
        json!({ self.key: self.value })
    }
}

/// `--placement-pref spread=node.labels.zone`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpreadPreference {
    /// The label that tasks spread over.
    pub descriptor: String,
}

impl FromStr for SpreadPreference {
    type Err = FlagError;

    fn from_str(text: &str) -> Result<Self, FlagError> {
        match text.split_once('=') {
            Some(("spread", descriptor)) if !descriptor.is_empty() => Ok(Self {
                descriptor: descriptor.to_owned(),
            }),
            Some((strategy, _)) if strategy != "spread" => Err(FlagError::new(format!(
                "unsupported placement preference {strategy} (only spread is supported)"
            ))),
            _ => Err(FlagError::new(
                "placement preference must be of the format \"spread=<label>\"",
            )),
        }
    }
}

impl SpreadPreference {
    /// The API's shape.
    pub fn to_json(&self) -> Value {
        json!({ "Spread": { "SpreadDescriptor": self.descriptor } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_in_both_forms() {
        let short: NetworkAttachment = "sandbox".parse().unwrap();
        assert_eq!(short.to_json("id1"), json!({"Target": "id1"}));
        let long: NetworkAttachment = "name=sandbox,alias=db,driver-opt=a=b".parse().unwrap();
        assert_eq!(
            long.to_json("id1"),
            json!({"Target": "id1", "Aliases": ["db"], "DriverOpts": {"a": "b"}})
        );
        assert!("alias=db".parse::<NetworkAttachment>().is_err());
        assert!("name=a,foo=b".parse::<NetworkAttachment>().is_err());
    }

    #[test]
    fn the_target_of_secrets_and_configs_defaults_to_the_name() {
        let reference: FileReference = "source=key,mode=0400".parse().unwrap();
        assert_eq!(
            reference.to_secret_json("s1"),
            json!({
                "SecretID": "s1", "SecretName": "key",
                "File": {"Name": "key", "UID": "0", "GID": "0", "Mode": 0o400}
            })
        );
        assert_eq!(reference.to_config_json("c1")["File"]["Name"], "key");
        assert!("source=key,mode=rw".parse::<FileReference>().is_err());
    }

    #[test]
    fn only_spread_is_a_preference() {
        assert!(
            "spread=node.labels.zone"
                .parse::<SpreadPreference>()
                .is_ok()
        );
        assert!("binpack=x".parse::<SpreadPreference>().is_err());
        assert!("spread".parse::<SpreadPreference>().is_err());
    }
}
