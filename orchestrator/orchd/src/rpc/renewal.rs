//! Renews a node's certificate in time.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use orch_core::dispatch::Assignment;
use tokio::sync::watch;

use super::RpcError;
use super::client::ManagerClient;
use crate::pki::PkiError;
use crate::pki::credentials::Credentials;

/// A certificate is renewed after this share of its life, as Swarm does it, ...
const EARLIEST: f64 = 0.5;
/// ... or up to this one: nodes that joined together do not ask together.
const LATEST: f64 = 0.8;
/// Pause after an attempt that failed. Of the shortest life that a cluster can be told, an hour,
/// there are ten attempts left then.
const RETRY: Duration = Duration::from_secs(60);
/// Pause before a certificate for another role is asked for again: the managers wait for it.
const ROLE_RETRY: Duration = Duration::from_secs(1);
/// The clock is looked at as often: it may be set meanwhile, and timers do not follow it.
const LOOK: Duration = Duration::from_secs(600);

/// Why there is no new certificate.
#[derive(Debug, thiserror::Error)]
pub enum RenewalError {
    /// No manager signs one.
    #[error(transparent)]
    Refused(#[from] RpcError),
    /// It cannot be kept.
    #[error(transparent)]
    Unkept(#[from] PkiError),
}

/// When to renew a certificate. `chance` is from 0 to 1.
fn due(lifetime: &Range<SystemTime>, chance: f64) -> SystemTime {
    let life = lifetime
        .end
        .duration_since(lifetime.start)
        .unwrap_or_default();
    lifetime.start + life.mul_f64(EARLIEST + (LATEST - EARLIEST) * chance)
}

async fn until(moment: SystemTime) {
    while let Ok(left) = moment.duration_since(SystemTime::now()) {
        // A little more, so that the moment is over then.
        tokio::time::sleep(left.min(LOOK) + Duration::from_millis(1)).await;
    }
}

/// The one owner of a node's credentials.
pub struct Renewer {
    /// Whom to ask.
    pub client: ManagerClient,
    /// What the node proves itself with.
    pub credentials: watch::Sender<Arc<Credentials>>,
    /// Folder where that is kept.
    pub dir: PathBuf,
    /// What the managers tell the node, its role among it.
    pub assignments: watch::Receiver<Option<Assignment>>,
}

impl Renewer {
    /// Renews the certificate whenever it is due, and whenever the node gets another role. Never
    /// ends but with an error that no time mends.
    pub async fn run(self) -> Result<(), PkiError> {
        loop {
            let lifetime = self.credentials.borrow().lifetime()?;
            let due = due(&lifetime, rand::random());
            let retry = tokio::select! {
                () = until(due) => RETRY,
                () = self.another_role() => ROLE_RETRY,
            };
            while let Err(error) = self.renew().await {
                tracing::warn!(%error, "the certificate is not renewed yet");
                tokio::time::sleep(retry).await;
            }
        }
    }

    /// Waits until the node is told another role than its certificate says.
    async fn another_role(&self) {
        let role = self.credentials.borrow().identity().role;
        let mut assignments = self.assignments.clone();
        let told = assignments.wait_for(|told| told.as_ref().is_some_and(|a| a.role != role));
        if told.await.is_err() {
            // Nobody tells anything any more: the member stops.
            std::future::pending().await
        }
    }

    /// Gets a new certificate, keeps it, and uses it from then on.
    async fn renew(&self) -> Result<(), RenewalError> {
        let old = Arc::clone(&self.credentials.borrow());
        let renewed = Arc::new(self.client.renew(&old).await?);
        // Not on a thread of its own: that would go on after the node has left, and write what was
        // removed.
        renewed.save(&self.dir)?;
        tracing::info!(role = ?renewed.identity().role, "the certificate was renewed");
        self.credentials.send_replace(renewed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_between_half_and_four_fifths_of_its_life() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let lifetime = start..start + Duration::from_secs(1000);
        let after = |chance| {
            due(&lifetime, chance)
                .duration_since(start)
                .unwrap()
                .as_secs()
        };
        assert_eq!((after(0.0), after(0.5), after(1.0)), (500, 650, 800));
        // A clock that was wrong when it was signed makes no life that is negative.
        assert_eq!(due(&(start..start - RETRY), 0.7), start);
    }
}
