//! The resolvers that the host itself uses.

use std::net::{IpAddr, SocketAddr};

use super::{ADDRESSES, PORT};

const FILE: &str = "/etc/resolv.conf";

/// The host's resolvers in their order. The file is read each time: it is small, and programs
/// that manage it change it at any time. Empty when there is none.
pub async fn of_host() -> Vec<SocketAddr> {
    match tokio::fs::read_to_string(FILE).await {
        Ok(text) => parse(&text),
        Err(error) => {
            tracing::debug!(%error, "cannot read {FILE}");
            Vec::new()
        }
    }
}

/// The `nameserver` lines, but for our own addresses: a question must not come back.
fn parse(text: &str) -> Vec<SocketAddr> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("nameserver"))
                .then(|| words.next())
                .flatten()
        })
        // A zone (`fe80::1%eth0`) names a link of the host; the rest is the address.
        .filter_map(|address| address.split('%').next()?.parse::<IpAddr>().ok())
        .filter(|address| !ADDRESSES.contains(address))
        .map(|address| SocketAddr::new(address, PORT))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nameserver_lines_are_taken_in_order() {
        let text = "# nameserver 1.1.1.1\nsearch lan\nnameserver 127.0.0.53 # local\n\
                    nameserver\nnameserver nonsense\nnameserver 2001:db8::1\noptions ndots:1\n";
        let expected: Vec<SocketAddr> = ["127.0.0.53:53", "[2001:db8::1]:53"]
            .iter()
            .map(|a| a.parse().unwrap())
            .collect();
        assert_eq!(parse(text), expected);
    }

    #[test]
    fn we_never_ask_ourselves() {
        for address in ADDRESSES {
            assert_eq!(parse(&format!("nameserver {address}\n")), []);
        }
        assert_eq!(parse(""), []);
    }
}
