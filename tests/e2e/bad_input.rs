//! Services and networks that cannot be: a clear message, and nothing changed.

use std::time::Duration;

use anyhow::{Result, ensure};
use xtask::lab::Daemon;
use xtask::story::cluster::same;
use xtask::story::stage::SOON;
use xtask::wait;

use crate::harness::{in_swarm, refused};

#[test]
fn flags_modes_and_names_that_are_none() -> Result<()> {
    in_swarm(1, |stage| {
        let n1 = stage.host(1)?;
        refused(stage, n1, "service create --nosuch redis:7", &["--nosuch"])?;
        refused(
            stage,
            n1,
            "service create --mode nosuch redis:7",
            &["nosuch"],
        )?;
        refused(
            stage,
            n1,
            "service create --endpoint-mode nosuch redis:7",
            &["nosuch"],
        )?;
        refused(
            stage,
            n1,
            "service create --name bad.name redis:7",
            &["name"],
        )?;
        refused(
            stage,
            n1,
            "service create --name a --network nosuch redis:7",
            &["nosuch"],
        )?;
        refused(
            stage,
            n1,
            "service inspect nosuch",
            &["no such service: nosuch"],
        )?;
        refused(stage, n1, "service scale nosuch=1", &["nosuch"])?;
        refused(stage, n1, "network rm nosuch", &["nosuch"])
    })
}

#[test]
fn a_name_port_or_subnet_that_is_taken() -> Result<()> {
    in_swarm(1, |stage| {
        let n1 = stage.host(1)?;
        stage.orchctl(n1, "service create -d --name a --publish 8080:6379 redis:7")?;
        stage.running("a", 1)?;
        refused(
            stage,
            n1,
            "service create -d --name a redis:7",
            &["name", "a"],
        )?;
        let taken = "service create -d --name b --publish 8080:6379 redis:7";
        refused(stage, n1, taken, &["8080", "already in use"])?;
        stage.orchctl(n1, "network create -d overlay --subnet 10.0.30.0/24 first")?;
        let overlap = "network create -d overlay --subnet 10.0.30.128/25 second";
        refused(stage, n1, overlap, &["overlap"])?;
        stage.orchctl(n1, "service create -d --name c --network first redis:7")?;
        stage.running("c", 1)?;
        refused(stage, n1, "network rm first", &["in use"])
    })
}

#[test]
fn an_image_that_nobody_has() -> Result<()> {
    in_swarm(1, |stage| {
        let n1 = stage.host(1)?;
        stage.orchctl(n1, "service create -d --name ghost nosuch:1")?;
        let claim = "the task shows the engine's words";
        stage.orchctl_until(n1, "service ps --no-trunc ghost", claim, |list| {
            ensure!(
                list.contains("nosuch") && list.contains("Rejected"),
                "{list}"
            );
            let words = ["No such image", "refused", "not found", "manifest"];
            ensure!(words.iter().any(|word| list.contains(word)), "{list}");
            Ok(())
        })?;
        let retried = wait::until("another try", SOON, || {
            let tries = stage.cluster.tasks("ghost")?.len();
            ensure!(tries > 1, "{tries} task");
            Ok(())
        });
        stage.holds("it is tried again", retried)?;
        stage.holds(
            "the service stays",
            stage.cluster.service("ghost").map(drop),
        )
    })
}

#[test]
fn a_network_without_a_free_address() -> Result<()> {
    in_swarm(1, |stage| {
        let n1 = stage.host(1)?;
        // Six addresses; the gateway and the VIP take two.
        stage.orchctl(n1, "network create -d overlay --subnet 10.0.40.0/29 tiny")?;
        let create = "service create -d --name many --replicas 6 --network tiny redis:7";
        stage.orchctl(n1, create)?;
        stage.running("many", 4)?;
        let claim = "the tasks without an address say so";
        stage.orchctl_until(n1, "service ps --no-trunc many", claim, |list| {
            let waiting = list
                .lines()
                .filter(|line| line.to_lowercase().contains("address"));
            ensure!(waiting.count() == 2, "{list}");
            Ok(())
        })?;
        stage.orchctl(n1, "service scale -d many=4")?;
        stage.running("many", 4).map(drop)
    })
}

#[test]
fn requests_that_are_no_requests() -> Result<()> {
    in_swarm(1, |stage| {
        let before = stage.cluster.memory()?;
        let api = stage.host(1)?.api(Daemon::Orchd);
        let broken = ["{", "[]", "\"text\"", "{\"Name\": 7}", "\u{0}"];
        let posts = [
            "/services/create",
            "/networks/create",
            "/v1.41/services/create",
        ];
        for path in posts {
            for body in broken {
                let (status, answer) = api.post(path, body)?;
                ensure!(
                    status == 400,
                    "POST {path} {body:?} answers {status}: {answer}"
                );
                ensure!(answer["message"].is_string(), "no message: {answer}");
            }
        }
        for path in [
            "/nosuch",
            "/services/nosuch",
            "/tasks/nosuch",
            "/nodes/nosuch",
        ] {
            let (status, answer) = api.get(path)?;
            ensure!(status == 404, "GET {path} answers {status}: {answer}");
            ensure!(answer["message"].is_string(), "no message: {answer}");
        }
        let (status, answer) = api.get("/v9.99/services")?;
        ensure!(
            status == 400,
            "a version from the future answers {status}: {answer}"
        );
        let alive = wait::until("the API", Duration::from_secs(5), || api.want("/services"));
        stage.holds("the API goes on", alive.map(drop))?;
        stage.holds(
            "nothing has changed",
            same(&before, &stage.cluster.memory()?),
        )
    })
}
