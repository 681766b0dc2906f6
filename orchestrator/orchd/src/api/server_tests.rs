//! The server and the proxy against an engine of our own: real sockets, no daemon behind.

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::extract::State;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;
use crate::api::proxy;

/// Longer than anything here takes; only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// orchd's socket in front of an engine whose side of each connection the test plays.
struct Setup {
    folder: tempfile::TempDir,
    engine: mpsc::Receiver<UnixStream>,
    _shutdown: tokio_util::sync::DropGuard,
}

impl Setup {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine_socket = folder.path().join("engine.sock");
        let listener = UnixListener::bind(&engine_socket).unwrap();
        let (accepted, engine) = mpsc::channel(8);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if accepted.send(stream).await.is_err() {
                    return;
                }
            }
        });
        let shutdown = CancellationToken::new();
        serve(
            &folder.path().join("docker.sock"),
            &engine_socket,
            shutdown.clone(),
        );
        Self {
            folder,
            engine,
            _shutdown: shutdown.drop_guard(),
        }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    async fn client(&self) -> UnixStream {
        UnixStream::connect(self.socket()).await.unwrap()
    }

    /// The engine's side of the next connection.
    async fn accept(&mut self) -> UnixStream {
        timeout(PATIENCE, self.engine.recv())
            .await
            .expect("the engine is asked")
            .unwrap()
    }

    /// Plays the engine for the ping that finds out its version.
    async fn answer_ping(&mut self, api_version: &str) {
        let mut engine = self.accept().await;
        read_until(&mut engine, "\r\n\r\n").await;
        let head = format!("HTTP/1.1 200 OK\r\nApi-Version: {api_version}\r\n");
        write(&mut engine, &(head + "Content-Length: 2\r\n\r\nOK")).await;
    }
}

fn serve(socket: &Path, engine: &Path, shutdown: CancellationToken) {
    async fn forward(
        State(upstream): State<Upstream>,
        request: Request<Body>,
    ) -> Result<Response, ApiError> {
        proxy::forward(&upstream, request).await
    }
    async fn ask_registry(
        State(upstream): State<Upstream>,
        request: Request<Body>,
    ) -> Result<Response, ApiError> {
        proxy::ask_registry(&upstream, request, Duration::from_millis(200)).await
    }
    let upstream = Upstream::new(engine);
    let router = Router::new()
        .route("/_ping", axum::routing::get(async || "OK"))
        .route("/distribution/{*rest}", axum::routing::get(ask_registry))
        .fallback(forward)
        .with_state(upstream.clone());
    tokio::spawn(run(bind(socket).unwrap(), router, upstream, shutdown));
}

async fn write(stream: &mut UnixStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

/// Reads until `end` has come, and returns all that was read.
async fn read_until(stream: &mut UnixStream, end: &str) -> String {
    let mut read = Vec::new();
    let wait = async {
        while !String::from_utf8_lossy(&read).contains(end) {
            assert_ne!(
                stream.read_buf(&mut read).await.unwrap(),
                0,
                "the stream ended early"
            );
        }
    };
    timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|_| panic!("{end:?} does not come"));
    String::from_utf8(read).unwrap()
}

