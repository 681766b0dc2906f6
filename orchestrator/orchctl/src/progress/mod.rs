//! Follows a service until it is as its spec wants it, as docker's CLI does for commands that are
//! not detached.

mod converge;
mod display;

use std::{collections::BTreeSet, time::Duration};

use anyhow::bail;

pub use converge::{Progress, Verdict, observe};
pub use display::Display;

use crate::{
    client::{Client, segment},
    model::{Node, Service, Task},
    output,
};

/// How often the daemon is asked.
const POLL: Duration = Duration::from_millis(100);

/// Waits until the service converges. Ctrl-C detaches, which is a success; a paused update or
/// rollback is an error.
pub async fn follow(client: &Client, service_id: &str, quiet: bool) -> anyhow::Result<()> {
    let mut display = Display::new(quiet);
    let interrupt = tokio::signal::ctrl_c();
    tokio::pin!(interrupt);
    loop {
        let progress = ask(client, service_id).await?;
        display.show(&progress)?;
        match progress.verdict {
            Verdict::Converged => {
                display.finish(&[format!("verify: Service {service_id} converged")])?;
                return Ok(());
            }
            Verdict::Failed(reason) => {
                display.finish(&[])?;
                bail!(reason);
            }
            Verdict::Waiting => {}
        }
        tokio::select! {
            () = tokio::time::sleep(POLL) => {}
            _ = &mut interrupt => {
                display.finish(&[])?;
                output::diagnostic(&format!(
                    "Operation continuing in background.\n\
                     Use `orchctl service ps {service_id}` to check progress."
                ));
                return Ok(());
            }
        }
    }
}

async fn ask(client: &Client, service_id: &str) -> anyhow::Result<Progress> {
    let path = format!("/services/{}", segment(service_id));
    let service: Service = client.get(&path).json().await?;
    let filters = serde_json::json!({
        "service": { &service.id: true },
        "_up-to-date": { "true": true },
    });
    let tasks: Vec<Task> = client
        .get("/tasks")
        .query("filters", &filters.to_string())
        .json()
        .await?;
    let nodes: Vec<Node> = client.get("/nodes").json().await?;
    let up: BTreeSet<String> = nodes
        .into_iter()
        .filter(|node| node.status.state != "down")
        .map(|node| node.id)
        .collect();
    Ok(observe(&service, &tasks, &up))
}
