//! `node update`, `promote`, `demote`: flags applied to a node's spec.

use serde_json::{Value, json};

use super::{Spec, SpecError};
use crate::args::{NodeUpdate, TokenRole};

/// Applies the typed flags; a label to remove must be there.
pub fn update(spec: Value, args: &NodeUpdate) -> Result<Value, SpecError> {
    let mut spec = Spec::new(spec);
    spec.set_some("Role", args.role.map(TokenRole::as_str));
    spec.set_some(
        "Availability",
        args.availability.map(|availability| availability.as_str()),
    );
    if !args.label_add.is_empty() || !args.label_rm.is_empty() {
        let labels = spec.object("Labels");
        labels.extend(
            args.label_add
                .iter()
                .map(|label| (label.key.clone(), json!(label.value))),
        );
        for key in &args.label_rm {
            if labels.remove(key).is_none() {
                return Err(SpecError::new(format!(
                    "key {key} doesn't exist in node's labels"
                )));
            }
        }
    }
    Ok(spec.into_value())
}

/// The spec with another role, or `None` when it has that role already.
pub fn with_role(spec: Value, role: TokenRole) -> Option<Value> {
    let mut spec = Spec::new(spec);
    if spec.text("Role") == role.as_str() {
        return None;
    }
    spec.set("Role", role.as_str());
    Some(spec.into_value())
}