async fn is_closed(stream: &mut UnixStream) {
    let mut rest = Vec::new();
    // A reset says as much as an orderly end.
    match timeout(PATIENCE, stream.read_to_end(&mut rest))
        .await
        .expect("the stream ends")
    {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
}

#[tokio::test]
async fn every_answer_has_dockers_headers_and_versions_are_checked() {
    let setup = Setup::new();
    for (path, status) in [
        ("/_ping", "200 OK"),
        ("/v1.24/_ping", "200 OK"),
        ("/v1.51/_ping", "200 OK"),
        ("/v1.52/_ping", "400 Bad Request"),
        ("/v1.23/_ping", "400 Bad Request"),
    ] {
        let mut client = setup.client().await;
        write(
            &mut client,
            &format!("GET {path} HTTP/1.1\r\nHost: d\r\n\r\n"),
        )
        .await;
        let head = read_until(&mut client, "\r\n\r\n").await.to_lowercase();
        assert!(
            head.starts_with(&format!("http/1.1 {}", status.to_lowercase())),
            "{head}"
        );
        for header in [
            "api-version: 1.51",
            "ostype: linux",
            "docker-experimental: false",
            "server: orchd/",
        ] {
            assert!(
                head.contains(header),
                "{path}: {header} is missing in {head}"
            );
        }
    }
}

#[tokio::test]
async fn requests_reach_the_engine_in_a_version_that_it_speaks() {
    let mut setup = Setup::new();
    let mut client = setup.client().await;
    write(
        &mut client,
        "GET /v1.51/containers/json?all=1 HTTP/1.1\r\nHost: d\r\nX-A: b\r\n\r\n",
    )
    .await;
    setup.answer_ping("1.41").await;
    let mut engine = setup.accept().await;
    let request = read_until(&mut engine, "\r\n\r\n").await;
    assert!(
        request.starts_with("GET /v1.41/containers/json?all=1 HTTP/1.1"),
        "{request}"
    );
    assert!(request.to_lowercase().contains("x-a: b"), "{request}");
    write(
        &mut engine,
        "HTTP/1.1 404 Not Found\r\nApi-Version: 1.41\r\n\
        Content-Length: 29\r\n\r\n{\"message\":\"page not found\"}\n",
    )
    .await;
    let answer = read_until(&mut client, "}\n").await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert!(answer.contains("page not found"), "{answer}");
    // A path without a version goes as it is.
    write(
        &mut client,
        "GET /containers/json HTTP/1.1\r\nHost: d\r\n\r\n",
    )
    .await;
    let request = read_until(&mut setup.accept().await, "\r\n\r\n").await;
    assert!(
        request.starts_with("GET /containers/json HTTP/1.1"),
        "{request}"
    );
}

#[tokio::test]
async fn an_engine_that_is_away_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, engine) = (
        folder.path().join("docker.sock"),
        folder.path().join("none.sock"),
    );
    let shutdown = CancellationToken::new();
    serve(&socket, &engine, shutdown.clone());
    let _guard = shutdown.drop_guard();
    for request in [
        "GET /v1.51/containers/json HTTP/1.1\r\nHost: d\r\n\r\n",
        "POST /v1.51/exec/x/start HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n",
    ] {
        let mut client = UnixStream::connect(&socket).await.unwrap();
        write(&mut client, request).await;
        let answer = read_until(&mut client, "--engine").await;
        assert!(
            answer.starts_with("HTTP/1.1 503 Service Unavailable"),
            "{answer}"
        );
        assert!(answer.contains(engine.to_str().unwrap()), "{answer}");
    }
}

#[tokio::test]
async fn answers_stream_and_a_client_that_goes_cancels() {
    let mut setup = Setup::new();
    let mut client = setup.client().await;
    write(&mut client, "GET /events HTTP/1.1\r\nHost: d\r\n\r\n").await;
    let mut engine = setup.accept().await;
    read_until(&mut engine, "\r\n\r\n").await;
    write(
        &mut engine,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    )
    .await;
    for event in ["first", "other"] {
        write(&mut engine, &format!("5\r\n{event}\r\n")).await;
        // It arrives while the answer goes on.
        read_until(&mut client, event).await;
    }
    drop(client);
    is_closed(&mut engine).await;
}

