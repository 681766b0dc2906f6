//! `--publish`: the short form `[ip:][published:]target[/protocol]` with ranges, and the long form
//! `published=,target=,mode=,protocol=,host-ip=`.

use std::{fmt, net::IpAddr, str::FromStr};

use serde_json::{Map, Value, json};

use super::{FlagError, fields};

/// Where a published port listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishMode {
    /// On every host, through the routing mesh.
    Ingress,
    /// Only on the hosts that run a task.
    Host,
}

/// One port of a service's endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedPort {
    /// `tcp`, `udp` or `sctp`.
    pub protocol: &'static str,
    /// The port inside the container; never 0.
    pub target: u16,
    /// The port outside; 0 asks the manager for a free one.
    pub published: u16,
    /// Ingress or host.
    pub mode: PublishMode,
    /// The only address of a host that answers. The API has no field for it: it becomes a label.
    pub host_ip: Option<IpAddr>,
}

/// All ports that one `--publish` names: several when it is a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortSpec(pub Vec<PublishedPort>);

impl fmt::Display for PublishMode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Ingress => "ingress",
            Self::Host => "host",
        })
    }
}

impl PublishedPort {
    /// The API's shape; a port to be chosen by the manager is left out.
    pub fn to_json(&self) -> Value {
        let mut port = Map::new();
        port.insert("Protocol".into(), json!(self.protocol));
        port.insert("TargetPort".into(), json!(self.target));
        if self.published != 0 {
            port.insert("PublishedPort".into(), json!(self.published));
        }
        port.insert("PublishMode".into(), json!(self.mode.to_string()));
        Value::Object(port)
    }
}

impl FromStr for PortSpec {
    type Err = FlagError;

    fn from_str(text: &str) -> Result<Self, FlagError> {
        if text.contains('=') {
            parse_long(text)
        } else {
            parse_short(text)
        }
        .map(Self)
    }
}

fn protocol(text: &str) -> Result<&'static str, FlagError> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Ok("tcp"),
        "udp" => Ok("udp"),
        "sctp" => Ok("sctp"),
        _ => Err(FlagError::new(format!(
            "invalid protocol value '{text}': use tcp, udp or sctp"
        ))),
    }
}

fn parse_long(text: &str) -> Result<Vec<PublishedPort>, FlagError> {
    let mut port = PublishedPort {
        protocol: "tcp",
        target: 0,
        published: 0,
        mode: PublishMode::Ingress,
        host_ip: None,
    };
    let mut published = (0, 0);
    for field in fields::parse(text)? {
        let value = field.required()?;
        match field.key.as_str() {
            "protocol" => port.protocol = protocol(value)?,
            "mode" => {
                port.mode = match value {
                    "ingress" => PublishMode::Ingress,
                    "host" => PublishMode::Host,
                    _ => {
                        return Err(FlagError::new(format!(
                            "invalid publish mode value ({value}): must be either 'ingress' or \
                             'host'"
                        )));
                    }
                }
            }
            "target" => port.target = number("target port", value)?,
            "published" => published = range("published port", value)?,
            "host-ip" | "host_ip" => port.host_ip = Some(host_ip(value)?),
            key => return Err(FlagError::new(format!("invalid field key {key}"))),
        }
    }
    if port.target == 0 {
        return Err(FlagError::new("missing mandatory field \"target\""));
    }
    Ok((published.0..=published.1)
        .map(|published| PublishedPort {
            published,
            ..port.clone()
        })
        .collect())
}

fn parse_short(text: &str) -> Result<Vec<PublishedPort>, FlagError> {
    let (ports, proto) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol(proto)?;
    // An IPv6 address has colons too; Docker wants it in brackets.
    let (published, target) = ports.rsplit_once(':').unwrap_or(("", ports));
    let (address, published) = match published.rsplit_once(':') {
        Some((address, published)) => (Some(host_ip(address)?), published),
        None => (None, published),
    };
    let target = range("target port", target)?;
    if target.0 == 0 {
        return Err(FlagError::new(format!(
            "invalid target port in \"{text}\": 0 is not a port"
        )));
    }
    let published = if published.is_empty() {
        None
    } else {
        Some(range("published port", published)?)
    };
    let port = |published, target| PublishedPort {
        protocol,
        target,
        published,
        mode: PublishMode::Ingress,
        host_ip: address,
    };
    match published {
        None => Ok((target.0..=target.1)
            .map(|target| port(0, target))
            .collect()),
        Some((first, last)) if last - first == target.1 - target.0 => Ok((first..=last)
            .zip(target.0..=target.1)
            .map(|(p, t)| port(p, t))
            .collect()),
        Some((first, last)) if target.0 == target.1 => Ok((first..=last)
            .map(|published| port(published, target.0))
            .collect()),
        Some(_) => Err(FlagError::new(format!(
            "invalid ranges specified for container and host ports: \"{text}\" (they differ in \
             length)"
        ))),
    }
}

