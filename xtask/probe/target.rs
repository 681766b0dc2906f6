//! What a client is to reach, written as one word.

use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use anyhow::{Context, Result, bail};

/// How a target is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// One connection, one line each way.
    Tcp,
    /// One datagram each way.
    Udp,
    /// An echo request.
    Icmp,
}

/// A protocol, a host by name or address, a port, and the family to take of a name's addresses.
#[derive(Debug, Clone)]
pub struct Target {
    /// How it is spoken to.
    pub protocol: Protocol,
    host: String,
    port: u16,
    v6: Option<bool>,
}

impl Target {
    /// The address that is meant; asks the resolver if it is a name.
    pub fn resolve(&self) -> Result<SocketAddr> {
        let mut found = (self.host.as_str(), self.port)
            .to_socket_addrs()
            .with_context(|| format!("{} does not resolve", self.host))?;
        let wanted = |address: &SocketAddr| self.v6.is_none_or(|v6| address.is_ipv6() == v6);
        found
            .find(wanted)
            .with_context(|| format!("{} has no address of that family", self.host))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.protocol, self.host)?;
        if self.port != 0 {
            write!(f, " port {}", self.port)?;
        }
        Ok(())
    }
}

impl FromStr for Target {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut words = text.split(',');
        let protocol = match words.next() {
            Some("tcp") => Protocol::Tcp,
            Some("udp") => Protocol::Udp,
            Some("icmp") => Protocol::Icmp,
            other => bail!("{other:?} is none of tcp, udp and icmp"),
        };
        let host = words.next().context("the host is missing")?.to_owned();
        let port = words.next().map_or(Ok(0), str::parse)?;
        let v6 = match words.next() {
            None => None,
            Some("v4") => Some(false),
            Some("v6") => Some(true),
            Some(other) => bail!("{other:?} is neither v4 nor v6"),
        };
        Ok(Self {
            protocol,
            host,
            port,
            v6,
        })
    }
}

/// An address as people write it: one that stands for an IPv4 address becomes that.
pub fn plain(address: SocketAddr) -> IpAddr {
    address.ip().to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_one_word() {
        let target: Target = "udp,127.0.0.1,53,v4".parse().unwrap();
        assert_eq!(target.protocol, Protocol::Udp);
        assert_eq!(target.resolve().unwrap(), "127.0.0.1:53".parse().unwrap());
        let echo: Target = "icmp,::1".parse().unwrap();
        assert_eq!(echo.resolve().unwrap(), "[::1]:0".parse().unwrap());
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for word in ["", "tcp", "sctp,a,1", "tcp,a,70000", "tcp,a,1,v5"] {
            assert!(word.parse::<Target>().is_err(), "{word}");
        }
    }

    #[test]
    fn the_family_decides_between_the_addresses_of_a_name() {
        let target: Target = "tcp,127.0.0.1,1,v6".parse().unwrap();
        assert!(target.resolve().is_err());
    }
}
