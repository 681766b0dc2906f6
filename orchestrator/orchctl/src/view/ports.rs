//! The PORTS column.

use crate::model::Port;

/// `*:8080-8081->80-81/tcp, *:53->53/udp`: ports of the mesh, neighbours joined into ranges.
pub fn ingress_ports(ports: &[Port]) -> String {
    let mut sorted: Vec<&Port> = ports
        .iter()
        .filter(|port| matches!(port.publish_mode.as_str(), "ingress" | ""))
        .collect();
    sorted.sort_by_key(|port| (port.protocol.clone(), port.published_port, port.target_port));
    let mut shown: Vec<String> = Vec::new();
    let mut rest = sorted.as_slice();
    while let Some(first) = rest.first() {
        let run = run_length(rest);
        let last = rest[run - 1];
        shown.push(format!(
            "*:{}->{}/{}",
            range(first.published_port, last.published_port),
            range(first.target_port, last.target_port),
            protocol(first),
        ));
        rest = &rest[run..];
    }
    shown.join(", ")
}

/// Host-mode ports of one task.
pub fn task_ports(ports: &[Port]) -> String {
    let shown: Vec<String> = ports
        .iter()
        .map(|port| {
            format!(
                "*:{}->{}/{}",
                port.published_port,
                port.target_port,
                protocol(port)
            )
        })
        .collect();
    shown.join(",")
}

fn protocol(port: &Port) -> &str {
    if port.protocol.is_empty() {
        "tcp"
    } else {
        &port.protocol
    }
}

/// How many ports at the front follow one another on both sides.
fn run_length(ports: &[&Port]) -> usize {
    let follows = |pair: &[&Port]| {
        pair[0].protocol == pair[1].protocol
            && pair[0].published_port.checked_add(1) == Some(pair[1].published_port)
            && pair[0].target_port.checked_add(1) == Some(pair[1].target_port)
    };
    1 + ports.windows(2).take_while(|pair| follows(pair)).count()
}

fn range(first: u16, last: u16) -> String {
    if first == last {
        first.to_string()
    } else {
        format!("{first}-{last}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(published_port: u16, target_port: u16, protocol: &str, mode: &str) -> Port {
        Port {
            protocol: protocol.into(),
            target_port,
            published_port,
            publish_mode: mode.into(),
        }
    }

    #[test]
    fn neighbours_become_ranges_and_host_ports_stay_out() {
        let ports = [
            port(8081, 81, "tcp", "ingress"),
            port(8080, 80, "tcp", "ingress"),
            port(53, 53, "udp", "ingress"),
            port(9000, 90, "tcp", "host"),
        ];
        assert_eq!(
            ingress_ports(&ports),
            "*:8080-8081->80-81/tcp, *:53->53/udp"
        );
        assert_eq!(ingress_ports(&[]), "");
    }
}
