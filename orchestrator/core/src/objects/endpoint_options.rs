//! What Docker's API has no fields for: options of a service's endpoint, given as labels of the
//! service.
//!
//! Every label below `orch.` is ours. One that is not known is refused: an option that is spelled
//! wrong must not be silently without effect. docs/guide/service-options.md tells users of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::Labels;
use super::cluster_options::HOST_LOSS_DELAY;
use super::service::{EndpointSpec, PortConfig};
use crate::network::{Protocol, Sources};
use crate::time;

/// What the key of every option begins with.
pub const OPTION_PREFIX: &str = "orch.endpoint.";
/// Labels below this are ours.
pub(super) const RESERVED: &str = "orch.";
const KNOWN: &str = "affinity, dsr, drain, publish.PORT/PROTOCOL.address, \
                     publish.PORT/PROTOCOL.allow, publish.PORT/PROTOCOL.deny";

/// How long a client keeps its backend if nothing is said: three hours, as in Kubernetes.
const DEFAULT_AFFINITY: u32 = 10_800;
const MAX_AFFINITY: u32 = 86_400;

/// The options of a service's endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointOptions {
    /// For how many seconds after its last conversation a client comes to the same task again.
    pub affinity: Option<u32>,
    /// Whether replies leave a task's host straight to the client (direct server return).
    pub direct_return: bool,
    /// How long a task that is to stop goes on for the conversations that it has.
    pub drain: Duration,
    /// Options of single ports, by the port inside the task.
    pub ports: BTreeMap<(u16, Protocol), PortOptions>,
}

/// The options of one published port.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PortOptions {
    /// The only address of a host that answers.
    pub address: Option<IpAddr>,
    /// Which clients may come.
    pub sources: Sources,
}

/// A label that is no option, or one with a value that it cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// There is no such option.
    #[error("label {label} is not known; labels below \"orch.endpoint.\" are: {KNOWN}")]
    Unknown {
        /// The label's key.
        label: String,
    },
    /// There is no such option of a swarm.
    #[error("label {label} is not known; a swarm's label below \"orch.\" is: {HOST_LOSS_DELAY}")]
    UnknownOfSwarm {
        /// The label's key.
        label: String,
    },
    /// The value makes no sense.
    #[error("label {label}: \"{value}\" is not {expected}")]
    Value {
        /// The label's key.
        label: String,
        /// Its value.
        value: String,
        /// What is right.
        expected: &'static str,
    },
    /// The option is about a port that the service does not publish.
    #[error("label {label}: port {port} of the tasks is not published")]
    NotPublished {
        /// The label's key.
        label: String,
        /// The port inside the task with its protocol.
        port: String,
    },
    /// A range is both allowed and denied.
    #[error("clients in {range} are both allowed and denied at port {port}")]
    Contradiction {
        /// The range.
        range: IpNet,
        /// The port inside the task with its protocol.
        port: String,
    },
}

impl EndpointOptions {
    /// The options that a service's labels give. Labels that are not ours do not matter.
    pub fn from_labels(labels: &Labels) -> Result<Self, OptionError> {
        let mut options = Self::default();
        for (label, value) in labels.iter().filter(|(key, _)| key.starts_with(RESERVED)) {
            options.set(label, value)?;
        }
        for ((target, protocol), port) in &options.ports {
            let Sources { allow, deny } = &port.sources;
            if let Some(range) = allow.intersection(deny).next() {
                return Err(OptionError::Contradiction {
                    range: *range,
                    port: format!("{target}/{protocol}"),
                });
            }
        }
        Ok(options)
    }

    /// Checks that the options of ports are about ports that are published.
    pub fn check_ports(&self, spec: &EndpointSpec) -> Result<(), OptionError> {
        let published: BTreeSet<_> = spec.ports.iter().map(|p| (p.target, p.protocol)).collect();
        match self.ports.keys().find(|key| !published.contains(key)) {
            None => Ok(()),
            Some((target, protocol)) => Err(OptionError::NotPublished {
                label: port_label(*target, *protocol, "..."),
                port: format!("{target}/{protocol}"),
            }),
        }
    }

    /// The options of a published port.
    pub fn of_port(&self, port: &PortConfig) -> PortOptions {
        let own = self.ports.get(&(port.target, port.protocol));
        own.cloned().unwrap_or_default()
    }

