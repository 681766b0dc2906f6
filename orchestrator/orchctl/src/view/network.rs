//! `network ls`.

use super::{natural_order, short_id};
use crate::{
    format::{Column, Listing, Row},
    model::Network,
};

/// The columns of `network ls`.
pub const NETWORKS: Listing = Listing {
    columns: &[
        Column {
            field: "ID",
            header: "NETWORK ID",
        },
        Column {
            field: "Name",
            header: "NAME",
        },
        Column {
            field: "Driver",
            header: "DRIVER",
        },
        Column {
            field: "Scope",
            header: "SCOPE",
        },
        Column {
            field: "IPv4",
            header: "IPV4",
        },
        Column {
            field: "IPv6",
            header: "IPV6",
        },
        Column {
            field: "Internal",
            header: "INTERNAL",
        },
        Column {
            field: "Labels",
            header: "LABELS",
        },
        Column {
            field: "CreatedAt",
            header: "CREATED AT",
        },
    ],
    table: "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
    quiet: "{{.ID}}",
};

/// One row per network by name.
pub fn network_rows(mut networks: Vec<Network>, truncate: bool) -> Vec<Row> {
    networks.sort_by(|a, b| natural_order(&a.name, &b.name));
    let row = |network: &Network| {
        let labels: Vec<String> = network
            .labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        vec![
            short_id(&network.id, truncate),
            network.name.clone(),
            network.driver.clone(),
            network.scope.clone(),
            network.enable_ipv4.to_string(),
            network.enable_ipv6.to_string(),
            network.internal.to_string(),
            labels.join(","),
            super::time::go_time(&network.created),
        ]
    };
    networks.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::decode;

    #[test]
    fn the_table() {
        let networks: Vec<Network> = decode(
            r#"[{"Name": "sandbox", "Id": "abcdefghijklmnopqrstuvwxy", "Driver": "overlay",
                 "Scope": "swarm", "Labels": {"a": "b"}},
                {"Name": "bridge", "Id": "0123456789abcdef", "Driver": "bridge", "Scope": "local"}]"#,
        )
        .unwrap();
        let rows = network_rows(networks, true);
        assert_eq!(
            NETWORKS.render(&rows, None, false).unwrap(),
            "NETWORK ID     NAME      DRIVER    SCOPE\n\
             0123456789ab   bridge    bridge    local\n\
             abcdefghijkl   sandbox   overlay   swarm\n"
        );
        assert_eq!(
            NETWORKS.render(&rows, Some("{{.Labels}}"), false).unwrap(),
            "\na=b\n"
        );
    }
}
