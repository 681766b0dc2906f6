//! The lab itself: what the other scenarios rely on.

use std::time::Duration;

use anyhow::{Result, ensure};
use xtask::lab::{self, CLIENT, Daemon, Options, host};
use xtask::wait;

use crate::harness::in_lab;

fn engines(nodes: u8) -> Options {
    Options {
        engines_only: true,
        ..Options::daemons(nodes)
    }
}

#[test]
fn an_engine_runs_redis_and_survives_being_killed() -> Result<()> {
    in_lab(engines(1), |stage| {
        let n1 = stage.host(1)?;
        let run = ["run", "-d", "--name", "redis", "-p", "6379:6379", "redis:7"];
        ensure!(stage.engine(n1, &run)?.success());
        let ping = || {
            wait::until("redis to answer", Duration::from_secs(20), || {
                let words = format!("redis-cli -h {} ping", n1.address());
                let answer = stage.on(CLIENT, &words)?;
                ensure!(answer.stdout.trim() == "PONG", answer.shown());
                Ok(())
            })
        };
        ping()?;
        n1.kill(Daemon::Engine)?;
        ensure!(
            !stage.engine(n1, &["ps"])?.success(),
            "a dead engine answers"
        );
        lab::start(n1, Daemon::Engine)?;
        ensure!(stage.engine(n1, &["start", "redis"])?.success());
        ping()
    })
}

#[test]
fn a_cut_cable_is_a_cut_cable() -> Result<()> {
    in_lab(engines(2), |stage| {
        let n2 = stage.host(2)?;
        let ping = format!("ping -c 1 -W 1 {}", n2.address());
        ensure!(stage.on("n1", &ping)?.success(), "n1 should reach n2");
        host::set_link(n2, false)?;
        ensure!(!stage.on("n1", &ping)?.success(), "n1 should not reach n2");
        host::set_link(n2, true)?;
        wait::until("n1 to reach n2", Duration::from_secs(10), || {
            ensure!(stage.on("n1", &ping)?.success(), "no answer");
            Ok(())
        })
    })
}

#[test]
fn both_families_carry_packets_of_the_size_that_was_asked_for() -> Result<()> {
    let options = Options {
        mtu: 9000,
        ..engines(2)
    };
    in_lab(options, |stage| {
        let n2 = stage.host(2)?;
        let headers = [(n2.address(), 20 + 8), (n2.address6(), 40 + 8)];
        for (address, headers) in headers {
            for place in ["n1", CLIENT] {
                let full = 9000 - headers;
                let ping = |size| format!("ping -c 1 -W 1 -M do -s {size} {address}");
                ensure!(stage.on(place, &ping(full))?.success(), "full size");
                ensure!(!stage.on(place, &ping(full + 1))?.success(), "too big");
            }
        }
        Ok(())
    })
}

#[test]
fn hosts_do_not_see_each_other_but_by_the_wire() -> Result<()> {
    in_lab(engines(2), |stage| {
        let (n1, n2) = (stage.host(1)?, stage.host(2)?);
        ensure!(n1.cmd("hostname")?.ok()?.trim() == "n1");
        for host in [n1, n2] {
            let list = host.cmd("ps")?.words("-e -o comm=").ok()?;
            let engines = list.lines().filter(|name| *name == "dockerd").count();
            ensure!(engines == 1, "{} sees {engines} engines", host.name());
        }
        n1.cmd("touch")?.words("/run/mark /etc/mark").ok()?;
        for file in ["/run/mark", "/etc/mark"] {
            ensure!(n1.path(file)?.exists(), "n1 has no {file}");
            ensure!(!n2.path(file)?.exists(), "n2 has n1's {file}");
            ensure!(
                !std::path::Path::new(file).exists(),
                "the machine has n1's {file}"
            );
        }
        Ok(())
    })
}

#[test]
fn a_name_that_nobody_knows_is_refused_at_once() -> Result<()> {
    in_lab(engines(1), |stage| {
        let pull = stage.engine(stage.host(1)?, &["pull", "nosuch:1"])?;
        ensure!(
            !pull.success() && pull.took < Duration::from_secs(2),
            "took {:?}",
            pull.took
        );
        ensure!(pull.stderr.contains("refused"), pull.shown());
        Ok(())
    })
}
