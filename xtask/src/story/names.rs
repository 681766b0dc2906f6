//! What busybox's `nslookup` says, as a set of addresses.

use std::collections::BTreeSet;

use anyhow::Result;

use super::cluster::Task;
use super::stage::{Stage, ensure};

/// Looks `name` up in a task's container until it stands for exactly `expected`.
pub fn resolves(
    stage: &Stage,
    from: &Task,
    name: &str,
    claim: &str,
    expected: &BTreeSet<String>,
) -> Result<()> {
    let words = format!("nslookup -type=a {name}");
    stage
        .inside_until(from, &words, claim, |output| {
            let found = addresses(&output.stdout);
            ensure(
                found == *expected,
                format!("{found:?} instead of {expected:?}"),
            )
        })
        .map(drop)
}

/// The addresses after the first `Name:`; the one before it is the name server's own.
pub fn addresses(answer: &str) -> BTreeSet<String> {
    answer
        .lines()
        .skip_while(|line| !line.starts_with("Name:"))
        .filter(|line| line.starts_with("Address"))
        .filter_map(|line| line.rsplit(": ").next())
        .map(|address| address.trim().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_own_address_is_no_answer() {
        let answer = "Server:\t\t127.0.0.11\nAddress:\t127.0.0.11:53\n\nNon-authoritative answer:\n\
                      Name:\ttasks.web\nAddress: 10.0.10.3\nName:\ttasks.web\nAddress: 10.0.10.4\n";
        let expected = ["10.0.10.3", "10.0.10.4"].map(str::to_owned);
        assert_eq!(addresses(answer), BTreeSet::from(expected));
    }
}
