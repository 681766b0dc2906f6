//! `network ...`

use anyhow::Result;

use super::{each, filters, inspect::inspect, warn};
use crate::{
    args::{NetworkCommand, NetworkCreate, NetworkList},
    client::{Client, segment},
    model::{Created, Network},
    output, spec, view,
};

/// Runs one verb.
pub async fn run(client: &Client, command: NetworkCommand) -> Result<()> {
    match command {
        NetworkCommand::Create(args) => create(client, &args).await,
        NetworkCommand::Ls(args) => list(client, &args).await,
        NetworkCommand::Inspect(args) => {
            inspect(&args.networks, args.format.as_deref(), async |reference| {
                let mut call = client.get(&format!("/networks/{}", segment(reference)));
                if args.verbose {
                    call = call.query("verbose", "true");
                }
                Ok(call.text().await?)
            })
            .await
        }
        NetworkCommand::Rm(args) => {
            each(&args.networks, async |network| {
                let removed = client
                    .delete(&format!("/networks/{}", segment(network)))
                    .done()
                    .await;
                match removed {
                    Err(error) if args.force && error.is_not_found() => {}
                    result => result?,
                }
                Ok(network.to_owned())
            })
            .await
        }
    }
}

async fn create(client: &Client, args: &NetworkCreate) -> Result<()> {
    let request = spec::network::create(args)?;
    let created: Created = client
        .post("/networks/create")
        .body(&request)?
        .json()
        .await?;
    warn(&created.warnings);
    output::line(&created.id)?;
    Ok(())
}

async fn list(client: &Client, args: &NetworkList) -> Result<()> {
    let mut call = client.get("/networks");
    if let Some(filters) = filters::encode(&args.filters.filter) {
        call = call.query("filters", &filters);
    }
    let networks: Vec<Network> = call.json().await?;
    let rows = view::network_rows(networks, !args.no_trunc);
    output::print(&view::NETWORKS.render(&rows, args.format.as_deref(), args.quiet)?)?;
    Ok(())
}
