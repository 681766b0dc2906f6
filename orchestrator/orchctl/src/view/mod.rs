//! Models to the text docker prints. Pure: the present time is given.

mod doctor;
mod flows;
mod image;
mod info;
mod net;
mod network;
mod node;
mod node_pretty;
mod ports;
mod service;
mod service_pretty;
mod swarm;
mod task;
mod time;
mod trace;

pub use doctor::doctor;
pub use flows::{COUNTERS, FLOWS, counter_rows, flow_heading, flow_line, flow_row};
pub use info::{client_version, info, server_version};
pub use net::{DROPS, ENTRIES, MAPS, difference, drop_rows, entry_rows, map_rows};
pub use network::{NETWORKS, network_rows};
pub use node::{NODES, node_rows};
pub use node_pretty::node_pretty;
pub use service::{SERVICES, service_rows};
pub use service_pretty::service_pretty;
pub use swarm::{initialized, join_command};
pub use task::{TASKS, TaskNames, task_rows};
pub use time::seconds_since;
pub use trace::trace;

use std::cmp::Ordering;

/// Orders texts with numbers in them as people do: `node2` before `node10`.
pub fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (text_a, rest_a) = split_at_digits(a);
        let (text_b, rest_b) = split_at_digits(b);
        if text_a != text_b || rest_a.is_empty() || rest_b.is_empty() {
            return a.cmp(b);
        }
        let (number_a, after_a) = split_number(rest_a);
        let (number_b, after_b) = split_number(rest_b);
        let key = |digits: &str| digits.trim_start_matches('0').to_owned();
        let (key_a, key_b) = (key(number_a), key(number_b));
        let order = key_a.len().cmp(&key_b.len()).then(key_a.cmp(&key_b));
        if order != Ordering::Equal {
            return order;
        }
        if number_a.len() != number_b.len() {
            return number_a.len().cmp(&number_b.len());
        }
        (a, b) = (after_a, after_b);
    }
}

fn split_at_digits(text: &str) -> (&str, &str) {
    text.split_at(
        text.find(|c: char| c.is_ascii_digit())
            .unwrap_or(text.len()),
    )
}

fn split_number(text: &str) -> (&str, &str) {
    text.split_at(
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len()),
    )
}

/// An id as lists show it.
fn short_id(id: &str, truncate: bool) -> String {
    if truncate {
        id.chars().take(12).collect()
    } else {
        id.to_owned()
    }
}

/// `ready` → `Ready`.
fn capitalize(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(chars).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_order_by_value() {
        let mut names = ["n10", "n2", "n1", "m", "n2b"];
        names.sort_by(|a, b| natural_order(a, b));
        assert_eq!(names, ["m", "n1", "n2", "n2b", "n10"]);
    }
}
