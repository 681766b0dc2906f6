//! The end of a trace, as people type it.

use std::net::IpAddr;

use orch_core::network::Protocol;
use orch_dataplane::trace::Transport;

use crate::api::error::ApiError;

/// Where a packet goes, as typed: `DST[:PORT][/PROTO]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// An address or a name.
    pub name: String,
    /// What the packet carries.
    pub transport: Transport,
}

impl Target {
    /// Reads it.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        let bad = |why: &str| {
            Err(ApiError::bad_request(format!(
                "invalid destination \"{text}\": {why}; expected ADDRESS or NAME, then :PORT and \
                 /tcp, /udp or /sctp if it is no ping"
            )))
        };
        let (rest, protocol) = match text.rsplit_once('/') {
            Some((rest, word)) => (rest, Some(word)),
            None => (text, None),
        };
        let (name, port) = split_port(rest);
        if name.is_empty() {
            return bad("it names nobody");
        }
        let transport = match (protocol, port) {
            (None | Some("icmp"), None) => Transport::Ping,
            (_, None) => return bad("a port is missing"),
            (word, Some(port)) => {
                let protocol = match word {
                    None | Some("tcp") => Protocol::Tcp,
                    Some("udp") => Protocol::Udp,
                    Some("sctp") => Protocol::Sctp,
                    Some(_) => return bad("the protocol is not known"),
                };
                match port.parse() {
                    Ok(port) if port > 0 => Transport::Port(protocol, port),
                    _ => return bad("the port is not between 1 and 65535"),
                }
            }
        };
        Ok(Self {
            name: name.to_owned(),
            transport,
        })
    }
}

/// The port behind a name, an IPv4 address or an IPv6 address in brackets.
fn split_port(text: &str) -> (&str, Option<&str>) {
    if text.parse::<IpAddr>().is_ok() {
        return (text, None);
    }
    if let Some(inside) = text.strip_prefix('[') {
        return match inside.split_once(']') {
            Some((address, rest)) => (address, rest.strip_prefix(':')),
            None => (text, None),
        };
    }
    match text.rsplit_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Option<(String, Transport)> {
        let target = Target::parse(text).ok()?;
        Some((target.name, target.transport))
    }

    #[test]
    fn destinations_are_read_as_people_write_them() {
        let tcp = |port| Transport::Port(Protocol::Tcp, port);
        for (text, name, transport) in [
            ("web", "web", Transport::Ping),
            ("web:80", "web", tcp(80)),
            ("web:80/tcp", "web", tcp(80)),
            (
                "10.0.0.2:53/udp",
                "10.0.0.2",
                Transport::Port(Protocol::Udp, 53),
            ),
            ("fd00::2", "fd00::2", Transport::Ping),
            ("[fd00::2]:80", "fd00::2", tcp(80)),
            ("[fd00::2]/icmp", "fd00::2", Transport::Ping),
            (
                "tasks.web:9/sctp",
                "tasks.web",
                Transport::Port(Protocol::Sctp, 9),
            ),
        ] {
            assert_eq!(target(text), Some((name.to_owned(), transport)), "{text}");
        }
    }

    #[test]
    fn destinations_that_make_no_sense_are_refused() {
        for text in [
            "",
            ":80",
            "web:0",
            "web:65536",
            "web/tcp",
            "web:80/gre",
            "web:http",
        ] {
            assert_eq!(target(text), None, "{text}");
        }
    }
}
