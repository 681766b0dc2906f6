//! `node ls`.

use super::{capitalize, natural_order};
use crate::{
    format::{Column, Listing, Row},
    model::Node,
};

/// The columns of `node ls`.
pub const NODES: Listing = Listing {
    columns: &[
        Column {
            field: "ID",
            header: "ID",
        },
        Column {
            field: "Self",
            header: "",
        },
        Column {
            field: "Hostname",
            header: "HOSTNAME",
        },
        Column {
            field: "Status",
            header: "STATUS",
        },
        Column {
            field: "Availability",
            header: "AVAILABILITY",
        },
        Column {
            field: "ManagerStatus",
            header: "MANAGER STATUS",
        },
        Column {
            field: "EngineVersion",
            header: "ENGINE VERSION",
        },
        Column {
            field: "TLSStatus",
            header: "TLS STATUS",
        },
    ],
    table: "{{.ID}} {{if .Self}}*{{else}} {{end}}\t{{.Hostname}}\t{{.Status}}\t{{.Availability}}\t\
            {{.ManagerStatus}}\t{{.EngineVersion}}",
    quiet: "{{.ID}}",
};

/// One row per node by hostname; `own_id` is the node that answers. All nodes have the same root
/// certificate unless a rotation is going on.
pub fn node_rows(mut nodes: Vec<Node>, own_id: &str, trust_root: Option<&str>) -> Vec<Row> {
    nodes.sort_by(|a, b| natural_order(&a.description.hostname, &b.description.hostname));
    nodes
        .iter()
        .map(|node| row(node, own_id, trust_root))
        .collect()
}

fn row(node: &Node, own_id: &str, trust_root: Option<&str>) -> Row {
    let manager_status = match &node.manager_status {
        Some(status) if status.leader => "Leader".to_owned(),
        Some(status) => capitalize(&status.reachability),
        None => String::new(),
    };
    let tls_status = match (trust_root, node.description.tls_info.trust_root.as_str()) {
        (_, "") | (None, _) => "Unknown",
        (Some(current), own) if current == own => "Ready",
        _ => "Needs Rotation",
    };
    vec![
        node.id.clone(),
        (node.id == own_id).to_string(),
        node.description.hostname.clone(),
        capitalize(&node.status.state),
        capitalize(&node.spec.availability),
        manager_status,
        node.description.engine.engine_version.clone(),
        tls_status.to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::decode;

    #[test]
    fn the_leader_is_marked_and_the_own_node_starred() {
        let nodes: Vec<Node> = decode(
            r#"[
                {"ID": "bbbbbbbbbbbbbbbbbbbbbbbbb", "Spec": {"Availability": "drain", "Labels": null},
                 "Description": {"Hostname": "n10", "Engine": {"EngineVersion": "20.10.24"}},
                 "Status": {"State": "down"}},
                {"ID": "aaaaaaaaaaaaaaaaaaaaaaaaa", "Spec": {"Availability": "active"},
                 "Description": {"Hostname": "n1", "Engine": {"EngineVersion": "20.10.24"}},
                 "Status": {"State": "ready"}, "ManagerStatus": {"Leader": true}}
            ]"#,
        )
        .unwrap();
        let rows = node_rows(nodes, "aaaaaaaaaaaaaaaaaaaaaaaaa", None);
        assert_eq!(
            NODES.render(&rows, None, false).unwrap(),
            "ID                            HOSTNAME   STATUS    AVAILABILITY   MANAGER STATUS   \
             ENGINE VERSION\n\
             aaaaaaaaaaaaaaaaaaaaaaaaa *   n1         Ready     Active         Leader           \
             20.10.24\n\
             bbbbbbbbbbbbbbbbbbbbbbbbb     n10        Down      Drain                           \
             20.10.24\n"
        );
    }
}
