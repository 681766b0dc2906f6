//! Placement constraints: `node.labels.zone==a`.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::objects::Node;
use crate::objects::node::Role;

/// An expression that no node could be checked against.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConstraint {
    /// There is no operator in it.
    #[error("constraint \"{0}\": expected one operator from ==, !=")]
    NoOperator(String),
    /// It asks for something that nodes do not have.
    #[error(
        "constraint \"{0}\": unknown key; use node.id, node.hostname, node.ip, node.role, \
         node.platform.os, node.platform.arch, node.labels.NAME or engine.labels.NAME"
    )]
    UnknownKey(String),
    /// The value cannot be one of the key's.
    #[error("constraint \"{0}\": value \"{1}\" is invalid")]
    InvalidValue(String, String),
}

/// A condition on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint {
    subject: Subject,
    equal: bool,
    value: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Subject {
    Id,
    Hostname,
    Address(IpNet),
    Role,
    Os,
    Architecture,
    NodeLabel(String),
    EngineLabel(String),
}

impl Constraint {
    /// Parses an expression as the user wrote it.
    pub fn parse(expression: &str) -> Result<Self, InvalidConstraint> {
        let (key, value, equal) = split(expression)
            .ok_or_else(|| InvalidConstraint::NoOperator(expression.to_owned()))?;
        let bad_value = || InvalidConstraint::InvalidValue(expression.to_owned(), value.to_owned());
        if value.is_empty() || value.chars().any(char::is_control) {
            return Err(bad_value());
        }
        let subject = match key.to_lowercase().as_str() {
            "node.id" => Subject::Id,
            "node.hostname" => Subject::Hostname,
            "node.ip" => Subject::Address(parse_range(value).ok_or_else(bad_value)?),
            "node.role" if matches!(value.to_lowercase().as_str(), "worker" | "manager") => {
                Subject::Role
            }
            "node.role" => return Err(bad_value()),
            "node.platform.os" => Subject::Os,
            "node.platform.arch" => Subject::Architecture,
            _ => label(key).ok_or_else(|| InvalidConstraint::UnknownKey(expression.to_owned()))?,
        };
        Ok(Self {
            subject,
            equal,
            value: value.to_owned(),
        })
    }

    /// Whether the node meets the condition. Values are compared without regard to case; a label
    /// that a node does not have is equal to nothing.
    pub fn holds(&self, node: &Node) -> bool {
        let description = node.description.as_ref();
        let same = |has: Option<&str>| has.is_some_and(|h| h.eq_ignore_ascii_case(&self.value));
        let matches = match &self.subject {
            Subject::Id => node.id.as_str() == self.value,
            Subject::Hostname => same(description.map(|d| d.hostname.as_str())),
            Subject::Address(range) => node.status.address.is_some_and(|a| range.contains(&a)),
            Subject::Role => same(Some(match node.spec.role {
                Role::Worker => "worker",
                Role::Manager => "manager",
            })),
            Subject::Os => same(description.map(|d| d.os.as_str())),
            Subject::Architecture => same(description.map(|d| d.architecture.as_str())),
            Subject::NodeLabel(name) => same(node.spec.labels.get(name).map(String::as_str)),
            Subject::EngineLabel(name) => same(
                description
                    .and_then(|d| d.engine_labels.get(name))
                    .map(String::as_str),
            ),
        };
        matches == self.equal
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operator = if self.equal { "==" } else { "!=" };
        write!(f, "{:?} {operator} {}", self.subject, self.value)
    }
}

fn split(expression: &str) -> Option<(&str, &str, bool)> {
    let with = |operator: &str| expression.split_once(operator);
    let (key, value, equal) = match (with("=="), with("!=")) {
        (Some((key, value)), None) => (key, value, true),
        (None, Some((key, value))) => (key, value, false),
        _ => return None,
    };
    Some((key.trim(), value.trim(), equal))
}

fn parse_range(value: &str) -> Option<IpNet> {
    value
        .parse()
        .ok()
        .or_else(|| value.parse::<IpAddr>().ok().map(IpNet::from))
}

fn label(key: &str) -> Option<Subject> {
    let named = |prefix: &str| {
        let head = key.get(..prefix.len())?;
        let name = key.get(prefix.len()..)?;
        (head.eq_ignore_ascii_case(prefix) && !name.is_empty()).then(|| name.to_owned())
    };
    named("node.labels.")
        .map(Subject::NodeLabel)
        .or_else(|| named("engine.labels.").map(Subject::EngineLabel))
}
