//! A node becomes a manager, or is one no more.

use orch_core::dispatch::Assignment;
use orch_core::objects::node::Role;

use super::super::Membership;
use super::{Owner, failed};

impl Owner {
    /// Sees to it that the managers and this one agree on which member of the raft group it is.
    pub(super) async fn keep_place(&mut self, assignment: &Assignment) {
        let Some((running, stored)) = &mut self.running else {
            return;
        };
        let managing = running.managing.as_ref();
        if !managing.is_some_and(|m| assignment.disowns(m.member, m.since)) {
            return;
        }
        tracing::warn!("this manager was demoted and promoted again: it takes another place");
        self.membership.send_replace(Membership::Pending);
        match running.take_another_place(&self.dir, stored).await {
            Ok(()) => self.publish_member(),
            Err(error) => self.restart_later(error.to_string()).await,
        }
    }

    /// Goes on with another role, for which there is a certificate now.
    pub(super) async fn change_role(&mut self, role: Role) {
        let Some((mut running, mut stored)) = self.running.take() else {
            return;
        };
        if stored.role() == role {
            self.running = Some((running, stored));
            return;
        }
        tracing::info!(?role, "this node has another role now");
        self.publish(Membership::Pending);
        stored.manager = role == Role::Manager;
        let changed = match self.dir.save(&stored) {
            Ok(()) => running.change_role(&self.dir, &stored).await,
            Err(error) => Err(failed(error)),
        };
        self.running = Some((running, stored));
        match changed {
            Ok(()) => self.publish_member(),
            Err(error) => self.restart_later(error.to_string()).await,
        }
    }
}
