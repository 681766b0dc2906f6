//! `/swarm`: the host's place in a cluster, and the cluster's settings.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use ipnet::IpNet;
use orch_core::control::Command;
use orch_core::objects::ClusterSpec;
use orch_core::objects::node::Availability;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Api;
use super::convert::{ConvertError, cluster, lossless, words};
use super::error::ApiError;
use super::extract::{JsonBody, Params};
use crate::daemon::{InitRequest, JoinRequest, Membership};
use crate::pki;

/// What `swarm init` posts.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct InitBody {
    listen_addr: String,
    advertise_addr: String,
    data_path_addr: String,
    data_path_port: u32,
    default_addr_pool: Vec<String>,
    subnet_size: u32,
    availability: String,
    spec: Value,
    force_new_cluster: bool,
    #[serde(skip_serializing)]
    auto_lock_managers: bool,
}

/// What `swarm join` posts.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct JoinBody {
    listen_addr: String,
    advertise_addr: String,
    data_path_addr: String,
    remote_addrs: Vec<String>,
    join_token: String,
    availability: String,
}

/// `POST /swarm/init`: answers the new node's id as a JSON string.
pub async fn init(
    State(api): State<Api>,
    JsonBody(body): JsonBody,
) -> Result<Json<Value>, ApiError> {
    let node = match decode_init(&body)? {
        Beginning::Init(request) => api.daemon.init(*request).await?,
        Beginning::GoOnAlone { advertise_addr } => api.daemon.refound(advertise_addr).await?,
    };
    Ok(Json(json!(node.as_str())))
}

/// `POST /swarm/join`.
pub async fn join(State(api): State<Api>, JsonBody(body): JsonBody) -> Result<(), ApiError> {
    let request = decode_join(&body)?;
    Ok(api.daemon.join(request).await?)
}

/// `POST /swarm/leave`.
pub async fn leave(State(api): State<Api>, params: Params) -> Result<(), ApiError> {
    Ok(api.daemon.leave(params.flag("force")).await?)
}

/// `GET /swarm`: the cluster with its join tokens.
pub async fn inspect(State(api): State<Api>) -> Result<Json<Value>, ApiError> {
    let state = api.manager()?.state();
    let found = state.cluster().ok_or_else(ApiError::not_in_swarm)?;
    Ok(Json(cluster::render_with_tokens(found)))
}

/// `POST /swarm/update`: settings, and new join tokens where they are asked for.
pub async fn update(
    State(api): State<Api>,
    params: Params,
    JsonBody(body): JsonBody,
) -> Result<(), ApiError> {
    let manager = api.manager()?;
    let version = params.version("swarm")?;
    if params.flag("rotateManagerUnlockKey") {
        return Err(ApiError::not_implemented("managers cannot be locked yet"));
    }
    let state = manager.state();
    let current = state.cluster().ok_or_else(ApiError::not_in_swarm)?;
    let spec = cluster::decode_over(&current.spec, &body)?;
    let (worker, manager_too) = (
        params.flag("rotateWorkerToken"),
        params.flag("rotateManagerToken"),
    );
    let tokens = match worker || manager_too {
        true => Some(rotated(current, worker, manager_too)?),
        false => None,
    };
    let spec = Box::new(spec);
    let command = Command::UpdateCluster {
        version,
        spec,
        tokens,
    };
    manager.run(command).await?;
    Ok(())
}

/// `GET /swarm/unlockkey`: none, as on a Docker swarm that is not locked.
pub async fn unlock_key(State(api): State<Api>) -> Result<Json<Value>, ApiError> {
    api.manager()?;
    Ok(Json(json!({ "UnlockKey": "" })))
}

/// `POST /swarm/unlock`: there is never anything to unlock.
pub async fn unlock(State(api): State<Api>) -> Result<(), ApiError> {
    Err(match api.daemon.membership() {
        Membership::Inactive => ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "This node is not part of a swarm",
        ),
        Membership::Pending | Membership::Error(_) | Membership::Member(_) => {
            ApiError::new(StatusCode::CONFLICT, "swarm is not locked")
        }
    })
}

