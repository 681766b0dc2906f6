//! `node ...`

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::Value;

use super::{
    each, filters,
    inspect::inspect,
    lookup,
    service::{TaskQuery, print_tasks},
};
use crate::{
    args::{NodeCommand, NodeInspect, NodeList, NodePs, NodeUpdate, TokenRole},
    client::{Client, decode, segment},
    model::{Info, Node},
    output, spec, view,
};

/// Runs one verb.
pub async fn run(client: &Client, command: NodeCommand) -> Result<()> {
    match command {
        NodeCommand::Ls(args) => list(client, &args).await,
        NodeCommand::Inspect(args) => inspect_nodes(client, &args).await,
        NodeCommand::Ps(args) => tasks(client, args).await,
        NodeCommand::Update(args) => update(client, &args).await,
        NodeCommand::Promote { nodes } => set_role(client, &nodes, TokenRole::Manager).await,
        NodeCommand::Demote { nodes } => set_role(client, &nodes, TokenRole::Worker).await,
        NodeCommand::Rm(args) => {
            each(&args.nodes, async |node| {
                let mut call = client.delete(&format!("/nodes/{}", segment(node)));
                if args.force {
                    call = call.query("force", "1");
                }
                call.done().await?;
                Ok(node.to_owned())
            })
            .await
        }
    }
}

async fn list(client: &Client, args: &NodeList) -> Result<()> {
    let mut call = client.get("/nodes");
    if let Some(filters) = filters::encode(&args.filters.filter) {
        call = call.query("filters", &filters);
    }
    let nodes: Vec<Node> = call.json().await?;
    let info: Info = client.get("/info").json().await?;
    let own = nodes.iter().find(|node| node.id == info.swarm.node_id);
    let trust_root = own.map(|node| node.description.tls_info.trust_root.clone());
    let rows = view::node_rows(nodes, &info.swarm.node_id, trust_root.as_deref());
    output::print(&view::NODES.render(&rows, args.format.as_deref(), args.quiet)?)?;
    Ok(())
}

async fn fetch(client: &Client, reference: &str) -> Result<String> {
    let id = lookup::node_id(client, reference).await?;
    Ok(client
        .get(&format!("/nodes/{}", segment(&id)))
        .text()
        .await?)
}

async fn inspect_nodes(client: &Client, args: &NodeInspect) -> Result<()> {
    if !args.pretty {
        let fetch = async |reference: &str| fetch(client, reference).await;
        return inspect(&args.nodes, args.format.as_deref(), fetch).await;
    }
    anyhow::ensure!(
        args.format.is_none(),
        "--format is incompatible with human friendly format"
    );
    each(&args.nodes, async |reference| {
        let node: Node = decode(&fetch(client, reference).await?)?;
        Ok(view::node_pretty(&node))
    })
    .await
}

async fn tasks(client: &Client, args: NodePs) -> Result<()> {
    let references = if args.nodes.is_empty() {
        vec!["self".to_owned()]
    } else {
        args.nodes
    };
    let mut ids = Vec::new();
    for reference in &references {
        let node: Node = decode(&fetch(client, reference).await?)?;
        ids.push(node.id);
    }
    let query = TaskQuery {
        filters: &args.filters.filter,
        key: "node",
        ids,
    };
    print_tasks(client, query, &args.view, Timestamp::now()).await
}

/// What came of an edit.
enum Edited {
    /// Posted.
    Posted,
    /// The node with this id is so already.
    Unchanged(String),
}

/// Reads a node's spec, lets `change` edit it, and posts it unless there is nothing to change.
async fn edit(
    client: &Client,
    reference: &str,
    change: impl FnOnce(Value) -> Result<Option<Value>>,
) -> Result<Edited> {
    let node: Value = client
        .get(&format!("/nodes/{}", segment(reference)))
        .json()
        .await?;
    let version = node["Version"]["Index"]
        .as_u64()
        .context("the node has no version")?;
    let id = node["ID"].as_str().unwrap_or(reference).to_owned();
    let Some(spec) = change(node["Spec"].clone())? else {
        return Ok(Edited::Unchanged(id));
    };
    let call = client.post(&format!("/nodes/{}/update", segment(&id)));
    call.query("version", &version.to_string())
        .body(&spec)?
        .done()
        .await?;
    Ok(Edited::Posted)
}

async fn update(client: &Client, args: &NodeUpdate) -> Result<()> {
    edit(client, &args.node, |spec| {
        Ok(Some(spec::node::update(spec, args)?))
    })
    .await?;
    output::line(&args.node)?;
    Ok(())
}

async fn set_role(client: &Client, nodes: &[String], role: TokenRole) -> Result<()> {
    each(nodes, async |node| {
        let changed = edit(client, node, |spec| Ok(spec::node::with_role(spec, role))).await?;
        Ok(match (role, changed) {
            (_, Edited::Unchanged(id)) => format!("Node {id} is already a {}.", role.as_str()),
            (TokenRole::Manager, Edited::Posted) => {
                format!("Node {node} promoted to a manager in the swarm.")
            }
            (TokenRole::Worker, Edited::Posted) => format!("Manager {node} demoted in the swarm."),
        })
    })
    .await
}
