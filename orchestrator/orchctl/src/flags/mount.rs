//! `--mount type=...,source=...,target=...` into the API's mount.

use std::str::FromStr;

use serde_json::{Map, Value, json};

use super::{
    Bytes, FlagError,
    fields::{self, Field},
};

/// A mount in the API's shape, checked to be consistent.
#[derive(Debug, Clone, PartialEq)]
pub struct Mount(Value);

const TYPES: [&str; 6] = ["bind", "volume", "tmpfs", "npipe", "cluster", "image"];

impl Mount {
    /// The API's shape.
    pub fn to_json(&self) -> Value {
        self.0.clone()
    }

    /// The path inside the container, which identifies the mount.
    pub fn target(&self) -> &str {
        self.0
            .get("Target")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }
}

impl FromStr for Mount {
    type Err = FlagError;

    fn from_str(text: &str) -> Result<Self, FlagError> {
        let mut mount = Map::from_iter([("Type".to_owned(), json!("volume"))]);
        for field in fields::parse(text)? {
            apply(&mut mount, &field)?;
        }
        check(&mount)?;
        Ok(Self(Value::Object(mount)))
    }
}

fn apply(mount: &mut Map<String, Value>, field: &Field) -> Result<(), FlagError> {
    match field.key.as_str() {
        "type" => {
            let kind = field.required()?.to_ascii_lowercase();
            if !TYPES.contains(&kind.as_str()) {
                return Err(FlagError::new(format!(
                    "invalid mount type '{kind}': must be one of {}",
                    TYPES.join(", ")
                )));
            }
            mount.insert("Type".into(), json!(kind));
        }
        "source" | "src" => set(mount, "Source", field)?,
        "target" | "dst" | "destination" => set(mount, "Target", field)?,
        "consistency" => set(mount, "Consistency", field)?,
        "readonly" | "ro" => {
            mount.insert("ReadOnly".into(), json!(field.boolean()?));
        }
        _ => apply_options(mount, field)?,
    }
    Ok(())
}

fn set(mount: &mut Map<String, Value>, key: &str, field: &Field) -> Result<(), FlagError> {
    mount.insert(key.to_owned(), json!(field.required()?));
    Ok(())
}

fn apply_options(mount: &mut Map<String, Value>, field: &Field) -> Result<(), FlagError> {
    match field.key.as_str() {
        "bind-propagation" => set(section(mount, "BindOptions"), "Propagation", field),
        "bind-nonrecursive" => flag(section(mount, "BindOptions"), "NonRecursive", field),
        "bind-recursive" => bind_recursive(section(mount, "BindOptions"), field.required()?),
        "volume-subpath" => set(section(mount, "VolumeOptions"), "Subpath", field),
        "volume-nocopy" => flag(section(mount, "VolumeOptions"), "NoCopy", field),
        "volume-label" => pair(section(section(mount, "VolumeOptions"), "Labels"), field),
        "volume-driver" => set(
            section(section(mount, "VolumeOptions"), "DriverConfig"),
            "Name",
            field,
        ),
        "volume-opt" => {
            let driver = section(section(mount, "VolumeOptions"), "DriverConfig");
            pair(section(driver, "Options"), field)
        }
        "image-subpath" => set(section(mount, "ImageOptions"), "Subpath", field),
        "tmpfs-size" => {
            let Bytes(size) = field.required()?.parse()?;
            section(mount, "TmpfsOptions").insert("SizeBytes".into(), json!(size));
            Ok(())
        }
        "tmpfs-mode" => {
            let text = field.required()?;
            let mode = u32::from_str_radix(text, 8)
                .map_err(|_| FlagError::new(format!("invalid value for tmpfs-mode: {text}")))?;
            section(mount, "TmpfsOptions").insert("Mode".into(), json!(mode));
            Ok(())
        }
        key => Err(FlagError::new(format!("unknown option '{key}' in a mount"))),
    }
}

