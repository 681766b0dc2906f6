//! What Docker's API has no fields for: options of the swarm, given as labels of its spec.

use std::time::Duration;

use super::Labels;
use super::endpoint_options::{OptionError, RESERVED, parse_option_time};

/// How long the tasks of a host that does not answer are waited for.
pub const HOST_LOSS_DELAY: &str = "orch.host-loss-delay";

/// The options of a swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterOptions {
    /// How long the tasks of a host that does not answer are waited for before they are replaced.
    /// Clients are not led there meanwhile.
    pub host_loss_delay: Duration,
}

impl Default for ClusterOptions {
    /// With it, tasks of a host that is gone are replaced within 5 s.
    fn default() -> Self {
        Self {
            host_loss_delay: Duration::from_millis(2500),
        }
    }
}

impl ClusterOptions {
    /// The options that a swarm's labels give. Labels that are not ours do not matter.
    pub fn from_labels(labels: &Labels) -> Result<Self, OptionError> {
        let mut options = Self::default();
        for (label, value) in labels.iter().filter(|(key, _)| key.starts_with(RESERVED)) {
            match label.as_str() {
                HOST_LOSS_DELAY => {
                    options.host_loss_delay =
                        parse_option_time(value).map_err(|expected| OptionError::Value {
                            label: label.clone(),
                            value: value.clone(),
                            expected,
                        })?;
                }
                _ => {
                    return Err(OptionError::UnknownOfSwarm {
                        label: label.clone(),
                    });
                }
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(label: &str, value: &str) -> Result<ClusterOptions, String> {
        let labels = Labels::from([(label.to_owned(), value.to_owned())]);
        ClusterOptions::from_labels(&labels).map_err(|error| error.to_string())
    }

    #[test]
    fn a_host_may_be_waited_for_longer() {
        let delay = |value| parsed(HOST_LOSS_DELAY, value).map(|o| o.host_loss_delay);
        assert_eq!(delay("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(delay("0s"), Ok(Duration::ZERO));
        assert_eq!(parsed("mine", "x"), Ok(ClusterOptions::default()));
    }

    #[test]
    fn what_is_spelled_wrong_is_refused() {
        let refused = parsed("orch.host-loss-dely", "1s").unwrap_err();
        assert!(refused.contains(HOST_LOSS_DELAY), "{refused}");
        let refused = parsed(HOST_LOSS_DELAY, "soon").unwrap_err();
        assert!(refused.contains("\"soon\" is not a time"), "{refused}");
    }
}