fn host_ip(text: &str) -> Result<IpAddr, FlagError> {
    let bare = text
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .unwrap_or(text);
    bare.parse()
        .map_err(|_| FlagError::new(format!("invalid host address \"{text}\"")))
}

fn number(what: &str, text: &str) -> Result<u16, FlagError> {
    text.parse().map_err(|_| {
        FlagError::new(format!(
            "invalid {what} ({text}): value must be an integer up to 65535"
        ))
    })
}

fn range(what: &str, text: &str) -> Result<(u16, u16), FlagError> {
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (number(what, first)?, number(what, last)?),
        None => (number(what, text)?, number(what, text)?),
    };
    if first > last {
        return Err(FlagError::new(format!(
            "invalid {what} range {text}: the end is smaller"
        )));
    }
    Ok((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(u16, u16, &'static str)> {
        let PortSpec(ports) = text.parse().unwrap();
        ports
            .iter()
            .map(|port| (port.published, port.target, port.protocol))
            .collect()
    }

    #[test]
    fn short_form() {
        assert_eq!(pairs("6379:6379"), [(6379, 6379, "tcp")]);
        assert_eq!(pairs("53:5353/udp"), [(53, 5353, "udp")]);
        assert_eq!(pairs("80"), [(0, 80, "tcp")]);
        assert_eq!(pairs(":80"), [(0, 80, "tcp")]);
        assert_eq!(
            pairs("8080-8081:80-81"),
            [(8080, 80, "tcp"), (8081, 81, "tcp")]
        );
        assert_eq!(
            pairs("8080-8081:80"),
            [(8080, 80, "tcp"), (8081, 80, "tcp")]
        );
    }

    #[test]
    fn both_forms_name_an_address() {
        for (text, address) in [
            ("192.0.2.1:8080:80", "192.0.2.1"),
            ("[2001:db8::1]:8080:80", "2001:db8::1"),
            ("published=8080,target=80,host-ip=192.0.2.1", "192.0.2.1"),
        ] {
            let PortSpec(ports) = text.parse().unwrap();
            let port = &ports[0];
            assert_eq!(port.host_ip, Some(address.parse().unwrap()), "{text}");
            assert_eq!((port.published, port.target), (8080, 80), "{text}");
        }
        let PortSpec(ports) = "192.0.2.1::80".parse().unwrap();
        assert_eq!((ports[0].published, ports[0].target), (0, 80));
    }

    #[test]
    fn long_form() {
        let PortSpec(ports) = "published=80,target=8080,mode=host,protocol=udp"
            .parse()
            .unwrap();
        assert_eq!(
            ports[0].to_json(),
            json!({
                "Protocol": "udp", "TargetPort": 8080, "PublishedPort": 80, "PublishMode": "host"
            })
        );
        let PortSpec(ports) = "target=80".parse().unwrap();
        assert_eq!(ports[0].to_json().get("PublishedPort"), None);
    }

    #[test]
    fn refusals_say_what_is_wrong() {
        for (text, part) in [
            ("n1:80:80", "invalid host address \"n1\""),
            ("target=80,host-ip=n1", "invalid host address \"n1\""),
            ("80:99999", "invalid target port (99999)"),
            ("80:80/icmp", "invalid protocol value 'icmp'"),
            ("published=80", "missing mandatory field \"target\""),
            ("target=80,mode=mesh", "invalid publish mode value (mesh)"),
            ("target=80,foo=1", "invalid field key foo"),
            ("80-82:90-91", "differ in length"),
            ("81-80:80", "the end is smaller"),
            ("", "invalid target port ()"),
            ("0", "0 is not a port"),
        ] {
            let error = text.parse::<PortSpec>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
