//! `--cap-add` and `--cap-drop`: one name per capability, and never in both lists.

use std::collections::BTreeSet;

use super::Spec;

const ADD: &str = "TaskTemplate.ContainerSpec.CapabilityAdd";
const DROP: &str = "TaskTemplate.ContainerSpec.CapabilityDrop";

/// Clears the lists when typed, as docker's own word for it.
const RESET: &str = "RESET";

/// `net_admin` and `CAP_NET_ADMIN` are one capability; `ALL` stays as it is.
fn normal_name(text: &str) -> String {
    let name = text.trim().to_ascii_uppercase();
    if name == "ALL" || name == RESET || name.starts_with("CAP_") {
        return name;
    }
    format!("CAP_{name}")
}

/// Edits the spec's two lists. What is added leaves the drop list and the other way round; a
/// capability typed in both is dropped.
pub fn apply(spec: &mut Spec, add: &[String], drop: &[String]) {
    if add.is_empty() && drop.is_empty() {
        return;
    }
    let normal = |list: &[String]| list.iter().map(|name| normal_name(name)).collect();
    let mut to_add: BTreeSet<String> = normal(add);
    let mut to_drop: BTreeSet<String> = normal(drop);
    let mut added: BTreeSet<String> = normal(&spec.texts(ADD));
    let mut dropped: BTreeSet<String> = normal(&spec.texts(DROP));
    if to_add.remove(RESET) {
        added.clear();
    }
    if to_drop.remove(RESET) {
        dropped.clear();
    }
    dropped.retain(|name| !to_add.contains(name));
    added.extend(to_add);
    added.retain(|name| !to_drop.contains(name));
    dropped.extend(to_drop);
    spec.set_list(ADD, added.into_iter().collect());
    spec.set_list(DROP, dropped.into_iter().collect());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_capability_is_in_one_list_only() {
        let mut spec = Spec::default();
        apply(
            &mut spec,
            &["net_admin".into()],
            &["ALL".into(), "CAP_CHOWN".into()],
        );
        apply(&mut spec, &["chown".into()], &["NET_ADMIN".into()]);
        assert_eq!(spec.get(ADD), Some(&json!(["CAP_CHOWN"])));
        assert_eq!(spec.get(DROP), Some(&json!(["ALL", "CAP_NET_ADMIN"])));
        apply(&mut spec, &["RESET".into()], &[]);
        assert_eq!(spec.get(ADD), None);
    }
}
