//! Addresses of `swarm init` and `swarm join`: text to addresses of this host.
//!
//! The rules and texts are Docker's; the host's interfaces come in as a value.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use super::LifecycleError;

const BAD_LISTEN: &str =
    "listen address must be an IP address or network interface (with optional port number)";
const BAD_ADVERTISE: &str = "advertise address must be a non-zero IP address or network \
                             interface (with optional port number)";
const BAD_DATA_PATH: &str = "data path address must be a non-zero IP address or network \
                             interface (without a port number)";
/// Interfaces of container networks: never what other hosts should call.
const INTERNAL: [&str; 5] = ["docker", "br-", "veth", "orch", "virbr"];

/// Interface name → its addresses.
pub(super) type Interfaces = BTreeMap<String, Vec<IpAddr>>;

fn bad(text: impl Into<String>) -> LifecycleError {
    LifecycleError::BadAddress(text.into())
}

/// The interfaces of this host's network namespace.
pub(super) fn interfaces() -> Result<Interfaces, LifecycleError> {
    let listed = nix::ifaddrs::getifaddrs()
        .map_err(|e| LifecycleError::Failed(format!("cannot list network interfaces: {e}")))?;
    let mut interfaces = Interfaces::new();
    for entry in listed {
        let Some(address) = entry.address else {
            continue;
        };
        let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
        let v6 = address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip()));
        if let Some(ip) = v4.or(v6) {
            interfaces.entry(entry.interface_name).or_default().push(ip);
        }
    }
    Ok(interfaces)
}

/// `ADDRESS`, `INTERFACE`, `ADDRESS:PORT`, `INTERFACE:PORT` or `[V6]:PORT` → host and port.
fn split(text: &str, default_port: u16) -> Option<(&str, u16)> {
    if text.parse::<IpAddr>().is_ok() {
        return Some((text, default_port));
    }
    match text.rsplit_once(':') {
        None => Some((text, default_port)),
        Some((host, port)) => {
            let host = host
                .strip_prefix('[')
                .map_or(Some(host), |h| h.strip_suffix(']'))?;
            port.parse()
                .ok()
                .filter(|p| *p != 0)
                .map(|port| (host, port))
        }
    }
}

/// An address as such, or the address of an interface.
fn host_address(
    host: &str,
    interfaces: &Interfaces,
    otherwise: &str,
) -> Result<IpAddr, LifecycleError> {
    if let Ok(ip) = host.parse() {
        return Ok(ip);
    }
    let addresses = interfaces.get(host).ok_or_else(|| bad(otherwise))?;
    one_of(addresses, |family, a, b| {
        bad(format!(
            "interface {host} has more than one {family} address ({a} and {b})"
        ))
    })?
    .ok_or_else(|| {
        bad(format!(
            "interface {host} has no usable IPv4 or IPv6 addresses"
        ))
    })
}

/// The one IPv4 address, or the one IPv6 address when there is no IPv4.
fn one_of(
    addresses: &[IpAddr],
    several: impl Fn(&'static str, &IpAddr, &IpAddr) -> LifecycleError,
) -> Result<Option<IpAddr>, LifecycleError> {
    let usable = |a: &&IpAddr| match a {
        IpAddr::V4(ip) => !ip.is_link_local(),
        IpAddr::V6(ip) => !ip.is_unicast_link_local(),
    };
    let (v4, v6): (Vec<&IpAddr>, Vec<&IpAddr>) =
        addresses.iter().filter(usable).partition(|a| a.is_ipv4());
    match (v4.as_slice(), v6.as_slice()) {
        ([one], _) | ([], [one]) => Ok(Some(**one)),
        ([], []) => Ok(None),
        ([a, b, ..], _) => Err(several("IPv4", a, b)),
        ([], [a, b, ..]) => Err(several("IPv6", a, b)),
    }
}

/// Where to listen; empty is every address.
pub(super) fn listen(
    text: &str,
    port: u16,
    interfaces: &Interfaces,
) -> Result<SocketAddr, LifecycleError> {
    if text.is_empty() {
        return Ok((Ipv4Addr::UNSPECIFIED, port).into());
    }
    let (host, port) = split(text, port).ok_or_else(|| bad(BAD_LISTEN))?;
    Ok((host_address(host, interfaces, BAD_LISTEN)?, port).into())
}

/// Lets a manager listen for the family that it tells others.
pub(super) fn listen_for(listen: &mut SocketAddr, advertise: SocketAddr) {
    if listen.ip().is_unspecified() && advertise.is_ipv6() {
        // The docker CLI says 0.0.0.0 and means everywhere; this takes IPv4, too.
        listen.set_ip(Ipv6Addr::UNSPECIFIED.into());
    }
}

/// What to tell other nodes; empty takes the listen address when that is a certain one.
pub(super) fn advertise(
    text: &str,
    listen: SocketAddr,
    interfaces: &Interfaces,
) -> Result<SocketAddr, LifecycleError> {
    let address = if text.is_empty() {
        let ip = if listen.ip().is_unspecified() {
            guess(interfaces)?
        } else {
            listen.ip()
        };
        SocketAddr::new(ip, listen.port())
    } else {
        let (host, port) = split(text, listen.port()).ok_or_else(|| bad(BAD_ADVERTISE))?;
        SocketAddr::new(host_address(host, interfaces, BAD_ADVERTISE)?, port)
    };
    if address.ip().is_unspecified() {
        Err(bad(BAD_ADVERTISE))
    } else {
        Ok(address)
    }
}

/// Where tunnel packets go; empty is the advertised address. It must be the host's own, because
/// the data plane sends from it.
pub(super) fn data_path(
    text: &str,
    advertised: IpAddr,
    interfaces: &Interfaces,
) -> Result<IpAddr, LifecycleError> {
    let ip = if text.is_empty() {
        advertised
    } else {
        host_address(text, interfaces, BAD_DATA_PATH)?
    };
    if ip.is_unspecified() {
        return Err(bad(BAD_DATA_PATH));
    }
    if !interfaces.values().flatten().any(|own| *own == ip) {
        return Err(bad(format!(
            "{ip} is not an address of this host, so tunnels cannot use it; name one of its own \
             with --data-path-addr or --advertise-addr"
        )));
    }
    if matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local()) {
        return Err(bad(format!(
            "{ip} is valid on one link only, so tunnels cannot use it; name another address of \
             this host with --data-path-addr or --advertise-addr"
        )));
    }
    Ok(ip)
}