    /// Whether `ours` would answer clients that `theirs`, a port with these other options, answers:
    /// the same number and protocol, and not each at an address of its own.
    pub fn clash(&self, ours: &PortConfig, others: &Self, theirs: &PortConfig) -> bool {
        let apart = match (self.of_port(ours).address, others.of_port(theirs).address) {
            (Some(here), Some(there)) => here != there,
            (None, _) | (_, None) => false,
        };
        ours.published.is_some()
            && ours.published == theirs.published
            && ours.protocol == theirs.protocol
            && !apart
    }

    fn set(&mut self, label: &str, value: &str) -> Result<(), OptionError> {
        let refuse = |expected| OptionError::Value {
            label: label.to_owned(),
            value: value.to_owned(),
            expected,
        };
        let unknown = || OptionError::Unknown {
            label: label.to_owned(),
        };
        match label.strip_prefix(OPTION_PREFIX).ok_or_else(unknown)? {
            "affinity" => self.affinity = Some(parse_affinity(value).map_err(refuse)?),
            "dsr" => {
                self.direct_return = value.parse().map_err(|_| refuse("\"true\" or \"false\""))?;
            }
            "drain" => self.drain = parse_option_time(value).map_err(refuse)?,
            key => {
                let (port, option) = parse_port_key(key).ok_or_else(unknown)?;
                let of_port = self.ports.entry(port).or_default();
                match option {
                    "address" => of_port.address = Some(parse_address(value).map_err(refuse)?),
                    "allow" => of_port.sources.allow = parse_ranges(value).map_err(refuse)?,
                    "deny" => of_port.sources.deny = parse_ranges(value).map_err(refuse)?,
                    _ => return Err(unknown()),
                }
            }
        }
        Ok(())
    }
}

/// The label that gives an option of a published port.
pub fn port_label(target: u16, protocol: Protocol, option: &str) -> String {
    format!("{OPTION_PREFIX}publish.{target}/{protocol}.{option}")
}

/// `publish.80/tcp.allow` as the port and `allow`.
fn parse_port_key(key: &str) -> Option<((u16, Protocol), &str)> {
    let (port, option) = key.strip_prefix("publish.")?.rsplit_once('.')?;
    let (target, protocol) = port.split_once('/')?;
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => return None,
    };
    // As we write it, so that no port has two keys.
    let number: u16 = target.parse().ok()?;
    (number != 0 && number.to_string() == target).then_some(((number, protocol), option))
}

fn parse_affinity(value: &str) -> Result<u32, &'static str> {
    const RIGHT: &str = "\"client-ip\" or \"client-ip:SECONDS\" with 1 to 86400 seconds";
    let rest = value.strip_prefix("client-ip").ok_or(RIGHT)?;
    if rest.is_empty() {
        return Ok(DEFAULT_AFFINITY);
    }
    let seconds = rest.strip_prefix(':').and_then(|s| s.parse().ok());
    seconds
        .filter(|seconds| (1..=MAX_AFFINITY).contains(seconds))
        .ok_or(RIGHT)
}

/// A time of an option.
pub(super) fn parse_option_time(value: &str) -> Result<Duration, &'static str> {
    const MAX: Duration = Duration::from_secs(86_400);
    const RIGHT: &str = "a time such as 500ms, 30s or 1m30s, 24h at most";
    time::parse_span(value)
        .filter(|span| *span <= MAX)
        .ok_or(RIGHT)
}

fn parse_address(value: &str) -> Result<IpAddr, &'static str> {
    const RIGHT: &str = "an address that a host can have on its network (without this label, \
                         every address answers)";
    let address: IpAddr = value.parse().map_err(|_| RIGHT)?;
    let address = address.to_canonical();
    if address.is_unspecified() || address.is_multicast() || address.is_loopback() {
        return Err(RIGHT);
    }
    Ok(address)
}

