//! Words of the Engine API and what they mean here: one table per vocabulary, read both ways.

use orch_core::network::Protocol;
use orch_core::objects::node::{Availability, NodeState, Role};
use orch_core::objects::service::{
    EndpointMode, FailureAction, PublishMode, UpdateOrder, UpdateState,
};
use orch_core::objects::task::RestartCondition;

use super::ConvertError;

/// A vocabulary: every word and its meaning.
pub type Words<T> = [(&'static str, T)];

/// When an update fails.
pub const FAILURE_ACTIONS: &Words<FailureAction> = &[
    ("pause", FailureAction::Pause),
    ("continue", FailureAction::Continue),
    ("rollback", FailureAction::Rollback),
];

/// Which task goes first.
pub const UPDATE_ORDERS: &Words<UpdateOrder> = &[
    ("stop-first", UpdateOrder::StopFirst),
    ("start-first", UpdateOrder::StartFirst),
];

/// Where an update stands.
pub const UPDATE_STATES: &Words<UpdateState> = &[
    ("updating", UpdateState::Updating),
    ("paused", UpdateState::Paused),
    ("completed", UpdateState::Completed),
    ("rollback_started", UpdateState::RollbackStarted),
    ("rollback_paused", UpdateState::RollbackPaused),
    ("rollback_completed", UpdateState::RollbackCompleted),
];

/// After which ends a task is replaced.
pub const RESTART_CONDITIONS: &Words<RestartCondition> = &[
    ("none", RestartCondition::None),
    ("on-failure", RestartCondition::OnFailure),
    ("any", RestartCondition::Any),
];

/// What a service's name stands for.
pub const ENDPOINT_MODES: &Words<EndpointMode> = &[
    ("vip", EndpointMode::Vip),
    ("dnsrr", EndpointMode::DnsRoundRobin),
];

/// Where a published port answers.
pub const PUBLISH_MODES: &Words<PublishMode> = &[
    ("ingress", PublishMode::Ingress),
    ("host", PublishMode::Host),
];

/// Transport protocols.
pub const PROTOCOLS: &Words<Protocol> = &[
    ("tcp", Protocol::Tcp),
    ("udp", Protocol::Udp),
    ("sctp", Protocol::Sctp),
];

/// Roles of nodes.
pub const ROLES: &Words<Role> = &[("worker", Role::Worker), ("manager", Role::Manager)];

/// Whether tasks may be placed on a node.
pub const AVAILABILITIES: &Words<Availability> = &[
    ("active", Availability::Active),
    ("pause", Availability::Pause),
    ("drain", Availability::Drain),
];

/// Health of a node.
pub const NODE_STATES: &Words<NodeState> = &[
    ("unknown", NodeState::Unknown),
    ("down", NodeState::Down),
    ("ready", NodeState::Ready),
    ("disconnected", NodeState::Disconnected),
    // Docker has no word of its own for it; what matters is that it is neither ready nor down.
    ("unknown", NodeState::Unreachable),
];

/// What `word` means; an empty word was not given.
pub fn parse<T: Copy>(
    field: &'static str,
    words: &Words<T>,
    word: &str,
) -> Result<Option<T>, ConvertError> {
    if word.is_empty() {
        return Ok(None);
    }
    match words.iter().find(|(known, _)| *known == word) {
        Some((_, meaning)) => Ok(Some(*meaning)),
        None => {
            let known: Vec<_> = words.iter().map(|(known, _)| *known).collect();
            let reason = format!("\"{word}\" is not one of {}", known.join(", "));
            Err(ConvertError::invalid(field, reason))
        }
    }
}

/// The word for `meaning`. Every table is complete, so there always is one.
pub fn word<T: PartialEq>(words: &Words<T>, meaning: T) -> &'static str {
    words
        .iter()
        .find(|(_, known)| *known == meaning)
        .map_or("", |(word, _)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_words_are_refused_with_the_known_ones() {
        let error = parse("FailureAction", FAILURE_ACTIONS, "panic").unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid FailureAction: \"panic\" is not one of pause, continue, rollback"
        );
        assert_eq!(parse("FailureAction", FAILURE_ACTIONS, ""), Ok(None));
    }

    #[test]
    fn every_meaning_has_its_word() {
        for (known, meaning) in UPDATE_STATES {
            assert_eq!(word(UPDATE_STATES, *meaning), *known);
        }
    }
}