/// UDP port of tunnels; 0 is the default.
pub(super) fn data_path_port(port: u32) -> Result<u16, LifecycleError> {
    const DEFAULT: u16 = 4789;
    match port {
        0 => Ok(DEFAULT),
        1024..=49151 => {
            u16::try_from(port).map_err(|e| bad(format!("invalid data path port: {e}")))
        }
        _ => Err(bad(
            "data path port must be between 1024 and 49151".to_owned()
        )),
    }
}

/// `host[:port]` of a manager to join.
pub(super) fn remote(text: &str, default_port: u16) -> Result<String, LifecycleError> {
    let refused = || {
        bad(format!(
            "\"{text}\" is not the address of a manager (host[:port])"
        ))
    };
    let (host, port) = split(text, default_port).ok_or_else(refused)?;
    match host.parse() {
        Ok(ip @ IpAddr::V6(_)) => Ok(SocketAddr::new(ip, port).to_string()),
        Ok(IpAddr::V4(_)) | Err(_) if host.is_empty() => Err(refused()),
        Ok(IpAddr::V4(_)) | Err(_) => Ok(format!("{host}:{port}")),
    }
}

/// This host's address on the way to `peer`. Sends nothing.
pub(super) fn towards(peer: SocketAddr) -> Result<IpAddr, LifecycleError> {
    let local = || {
        let any: SocketAddr = match peer {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any)?;
        socket.connect(peer)?;
        socket.local_addr()
    };
    local().map(|a| a.ip()).map_err(|e| {
        bad(format!(
            "this host has no route to the manager at {peer}: {e}"
        ))
    })
}