fn parse_ranges(value: &str) -> Result<BTreeSet<IpNet>, &'static str> {
    const RIGHT: &str = "a list such as 10.0.0.0/8,192.0.2.7,2001:db8::/32 (no bits set behind a \
                         prefix)";
    let range = |text: &str| {
        let text = text.trim();
        let alone = || text.parse::<IpAddr>().map(IpNet::from);
        let range = text.parse::<IpNet>().or_else(|_| alone()).ok()?;
        (range.trunc() == range).then_some(range)
    };
    value
        .split(',')
        .map(|text| range(text).ok_or(RIGHT))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(labels: &[(&str, &str)]) -> Result<EndpointOptions, OptionError> {
        let labels = labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        EndpointOptions::from_labels(&labels.collect())
    }

    #[test]
    fn labels_become_options() {
        let options = parse(&[
            ("com.example.tier", "front"),
            ("orch.endpoint.affinity", "client-ip:600"),
            ("orch.endpoint.dsr", "true"),
            ("orch.endpoint.drain", "1m30s"),
            ("orch.endpoint.publish.80/tcp.address", "192.0.2.1"),
            (
                "orch.endpoint.publish.80/tcp.allow",
                "10.0.0.0/8, 2001:db8::/32",
            ),
            ("orch.endpoint.publish.53/udp.deny", "192.0.2.7"),
        ])
        .unwrap();
        assert_eq!(options.affinity, Some(600));
        assert!(options.direct_return);
        assert_eq!(options.drain, Duration::from_secs(90));
        let web = &options.ports[&(80, Protocol::Tcp)];
        assert_eq!(web.address, Some("192.0.2.1".parse().unwrap()));
        let allowed = ["10.0.0.0/8", "2001:db8::/32"].map(|range| range.parse().unwrap());
        assert_eq!(web.sources.allow, BTreeSet::from(allowed));
        let names = &options.ports[&(53, Protocol::Udp)];
        let denied = BTreeSet::from(["192.0.2.7/32".parse().unwrap()]);
        assert_eq!(names.sources.deny, denied);
        assert_eq!(names.address, None);
    }

    #[test]
    fn without_labels_a_service_has_dockers_behaviour() {
        assert_eq!(parse(&[]).unwrap(), EndpointOptions::default());
        let affinity = parse(&[("orch.endpoint.affinity", "client-ip")]).unwrap();
        assert_eq!(affinity.affinity, Some(10_800));
    }

    #[test]
    fn unknown_labels_of_ours_are_refused_by_name() {
        for label in [
            "orch.endpoint.afinity",
            "orch.endpoint.",
            "orch.affinity",
            "orch.endpoint.publish.80/tcp.adress",
            "orch.endpoint.publish.80.allow",
            "orch.endpoint.publish.080/tcp.allow",
            "orch.endpoint.publish.0/tcp.allow",
            "orch.endpoint.publish.80/icmp.allow",
        ] {
            let error = parse(&[(label, "true")]).unwrap_err();
            let unknown = OptionError::Unknown {
                label: label.to_owned(),
            };
            assert_eq!(error, unknown);
            assert!(error.to_string().contains("publish.PORT/PROTOCOL.allow"));
        }
    }

    #[test]
    fn bad_values_are_refused_with_label_value_and_what_is_right() {
        let port = "orch.endpoint.publish.80/tcp";
        for (label, value, right) in [
            ("orch.endpoint.affinity", "cookie", "client-ip"),
            ("orch.endpoint.affinity", "client-ip:0", "1 to 86400"),
            ("orch.endpoint.affinity", "client-ip:86401", "1 to 86400"),
            ("orch.endpoint.affinity", "client-ipx", "1 to 86400"),
            ("orch.endpoint.dsr", "yes", "\"true\" or \"false\""),
            ("orch.endpoint.drain", "30", "such as 500ms"),
            ("orch.endpoint.drain", "", "such as 500ms"),
            ("orch.endpoint.drain", "25h", "24h at most"),
            ("orch.endpoint.drain", "99999999999999999999h", "24h"),
            (&format!("{port}.address"), "0.0.0.0", "an address"),
            (&format!("{port}.address"), "127.0.0.1", "an address"),
            (&format!("{port}.address"), "n1", "an address"),
            (&format!("{port}.allow"), "10.0.0.1/8", "no bits set"),
            (&format!("{port}.allow"), "", "a list such as"),
            (&format!("{port}.deny"), "10.0.0.0/33", "a list such as"),
        ] {
            let error = parse(&[(label, value)]).unwrap_err().to_string();
            for part in [label, &format!("\"{value}\""), right] {
                assert!(error.contains(part), "{error} lacks {part}");
            }
        }
    }

    #[test]
    fn a_range_is_not_both_allowed_and_denied() {
        let error = parse(&[
            ("orch.endpoint.publish.80/tcp.allow", "10.0.0.0/8"),
            ("orch.endpoint.publish.80/tcp.deny", "10.0.0.0/8"),
        ]);
        assert!(matches!(error, Err(OptionError::Contradiction { .. })));
    }
}