#[tokio::test]
async fn a_client_that_goes_before_the_answer_cancels() {
    let mut setup = Setup::new();
    let mut client = setup.client().await;
    write(
        &mut client,
        "POST /containers/x/wait HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    let mut engine = setup.accept().await;
    read_until(&mut engine, "\r\n\r\n").await;
    drop(client);
    is_closed(&mut engine).await;
}

#[tokio::test]
async fn uploads_stream_while_they_are_sent() {
    let mut setup = Setup::new();
    let mut client = setup.client().await;
    write(
        &mut client,
        "POST /build HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n",
    )
    .await;
    let mut engine = setup.accept().await;
    for part in ["first", "other"] {
        write(&mut client, &format!("5\r\n{part}\r\n")).await;
        read_until(&mut engine, part).await;
    }
    // The engine may answer before the upload is over.
    write(
        &mut engine,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nstep1\r\n",
    )
    .await;
    read_until(&mut client, "step1").await;
    write(&mut client, "0\r\n\r\n").await;
    read_until(&mut engine, "0\r\n\r\n").await;
}

#[tokio::test]
async fn an_upgraded_connection_passes_both_ways_and_half_closes() {
    let mut setup = Setup::new();
    let mut client = setup.client().await;
    write(
        &mut client,
        "POST /containers/x/attach?stream=1 HTTP/1.1\r\nHost: d\r\n\
        Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    let mut engine = setup.accept().await;
    let request = read_until(&mut engine, "\r\n\r\n").await.to_lowercase();
    assert!(request.contains("upgrade: tcp"), "{request}");
    write(
        &mut engine,
        "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/x\r\n\
        Connection: Upgrade\r\nUpgrade: tcp\r\n\r\nhello",
    )
    .await;
    let answer = read_until(&mut client, "hello").await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    write(&mut client, "input").await;
    read_until(&mut engine, "input").await;
    // The end of the input reaches the engine; its output still reaches the client.
    client.shutdown().await.unwrap();
    is_closed(&mut engine).await;
    write(&mut engine, "late").await;
    read_until(&mut client, "late").await;
}

#[tokio::test]
async fn a_connection_taken_over_without_upgrade_passes_both_ways() {
    let mut setup = Setup::new();
    let mut client = setup.client().await;
    write(
        &mut client,
        "POST /v1.51/exec/x/start HTTP/1.1\r\nHost: d\r\n\
        Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    )
    .await;
    setup.answer_ping("1.41").await;
    let mut engine = setup.accept().await;
    let request = read_until(&mut engine, "{}").await;
    assert!(
        request.starts_with("POST /v1.41/exec/x/start HTTP/1.1"),
        "{request}"
    );
    write(
        &mut engine,
        "HTTP/1.1 200 OK\r\nContent-Type: raw\r\n\r\nhello",
    )
    .await;
    read_until(&mut client, "hello").await;
    write(&mut client, "input").await;
    read_until(&mut engine, "input").await;
    drop(engine);
    is_closed(&mut client).await;
}

#[tokio::test]
async fn a_registry_that_does_not_answer_is_not_waited_for() {
    let mut setup = Setup::new();
    let mut client = setup.client().await;
    let ask = "GET /distribution/nowhere.test/a:1/json HTTP/1.1\r\nHost: d\r\n\r\n";
    write(&mut client, ask).await;
    let mut engine = setup.accept().await;
    read_until(&mut engine, "\r\n\r\n").await;
    let answer = read_until(&mut client, "}\n").await;
    assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");
    // The engine need not ask any longer either.
    is_closed(&mut engine).await;
    // One that answers is heard.
    write(&mut client, ask).await;
    let mut engine = setup.accept().await;
    read_until(&mut engine, "\r\n\r\n").await;
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n";
    write(&mut engine, &format!("{head}{{}}\n")).await;
    let answer = read_until(&mut client, "}\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_hyper_client_can_reuse_its_connection() {
    let setup = Setup::new();
    let io = TokioIo::new(setup.client().await);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    for method in [Method::HEAD, Method::GET] {
        let request = Request::builder()
            .method(&method)
            .uri("/_ping")
            .body(Body::empty())
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, if method == Method::HEAD { "" } else { "OK" });
        sender.ready().await.unwrap();
    }
}

#[test]
fn a_socket_left_behind_is_replaced_and_private() {
    use std::os::unix::fs::PermissionsExt;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("run/docker.sock");
        drop(bind(&socket).unwrap());
        let _listener = bind(&socket).unwrap();
        let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
    });
}
