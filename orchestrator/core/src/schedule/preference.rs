//! Placement preferences: spread evenly over the values of a label.

use std::collections::BTreeMap;

use crate::objects::Node;

/// Not a label to spread over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("placement preference \"{0}\": use node.labels.NAME or engine.labels.NAME")]
pub struct InvalidPreference(pub String);

/// Spread evenly over the values of a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Preference {
    /// A label of the node.
    NodeLabel(String),
    /// A label of the node's engine.
    EngineLabel(String),
}

impl Preference {
    /// Parses a spread descriptor.
    pub fn parse(descriptor: &str) -> Result<Self, InvalidPreference> {
        let named = |prefix| {
            descriptor
                .strip_prefix(prefix)
                .filter(|n: &&str| !n.is_empty())
        };
        if let Some(name) = named("node.labels.") {
            return Ok(Self::NodeLabel(name.to_owned()));
        }
        match named("engine.labels.") {
            Some(name) => Ok(Self::EngineLabel(name.to_owned())),
            None => Err(InvalidPreference(descriptor.to_owned())),
        }
    }

    fn value<'a>(&self, node: &'a Node) -> &'a str {
        let value = match self {
            Self::NodeLabel(name) => node.spec.labels.get(name),
            Self::EngineLabel(name) => node
                .description
                .as_ref()
                .and_then(|d| d.engine_labels.get(name)),
        };
        value.map_or("", String::as_str)
    }

    /// The candidates under the label value with the fewest tasks of the service; nodes without
    /// the label form one more branch. `look` gives a candidate's node and its count.
    pub(super) fn narrow<'a>(
        &self,
        candidates: Vec<usize>,
        look: impl Fn(usize) -> (&'a Node, u64),
    ) -> Vec<usize> {
        let mut branches = BTreeMap::<&str, (u64, Vec<usize>)>::new();
        for index in candidates {
            let (node, tasks) = look(index);
            let branch = branches.entry(self.value(node)).or_default();
            branch.0 += tasks;
            branch.1.push(index);
        }
        let emptiest = branches.into_values().min_by_key(|(tasks, _)| *tasks);
        emptiest.map(|(_, nodes)| nodes).unwrap_or_default()
    }
}
