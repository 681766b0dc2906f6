//! `net ...`

use std::time::Duration;

use anyhow::{Result, bail};

use super::inspect::print_formatted;
use crate::{
    args::{NetCommand, NetDrops, NetList, NetServices, NetTrace},
    client::{Client, decode},
    model::{Counters, DropCount, Tables, Trace},
    output, view,
};

/// Runs one verb.
pub async fn run(client: &Client, command: NetCommand) -> Result<()> {
    match command {
        NetCommand::Drops(args) => drops(client, &args).await,
        NetCommand::Ls(args) => list(client, &args).await,
        NetCommand::Services(args) => services(client, &args).await,
        NetCommand::Trace(args) => trace(client, &args).await,
    }
}

async fn drops(client: &Client, args: &NetDrops) -> Result<()> {
    let drops: Vec<DropCount> = client.get_orch("/net/drops").json().await?;
    let rows = view::drop_rows(&drops, args.all);
    output::print(&view::DROPS.render(&rows, args.format.as_deref(), false)?)?;
    Ok(())
}

/// Prints the maps, or one map's entries, and then what was not as it must be.
async fn list(client: &Client, args: &NetList) -> Result<()> {
    let mut call = match args.no_heal {
        true => client.get_orch("/net/tables"),
        false => client.post_orch("/net/tables"),
    };
    if let Some(map) = &args.map {
        call = call.query("map", map);
    }
    let tables: Tables = call.json().await?;
    let format = args.format.as_deref();
    output::print(&match &tables.entries {
        Some(entries) => view::ENTRIES.render(&view::entry_rows(entries), format, false)?,
        None => view::MAPS.render(&view::map_rows(&tables.maps), format, false)?,
    })?;
    for difference in &tables.differences {
        output::diagnostic(&view::difference(difference, tables.healed));
    }
    match tables.differences.len() {
        0 => Ok(()),
        _ if tables.healed => Ok(()),
        count => bail!("{count} entries differ; \"orchctl net ls\" puts them right"),
    }
}

async fn trace(client: &Client, args: &NetTrace) -> Result<()> {
    let mut call = client
        .get_orch("/net/trace")
        .query("from", &args.from)
        .query("to", &args.to);
    if let Some(network) = &args.network {
        call = call.query("network", network);
    }
    let text = call.text().await?;
    if let Some(format) = &args.format {
        return print_formatted(&text, format);
    }
    let trace: Trace = decode(&text)?;
    output::print(&view::trace(&trace))?;
    Ok(())
}

/// Looks twice: what was begun in between gives the rate.
async fn services(client: &Client, args: &NetServices) -> Result<()> {
    let look = async || {
        let counters: Counters = client.get_orch("/net/services").json().await?;
        anyhow::Ok(counters)
    };
    let before = look().await?;
    let nanos = u64::try_from(args.interval.0).unwrap_or_default();
    tokio::time::sleep(Duration::from_nanos(nanos)).await;
    let rows = view::counter_rows(&before, &look().await?);
    output::print(&view::COUNTERS.render(&rows, args.format.as_deref(), false)?)?;
    Ok(())
}