/// The address of this host, when there is only one that it can be. The docker CLI adds the way
/// out (`--advertise-addr`) to these texts.
fn guess(interfaces: &Interfaces) -> Result<IpAddr, LifecycleError> {
    const AMBIGUOUS: &str = "could not choose an IP address to advertise since this system has \
                             multiple addresses";
    let mut chosen: Option<(&str, IpAddr)> = None;
    for (name, addresses) in interfaces {
        let internal = INTERNAL.iter().any(|prefix| name.starts_with(prefix));
        if internal || addresses.iter().any(IpAddr::is_loopback) {
            continue;
        }
        let ip = one_of(addresses, |_, a, b| {
            bad(format!("{AMBIGUOUS} on interface {name} ({a} and {b})"))
        })?;
        match (chosen, ip) {
            (_, None) => {}
            (None, Some(ip)) => chosen = Some((name, ip)),
            (Some((other, first)), Some(ip)) => {
                return Err(bad(format!(
                    "{AMBIGUOUS} on different interfaces ({first} on {other} and {ip} on {name})"
                )));
            }
        }
    }
    chosen
        .map(|(_, ip)| ip)
        .ok_or_else(|| bad("could not find the system's IP address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(interfaces: &[(&str, &[&str])]) -> Interfaces {
        let addresses = |list: &[&str]| list.iter().map(|a| a.parse().unwrap()).collect();
        interfaces
            .iter()
            .map(|(n, a)| ((*n).to_owned(), addresses(a)))
            .collect()
    }

    fn simple() -> Interfaces {
        host(&[
            ("lo", &["127.0.0.1", "::1"]),
            ("eth0", &["192.0.2.5", "fe80::1"]),
            ("docker0", &["172.17.0.1"]),
        ])
    }

    fn advertised(text: &str, interfaces: &Interfaces) -> Result<String, String> {
        let listen = listen("", 2377, interfaces).unwrap();
        advertise(text, listen, interfaces)
            .map(|a| a.to_string())
            .map_err(|e| e.to_string())
    }

    #[test]
    fn every_form_of_an_advertised_address() {
        for (text, expected) in [
            ("", "192.0.2.5:2377"),
            ("192.0.2.9", "192.0.2.9:2377"),
            ("192.0.2.9:4000", "192.0.2.9:4000"),
            ("eth0", "192.0.2.5:2377"),
            ("eth0:4000", "192.0.2.5:4000"),
            ("2001:db8::1", "[2001:db8::1]:2377"),
            ("[2001:db8::1]:4000", "[2001:db8::1]:4000"),
        ] {
            assert_eq!(
                advertised(text, &simple()).as_deref(),
                Ok(expected),
                "{text}"
            );
        }
    }

    #[test]
    fn nonsense_is_refused_in_dockers_words() {
        for text in [
            "0.0.0.0",
            "eth7",
            "192.0.2.9:0",
            "192.0.2.9:x",
            "::",
            "[::1",
            "a b",
        ] {
            assert_eq!(
                advertised(text, &simple()).unwrap_err(),
                BAD_ADVERTISE,
                "{text}"
            );
        }
    }

    #[test]
    fn a_host_with_several_addresses_must_say_which() {
        let two_interfaces = host(&[("eth0", &["192.0.2.5"]), ("eth1", &["198.51.100.7"])]);
        let error = advertised("", &two_interfaces).unwrap_err();
        assert!(
            error.contains("192.0.2.5 on eth0 and 198.51.100.7 on eth1"),
            "{error}"
        );
        let one_interface = host(&[("eth0", &["192.0.2.5", "192.0.2.6"])]);
        let error = advertised("", &one_interface).unwrap_err();
        assert!(
            error.contains("multiple addresses on interface eth0"),
            "{error}"
        );
        assert!(advertised("eth0", &one_interface).is_err());
        assert!(advertised("", &host(&[("lo", &["127.0.0.1"])])).is_err());
    }

    #[test]
    fn a_certain_listen_address_is_advertised() {
        let interfaces = simple();
        let listen = listen("192.0.2.5:3000", 2377, &interfaces).unwrap();
        let advertised = advertise("", listen, &interfaces).unwrap();
        assert_eq!(advertised, "192.0.2.5:3000".parse().unwrap());
    }

    #[test]
    fn managers_to_join_get_the_default_port() {
        for (text, expected) in [
            ("192.0.2.5", "192.0.2.5:2377"),
            ("manager.example:99", "manager.example:99"),
            ("::1", "[::1]:2377"),
        ] {
            assert_eq!(remote(text, 2377).unwrap(), expected);
        }
        for text in ["", ":2377", "host:port"] {
            assert!(remote(text, 2377).is_err(), "{text}");
        }
    }

    #[test]
    fn tunnels_need_an_address_of_this_host() {
        let own: IpAddr = "192.0.2.5".parse().unwrap();
        let foreign: IpAddr = "192.0.2.9".parse().unwrap();
        let host = host(&[
            ("eth0", &["192.0.2.5", "2001:db8::5", "fe80::1"]),
            ("lo", &["127.0.0.1"]),
        ]);
        assert_eq!(data_path("", own, &host).unwrap(), own);
        assert_eq!(data_path("192.0.2.5", foreign, &host).unwrap(), own);
        assert_eq!(data_path("eth0", foreign, &host).unwrap(), own);
        let own_v6: IpAddr = "2001:db8::5".parse().unwrap();
        assert_eq!(data_path("", own_v6, &host).unwrap(), own_v6);
        assert_eq!(data_path("2001:db8::5", own, &host).unwrap(), own_v6);
        for (text, advertised, expected) in [
            ("", foreign, "192.0.2.9 is not an address of this host"),
            ("192.0.2.9", own, "192.0.2.9 is not an address of this host"),
            ("fe80::1", own, "fe80::1 is valid on one link only"),
            ("0.0.0.0", own, BAD_DATA_PATH),
            ("eth7", own, BAD_DATA_PATH),
        ] {
            let error = data_path(text, advertised, &host).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn tunnel_ports_are_in_dockers_range() {
        assert_eq!(data_path_port(0).unwrap(), 4789);
        assert_eq!(data_path_port(7789).unwrap(), 7789);
        for port in [1, 1023, 49152, 70000] {
            assert!(data_path_port(port).is_err());
        }
    }
}
