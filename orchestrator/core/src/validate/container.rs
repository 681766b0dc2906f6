//! Specs of containers.

use std::collections::BTreeSet;

use super::{Verdict, invalid};
use crate::objects::task::{ContainerSpec, Mount, MountSource};

/// Checks what a task is to run.
pub(super) fn container_spec(spec: &ContainerSpec) -> Verdict {
    if spec.image.is_empty() {
        return invalid("ContainerSpec: image reference must be provided");
    }
    if spec
        .image
        .chars()
        .any(|c| c.is_whitespace() || c.is_control())
    {
        return invalid(format!(
            "ContainerSpec: \"{}\" is not a valid repository/tag",
            spec.image
        ));
    }
    if let Some(variable) = spec.env.iter().find(|v| v.is_empty() || v.starts_with('=')) {
        return invalid(format!("invalid environment variable: \"{variable}\""));
    }
    let mut targets = BTreeSet::new();
    for mount in &spec.mounts {
        self::mount(mount)?;
        if !targets.insert(&mount.target) {
            return invalid(format!(
                "ContainerSpec: duplicate mount point: {}",
                mount.target
            ));
        }
    }
    Ok(())
}

fn mount(mount: &Mount) -> Verdict {
    if !mount.target.starts_with('/') {
        return invalid(format!(
            "invalid mount target, must be an absolute path: {}",
            mount.target
        ));
    }
    match &mount.source {
        MountSource::Bind { path, .. } if !path.starts_with('/') => invalid(format!(
            "invalid bind mount source, must be an absolute path: {path}"
        )),
        MountSource::Bind { .. } | MountSource::Volume { .. } | MountSource::Tmpfs { .. } => Ok(()),
    }
}
