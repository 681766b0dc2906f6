//! What `swarm init`, `join-token` say.

use crate::args::TokenRole;

/// The command that joins a node, with the sentence around it.
pub fn join_command(role: TokenRole, token: &str, address: &str) -> String {
    format!(
        "To add a {} to this swarm, run the following command:\n\n    \
         orchctl swarm join --token {token} {address}\n\n",
        role.as_str()
    )
}

/// What a new manager is told.
pub fn initialized(node_id: &str, worker_token: &str, address: &str) -> String {
    format!(
        "Swarm initialized: current node ({node_id}) is now a manager.\n\n{}To add a manager to \
         this swarm, run 'orchctl swarm join-token manager' and follow the instructions.\n\n",
        join_command(TokenRole::Worker, worker_token, address)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn init_says_how_to_join() {
        assert_eq!(
            initialized("n1id", "SWMTKN-1-a-b", "10.0.0.1:2377"),
            "Swarm initialized: current node (n1id) is now a manager.\n\n\
             To add a worker to this swarm, run the following command:\n\n    \
             orchctl swarm join --token SWMTKN-1-a-b 10.0.0.1:2377\n\n\
             To add a manager to this swarm, run 'orchctl swarm join-token manager' and follow \
             the instructions.\n\n"
        );
    }
}