fn flag(options: &mut Map<String, Value>, key: &str, field: &Field) -> Result<(), FlagError> {
    options.insert(key.to_owned(), json!(field.boolean()?));
    Ok(())
}

fn pair(options: &mut Map<String, Value>, field: &Field) -> Result<(), FlagError> {
    let text = field.required()?;
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    options.insert(key.to_owned(), json!(value));
    Ok(())
}

fn bind_recursive(options: &mut Map<String, Value>, text: &str) -> Result<(), FlagError> {
    let key = match text {
        "enabled" => return Ok(()),
        "disabled" => "NonRecursive",
        "writable" => "ReadOnlyNonRecursive",
        "readonly" => "ReadOnlyForceRecursive",
        _ => {
            return Err(FlagError::new(format!(
                "invalid value for bind-recursive: {text} (must be enabled, disabled, writable, \
                 or readonly)"
            )));
        }
    };
    options.insert(key.to_owned(), json!(true));
    Ok(())
}

/// The object at `key`, made when it is not there. Only ever called for keys that hold objects.
fn section<'a>(map: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let slot = map
        .entry(key.to_owned())
        .or_insert_with(|| Value::Object(Map::new()));
    match slot {
        Value::Object(object) => object,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            unreachable!("mount sections are only ever created as objects")
        }
    }
}

fn check(mount: &Map<String, Value>) -> Result<(), FlagError> {
    let kind = mount
        .get("Type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if mount
        .get("Target")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .is_empty()
    {
        return Err(FlagError::new("target is required"));
    }
    if kind == "tmpfs" && mount.contains_key("Source") {
        return Err(FlagError::new("source must not be given for a tmpfs mount"));
    }
    if matches!(kind, "bind" | "npipe" | "cluster" | "image") && !mount.contains_key("Source") {
        return Err(FlagError::new(format!(
            "source is required for a {kind} mount"
        )));
    }
    for (section, owner, prefix) in [
        ("BindOptions", "bind", "bind-*"),
        ("VolumeOptions", "volume", "volume-*"),
        ("TmpfsOptions", "tmpfs", "tmpfs-*"),
        ("ImageOptions", "image", "image-*"),
    ] {
        if mount.contains_key(section) && kind != owner {
            return Err(FlagError::new(format!(
                "cannot mix '{prefix}' options with mount type '{kind}'"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_with_everything() {
        let mount: Mount = "source=data,target=/data,readonly,volume-label=a=b,volume-driver=nfs,\
                            volume-opt=o=rw"
            .parse()
            .unwrap();
        assert_eq!(
            mount.to_json(),
            json!({
                "Type": "volume", "Source": "data", "Target": "/data", "ReadOnly": true,
                "VolumeOptions": {
                    "Labels": {"a": "b"},
                    "DriverConfig": {"Name": "nfs", "Options": {"o": "rw"}}
                }
            })
        );
    }

    #[test]
    fn tmpfs_modes_are_octal() {
        let mount: Mount = "type=tmpfs,dst=/t,tmpfs-size=64m,tmpfs-mode=1770"
            .parse()
            .unwrap();
        assert_eq!(
            mount.to_json()["TmpfsOptions"],
            json!({"SizeBytes": 67_108_864, "Mode": 0o1770})
        );
    }

    #[test]
    fn refusals_say_what_is_wrong() {
        for (text, part) in [
            ("type=bind,target=/x", "source is required for a bind mount"),
            ("type=volume,source=a", "target is required"),
            ("type=cdrom,target=/x", "invalid mount type 'cdrom'"),
            (
                "type=bind,src=/a,dst=/b,volume-nocopy",
                "cannot mix 'volume-*' options",
            ),
            ("src=a,dst=/b,foo=1", "unknown option 'foo'"),
            ("src=a,dst=/b,ro=maybe", "maybe is not a boolean"),
            (
                "type=tmpfs,dst=/t,tmpfs-mode=9",
                "invalid value for tmpfs-mode",
            ),
        ] {
            let error = text.parse::<Mount>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