fn rotated(
    cluster: &orch_core::objects::Cluster,
    worker: bool,
    manager: bool,
) -> Result<orch_core::objects::cluster::JoinTokens, ApiError> {
    pki::rotate_tokens(&cluster.root_ca, &cluster.join_tokens, worker, manager)
        .map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

/// What `swarm init` asks for.
#[derive(Debug)]
enum Beginning {
    /// A new swarm.
    Init(Box<InitRequest>),
    /// The swarm that there is, with this manager alone.
    GoOnAlone { advertise_addr: String },
}

fn decode_init(input: &Value) -> Result<Beginning, ConvertError> {
    let body: InitBody = lossless::parse(input)?;
    lossless::ensure_kept(input, &body)?;
    let pools = body.default_addr_pool.iter().map(|text| parse_pool(text));
    let no_settings = json!({});
    let spec = if body.spec.is_null() {
        &no_settings
    } else {
        &body.spec
    };
    let spec = cluster::decode_over(&ClusterSpec::default(), spec)?;
    if body.force_new_cluster {
        return go_on_alone(body, &spec);
    }
    Ok(Beginning::Init(Box::new(InitRequest {
        default_addr_pool: pools.collect::<Result<_, _>>()?,
        subnet_size: body.subnet_size,
        availability: availability(&body.availability)?,
        spec,
        listen_addr: body.listen_addr,
        advertise_addr: body.advertise_addr,
        data_path_addr: body.data_path_addr,
        data_path_port: body.data_path_port,
    })))
}

/// The swarm keeps what it has: what would change it is refused, not passed over.
fn go_on_alone(body: InitBody, spec: &ClusterSpec) -> Result<Beginning, ConvertError> {
    const STAYS: &str = "it stays as it is with ForceNewCluster; use swarm update afterwards";
    let given = [
        ("Spec", *spec != ClusterSpec::default()),
        ("DataPathAddr", !body.data_path_addr.is_empty()),
        ("DataPathPort", body.data_path_port != 0),
        ("DefaultAddrPool", !body.default_addr_pool.is_empty()),
        (
            "Availability",
            !matches!(body.availability.as_str(), "" | "active"),
        ),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        Some((field, _)) => Err(ConvertError::invalid(field, STAYS.to_owned())),
        None => Ok(Beginning::GoOnAlone {
            advertise_addr: body.advertise_addr,
        }),
    }
}

fn decode_join(input: &Value) -> Result<JoinRequest, ConvertError> {
    let body: JoinBody = lossless::parse(input)?;
    lossless::ensure_kept(input, &body)?;
    Ok(JoinRequest {
        availability: availability(&body.availability)?,
        listen_addr: body.listen_addr,
        advertise_addr: body.advertise_addr,
        data_path_addr: body.data_path_addr,
        remote_addrs: body.remote_addrs,
        token: body.join_token,
    })
}

fn availability(word: &str) -> Result<Availability, ConvertError> {
    Ok(words::parse("Availability", words::AVAILABILITIES, word)?.unwrap_or(Availability::Active))
}

fn parse_pool(text: &str) -> Result<IpNet, ConvertError> {
    text.parse().map_err(|_| {
        let reason = format!("\"{text}\" is not ADDRESS/PREFIX such as 10.0.0.0/8");
        ConvertError::Invalid {
            field: "DefaultAddrPool",
            reason,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `docker swarm init --advertise-addr 127.0.0.1` posts.
    fn posted() -> Value {
        json!({
            "ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": "127.0.0.1", "DataPathAddr": "",
            "DataPathPort": 0, "ForceNewCluster": false,
            "Spec": {
                "Labels": null, "Orchestration": {},
                "Raft": {"ElectionTick": 0, "HeartbeatTick": 0}, "Dispatcher": {}, "CAConfig": {},
                "TaskDefaults": {}, "EncryptionConfig": {"AutoLockManagers": false}
            },
            "AutoLockManagers": false, "Availability": "", "DefaultAddrPool": [], "SubnetSize": 24
        })
    }

    #[test]
    fn what_the_cli_posts_is_understood() {
        let Ok(Beginning::Init(request)) = decode_init(&posted()) else {
            panic!()
        };
        let mut alone = posted();
        alone["ForceNewCluster"] = json!(true);
        let alone = decode_init(&alone).unwrap();
        let Beginning::GoOnAlone { advertise_addr } = alone else {
            panic!()
        };
        assert_eq!(advertise_addr, "127.0.0.1");
        assert_eq!(request.advertise_addr, "127.0.0.1");
        assert_eq!(request.subnet_size, 24);
        assert_eq!(request.availability, Availability::Active);
        assert_eq!(request.spec, ClusterSpec::default());
        let join = json!({
            "ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": "", "DataPathAddr": "",
            "RemoteAddrs": ["10.0.0.1:2377"], "JoinToken": "SWMTKN-1-x", "Availability": "drain"
        });
        let request = decode_join(&join).unwrap();
        assert_eq!(request.token, "SWMTKN-1-x");
        assert_eq!(request.availability, Availability::Drain);
    }

    #[test]
    fn a_manager_that_goes_on_alone_changes_nothing_else() {
        for (field, value) in [
            (
                "Spec",
                json!({"Orchestration": {"TaskHistoryRetentionLimit": 3}}),
            ),
            ("DataPathPort", json!(4790)),
            ("DataPathAddr", json!("eth1")),
            ("DefaultAddrPool", json!(["10.9.0.0/16"])),
            ("Availability", json!("drain")),
        ] {
            let mut body = posted();
            body["ForceNewCluster"] = json!(true);
            body[field] = value;
            let refused = decode_init(&body).unwrap_err().to_string();
            assert!(refused.contains(field), "{refused}");
        }
    }

    #[test]
    fn what_cannot_be_honoured_is_refused() {
        let refused = |field: &str, value: Value| {
            let mut body = posted();
            body[field] = value;
            decode_init(&body).unwrap_err().to_string()
        };
        let lost = |field: &str| format!("field {field} is not supported yet");
        assert_eq!(
            refused("AutoLockManagers", json!(true)),
            lost("AutoLockManagers")
        );
        assert!(refused("DefaultAddrPool", json!(["ten"])).contains("\"ten\" is not ADDRESS"));
        assert!(refused("Availability", json!("asleep")).contains("active, pause, drain"));
    }
}
