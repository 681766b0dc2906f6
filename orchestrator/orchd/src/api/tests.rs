//! The routes on a host that is in no cluster, with a real daemon behind them and no engine.

use axum::response::Response;
use clap::Parser;
use http::StatusCode;
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::*;
use crate::args::Options;
use crate::daemon::{Lifecycle, StateDir};

struct Host {
    router: Router,
    lifecycle: Lifecycle,
    _folder: tempfile::TempDir,
}

impl Host {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = |name: &str| folder.path().join(name).display().to_string();
        let options = Options::try_parse_from([
            "orchd",
            "--state-dir",
            &dir("state"),
            "--run-dir",
            &dir("run"),
            "--engine",
            &dir("no-engine.sock"),
            "--plugin-dir",
            &dir("plugins"),
            "--bpf-dir",
            &dir("bpf"),
        ])
        .unwrap();
        let state_dir = StateDir::open(&options.state_dir).unwrap();
        let upstream = Upstream::new(&options.engine_socket);
        let (daemon, lifecycle) = Daemon::start(options, state_dir, CancellationToken::new());
        while matches!(daemon.membership(), Membership::Pending) {
            tokio::task::yield_now().await;
        }
        Self {
            router: router(Api { daemon, upstream }),
            lifecycle,
            _folder: folder,
        }
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> Response {
        let mut request = Request::builder().method(method).uri(path);
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let mut request = request.body(Body::from(body.to_owned())).unwrap();
        request.extensions_mut().insert(proxy::ClientVersion(None));
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn refusal(&self, method: &str, path: &str, body: &str) -> (StatusCode, String) {
        let response = self.ask(method, path, body).await;
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
        (status, answer["message"].as_str().unwrap().to_owned())
    }
}

#[tokio::test]
async fn manager_paths_say_how_to_get_a_manager() {
    let host = Host::start().await;
    let words = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm \
                 join\" to connect this node to swarm and try again.";
    for (method, path, body) in [
        ("GET", "/swarm", ""),
        ("POST", "/swarm/update?version=1", "{}"),
        ("GET", "/swarm/unlockkey", ""),
        ("GET", "/nodes", ""),
        ("GET", "/nodes/self", ""),
        ("POST", "/nodes/x/update?version=1", "{}"),
        ("DELETE", "/nodes/x", ""),
        ("GET", "/services", ""),
        ("POST", "/services/create", "{}"),
        ("POST", "/services/x/update?version=1", "{}"),
        ("DELETE", "/services/x", ""),
        ("GET", "/services/x/logs", ""),
        ("GET", "/tasks", ""),
        ("GET", "/tasks/x", ""),
        (
            "POST",
            "/networks/create",
            r#"{"Name": "x", "Driver": "overlay"}"#,
        ),
        ("GET", "/secrets", ""),
        ("POST", "/configs/create", "{}"),
    ] {
        let expected = (StatusCode::SERVICE_UNAVAILABLE, words.to_owned());
        assert_eq!(
            host.refusal(method, path, body).await,
            expected,
            "{method} {path}"
        );
    }
    host.lifecycle.stop().await.unwrap();
}

#[tokio::test]
async fn the_ping_names_the_membership_though_the_engine_is_away() {
    let host = Host::start().await;
    let response = host.ask("GET", "/_ping", "").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["swarm"], "inactive");
    host.lifecycle.stop().await.unwrap();
}

#[tokio::test]
async fn what_needs_the_engine_says_that_it_is_away() {
    let host = Host::start().await;
    for path in [
        "/info",
        "/version",
        "/networks",
        "/containers/json",
        "/no/such/path",
    ] {
        let (status, message) = host.refusal("GET", path, "").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert!(
            message.contains("no-engine.sock") && message.contains("--engine"),
            "{message}"
        );
    }
    host.lifecycle.stop().await.unwrap();
}

#[tokio::test]
async fn nonsense_is_refused_before_anything_happens() {
    let host = Host::start().await;
    for (path, body, status, words) in [
        ("/swarm/init", "{", 400, "invalid JSON"),
        ("/swarm/init", "[]", 400, "must be an object"),
        (
            "/swarm/init",
            r#"{"ForceNewCluster": true}"#,
            503,
            "not a swarm manager",
        ),
        (
            "/swarm/init",
            r#"{"Availability": "asleep"}"#,
            400,
            "active, pause, drain",
        ),
        ("/swarm/join", r#"{"RemoteAddrs": 7}"#, 400, "RemoteAddrs"),
        ("/swarm/leave", "", 503, "This node is not part of a swarm"),
        ("/swarm/unlock", "", 503, "This node is not part of a swarm"),
        ("/networks/create", "{", 400, "invalid JSON"),
        (
            "/networks/create",
            r#"{"Name": "x", "Driver": "orchd"}"#,
            400,
            "--driver overlay",
        ),
    ] {
        let (found, message) = host.refusal("POST", path, body).await;
        assert_eq!(found.as_u16(), status, "{path} {body}: {message}");
        assert!(message.contains(words), "{path} {body}: {message}");
    }
    host.lifecycle.stop().await.unwrap();
}
