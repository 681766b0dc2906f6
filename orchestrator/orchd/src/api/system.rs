//! `/_ping`, `/version`, `/info`, `/orch/doctor`: what this host says of itself.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName, HeaderValue};
use orch_core::objects::node::Role as NodeRole;
use serde_json::{Value, json};

use super::Api;
use super::convert::cluster;
use super::error::ApiError;
use super::extract::Params;
use super::proxy::{self, ClientVersion};
use super::version::ApiVersion;
use crate::daemon::preflight::{self, Role};
use crate::daemon::{Member, Membership};
use crate::rpc;

/// Port of tunnels where no cluster says otherwise.
const DATA_PATH_PORT: u16 = 4789;

/// `HEAD` and `GET /_ping`. Answers also while the engine is away: orchd is there.
pub async fn ping(State(api): State<Api>) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-store, must-revalidate"),
    );
    let swarm = match api.daemon.membership() {
        Membership::Inactive => "inactive",
        Membership::Pending => "pending",
        Membership::Error(_) => "error",
        Membership::Member(member) => match member.role {
            NodeRole::Manager => "active/manager",
            NodeRole::Worker => "active/worker",
        },
    };
    headers.insert("swarm", HeaderValue::from_static(swarm));
    // Which builder the engine has: clients choose how to build by it.
    const BUILDER: HeaderName = HeaderName::from_static("builder-version");
    if let Ok(Some(builder)) = api.upstream.ping_header(&BUILDER).await {
        headers.insert(BUILDER, builder);
    }
    (headers, "OK").into_response()
}

/// `GET /version`: orchd first, then what the engine says of its parts.
pub async fn version(State(api): State<Api>) -> Result<Json<Value>, ApiError> {
    let engine = api.upstream.get("/version").await?;
    let own = env!("CARGO_PKG_VERSION");
    let mut components = vec![json!({
        "Name": "orchd",
        "Version": own,
        "Details": {
            "ApiVersion": ApiVersion::MAX.to_string(),
            "MinAPIVersion": ApiVersion::MIN.to_string(),
        },
    })];
    components.extend(engine["Components"].as_array().cloned().unwrap_or_default());
    let mut out = engine;
    out["Platform"] = json!({ "Name": "orchd" });
    out["Components"] = json!(components);
    out["Version"] = json!(own);
    out["ApiVersion"] = json!(ApiVersion::MAX.to_string());
    out["MinAPIVersion"] = json!(ApiVersion::MIN.to_string());
    Ok(Json(out))
}

/// `GET /info`: the engine's, with this host's place in the cluster.
pub async fn info(
    State(api): State<Api>,
    Extension(client): Extension<ClientVersion>,
) -> Result<Json<Value>, ApiError> {
    let path = proxy::engine_path(&api.upstream, client.0, "/info").await?;
    let mut info = api.upstream.get(&path).await?;
    info["Swarm"] = swarm_info(&api.daemon.membership());
    Ok(Json(info))
}

/// `GET /orch/doctor?port=4789`: what this host has and lacks, check by check. A member is
/// checked for what it is; another host for becoming a manager, with Docker's defaults.
pub async fn doctor(State(api): State<Api>, params: Params) -> Result<Json<Value>, ApiError> {
    let mut role = role(&api).await?;
    if !params.text("port").is_empty() {
        let text = params.text("port");
        role.data_path_port = text.parse().map_err(|_| {
            ApiError::bad_request(format!("invalid port \"{text}\": expected 1024 to 49151"))
        })?;
    }
    let port = role.data_path_port;
    let mut checks = preflight::checks(api.daemon.options(), role).await?;
    if let Some(plane) = api.daemon.plane() {
        let prober = plane.look(|plane| Ok(plane.prober())).await?;
        checks.extend(preflight::tunnels(prober, port).await?);
    }
    let shown = checks.into_iter().map(|check| {
        json!({
            "name": check.name,
            "severity": check.severity.word(),
            "detail": check.detail,
            "fix": check.fix,
        })
    });
    Ok(Json(shown.collect()))
}

/// What this host is, or would be.
async fn role(api: &Api) -> Result<Role, ApiError> {
    let clock = match api.daemon.membership() {
        Membership::Member(member) => member.clock.and_then(|clock| *clock.borrow()),
        Membership::Inactive | Membership::Pending | Membership::Error(_) => None,
    };
    let networks = api.daemon.known_networks();
    let subnets = networks.iter().flat_map(|network| &network.subnets);
    let ranges = subnets.map(|subnet| subnet.range).collect();
    if let Some(plane) = api.daemon.plane() {
        return Ok(Role {
            data_path_port: plane.look(|plane| Ok(plane.vxlan_port())).await?,
            manager_port: None,
            ranges,
            clock,
        });
    }
    Ok(Role {
        data_path_port: DATA_PATH_PORT,
        manager_port: match api.daemon.membership() {
            Membership::Inactive => Some(rpc::PORT),
            Membership::Pending | Membership::Error(_) | Membership::Member(_) => None,
        },
        ranges,
        clock,
    })
}

/// `Swarm` of `/info`.
fn swarm_info(membership: &Membership) -> Value {
    let outside = |state: &str, error: &str| {
        json!({
            "NodeID": "",
            "NodeAddr": "",
            "LocalNodeState": state,
            "ControlAvailable": false,
            "Error": error,
            "RemoteManagers": null,
        })
    };
    match membership {
        Membership::Inactive => outside("inactive", ""),
        Membership::Pending => outside("pending", ""),
        Membership::Error(reason) => outside("error", reason),
        Membership::Member(member) => member_info(member),
    }
}

fn member_info(member: &Member) -> Value {
    let managers: Vec<_> = member
        .remote_managers
        .iter()
        .map(|(id, address)| json!({ "NodeID": id.as_str(), "Addr": address.to_string() }))
        .collect();
    let mut info = json!({
        "NodeID": member.node_id.as_str(),
        "NodeAddr": member.node_address.to_string(),
        "LocalNodeState": "active",
        "ControlAvailable": member.manager.is_some(),
        "Error": "",
        "RemoteManagers": managers,
    });
    if let Some(manager) = &member.manager {
        let state = manager.state();
        info["Nodes"] = json!(state.nodes().count());
        info["Managers"] = json!(state.nodes().filter(|node| node.manager.is_some()).count());
        info["Cluster"] = state
            .cluster()
            .map_or(Value::Null, |found| cluster::render(found));
    }
    info
}
