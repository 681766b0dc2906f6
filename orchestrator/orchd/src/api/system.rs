//! `/_ping`, `/version`, `/info`, `/orch/doctor`: what this host says of itself.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName, HeaderValue};
use orch_core::objects::node::Role;
use serde_json::{Value, json};

use super::Api;
use super::convert::cluster;
use super::error::ApiError;
use super::extract::Params;
use super::proxy::{self, ClientVersion};
use super::upstream::{Upstream, UpstreamError};
use super::version::ApiVersion;
use crate::daemon::{Member, Membership};

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
            Role::Manager => "active/manager",
            Role::Worker => "active/worker",
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

/// `GET /orch/doctor?port=4789`: what this host lacks, check by check.
pub async fn doctor(State(api): State<Api>, params: Params) -> Result<Json<Value>, ApiError> {
    let port = match params.text("port") {
        "" => DATA_PATH_PORT,
        text => text.parse().map_err(|_| {
            ApiError::bad_request(format!("invalid port \"{text}\": expected 1024 to 49151"))
        })?,
    };
    let bpf_dir = api.daemon.options().bpf_dir.clone();
    let checks = tokio::task::spawn_blocking(move || orch_dataplane::doctor(port, &bpf_dir));
    let checks = checks.await.map_err(|error| {
        ApiError::new(
            http::StatusCode::INTERNAL_SERVER_ERROR,
            format!("the checks of this host broke off: {error}"),
        )
    })?;
    let mut shown: Vec<_> = checks
        .into_iter()
        .map(|check| {
            json!({
                "name": check.name,
                "passed": check.passed,
                "detail": check.detail,
                "fix": check.fix,
            })
        })
        .collect();
    shown.push(engine_check(&api.upstream).await);
    Ok(Json(json!(shown)))
}

async fn engine_check(upstream: &Upstream) -> Value {
    let (passed, detail, fix) = match upstream.get("/version").await {
        Ok(engine) => {
            let word = |field: &str| engine[field].as_str().unwrap_or("unknown").to_owned();
            let detail = format!("version {}, API {}", word("Version"), word("ApiVersion"));
            (true, detail, "")
        }
        Err(error @ UpstreamError::Unreachable { .. }) => (
            false,
            error.to_string(),
            "start the engine, or give its socket with --engine",
        ),
        Err(error) => (false, error.to_string(), "look into the engine's own log"),
    };
    json!({ "name": "container engine", "passed": passed, "detail": detail, "fix": fix })
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
