//! `swarm ...`

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{
    args::{JoinToken, SwarmCommand, SwarmInit, SwarmJoin, SwarmSettings, TokenRole},
    client::{Client, segment},
    model::{Info, Node, Swarm},
    output, spec, view,
};

/// Runs one verb.
pub async fn run(client: &Client, command: SwarmCommand) -> Result<()> {
    match command {
        SwarmCommand::Init(args) => init(client, &args).await,
        SwarmCommand::Join(args) => join(client, &args).await,
        SwarmCommand::JoinToken(args) => join_token(client, &args).await,
        SwarmCommand::Leave { force } => leave(client, force).await,
        SwarmCommand::Update(settings) => update(client, &settings).await,
    }
}

async fn init(client: &Client, args: &SwarmInit) -> Result<()> {
    let request = spec::swarm::init(args)?;
    let node_id: String = client.post("/swarm/init").body(&request)?.json().await?;
    let swarm: Swarm = client.get("/swarm").json().await?;
    let address = manager_address(client, &node_id).await?;
    output::print(&view::initialized(
        &node_id,
        &swarm.join_tokens.worker,
        &address,
    ))?;
    Ok(())
}

async fn manager_address(client: &Client, node_id: &str) -> Result<String> {
    let node: Node = client
        .get(&format!("/nodes/{}", segment(node_id)))
        .json()
        .await?;
    let status = node
        .manager_status
        .context("the daemon says that this node is no manager")?;
    Ok(status.addr)
}

async fn join(client: &Client, args: &SwarmJoin) -> Result<()> {
    let request = json!({
        "ListenAddr": args.listen_addr,
        "AdvertiseAddr": args.advertise_addr.as_deref().unwrap_or_default(),
        "DataPathAddr": args.data_path_addr.as_deref().unwrap_or_default(),
        "RemoteAddrs": [args.remote],
        "JoinToken": args.token,
        "Availability": args.availability.as_str(),
    });
    client.post("/swarm/join").body(&request)?.done().await?;
    let info: Info = client.get("/info").json().await?;
    output::line(match info.swarm.control_available {
        true => "This node joined a swarm as a manager.",
        false => "This node joined a swarm as a worker.",
    })?;
    Ok(())
}

async fn join_token(client: &Client, args: &JoinToken) -> Result<()> {
    if args.rotate {
        let parameter = match args.role {
            TokenRole::Worker => "rotateWorkerToken",
            TokenRole::Manager => "rotateManagerToken",
        };
        let swarm: Value = client.get("/swarm").json().await?;
        post_update(client, &swarm, swarm["Spec"].clone(), Some(parameter)).await?;
        if !args.quiet {
            let role = args.role.as_str();
            output::print(&format!("Successfully rotated {role} join token.\n\n"))?;
        }
    }
    // Read again: a rotation has changed it.
    let swarm: Swarm = client.get("/swarm").json().await?;
    let token = match args.role {
        TokenRole::Worker => swarm.join_tokens.worker,
        TokenRole::Manager => swarm.join_tokens.manager,
    };
    if args.quiet {
        output::line(&token)?;
        return Ok(());
    }
    let info: Info = client.get("/info").json().await?;
    let address = manager_address(client, &info.swarm.node_id).await?;
    output::print(&view::join_command(args.role, &token, &address))?;
    Ok(())
}

async fn leave(client: &Client, force: bool) -> Result<()> {
    let mut call = client.post("/swarm/leave");
    if force {
        call = call.query("force", "1");
    }
    call.done().await?;
    output::line("Node left the swarm.")?;
    Ok(())
}

async fn update(client: &Client, settings: &SwarmSettings) -> Result<()> {
    let swarm: Value = client.get("/swarm").json().await?;
    let changed = spec::swarm::update(swarm["Spec"].clone(), settings)?;
    post_update(client, &swarm, changed, None).await?;
    output::line("Swarm updated.")?;
    Ok(())
}

async fn post_update(
    client: &Client,
    swarm: &Value,
    spec: Value,
    rotate: Option<&str>,
) -> Result<()> {
    let version = swarm["Version"]["Index"]
        .as_u64()
        .context("the swarm has no version")?;
    let mut call = client
        .post("/swarm/update")
        .query("version", &version.to_string());
    if let Some(parameter) = rotate {
        call = call.query(parameter, "true");
    }
    call.body(&spec)?.done().await?;
    Ok(())
}
