//! Everybody who may speak to something reaches it: every cell of the connectivity matrix, really
//! asked, while one connection of every path is kept.

mod cells;
mod scene;

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};
use xtask::lab::Options;
use xtask::lab::probe::{self, Answer};
use xtask::story::stage::SOON;
use xtask::wait;

use crate::harness::in_watched_lab;
use cells::{Cell, Destination, Protocol, Source, cells};
use scene::Scene;

#[test]
fn every_cell_of_the_matrix_answers() -> Result<()> {
    in_watched_lab(Options::swarm(2), |stage, mut watch| {
        let scene = Scene::build(stage)?;
        let cells = cells();
        settle(&scene, &cells)?;
        let wrong = ask(&scene, &cells)?;
        let count = cells.len();
        println!("{count} cells asked, {} do not hold", wrong.len());
        ensure!(
            wrong.is_empty(),
            "{} of {count} cells do not hold:\n{}",
            wrong.len(),
            lines(&wrong)
        );
        for (source, targets) in connections(&scene, &cells)? {
            watch.hold(scene.place(source), &targets)?;
        }
        let wrong = ask(&scene, &cells)?;
        ensure!(wrong.is_empty(), "beside others:\n{}", lines(&wrong));
        watch.end()
    })
}

/// Waits until the first host leads to both services: what it leads to came with the same state.
fn settle(scene: &Scene, cells: &[Cell]) -> Result<()> {
    let vips: Vec<Cell> = cells
        .iter()
        .filter(|cell| {
            matches!(cell.destination, Destination::Vip(_)) && cell.protocol == Protocol::Tcp
        })
        .copied()
        .collect();
    wait::until("both services to be reached", SOON, || {
        match ask(scene, &vips)? {
            wrong if wrong.is_empty() => Ok(()),
            wrong => bail!(lines(&wrong)),
        }
    })
}

/// Asks all cells, those of one source at the same time; the ones that do not hold, and why.
fn ask(scene: &Scene, cells: &[Cell]) -> Result<Vec<(Cell, String)>> {
    let mut wrong = Vec::new();
    for source in Source::ALL {
        let ours: Vec<&Cell> = cells.iter().filter(|cell| cell.source == source).collect();
        if ours.is_empty() {
            continue;
        }
        let targets: Vec<String> = ours
            .iter()
            .map(|cell| scene.target(cell))
            .collect::<Result<_>>()?;
        let answers = probe::ask(scene.place(source), &targets)?;
        for (cell, answer) in ours.into_iter().zip(answers) {
            if let Err(why) = check(scene, cell, answer) {
                wrong.push((*cell, format!("{why:#}")));
            }
        }
    }
    Ok(wrong)
}

fn check(scene: &Scene, cell: &Cell, answer: Result<Answer, String>) -> Result<()> {
    match answer {
        Err(why) => bail!(why),
        Ok(Answer::Echo) => ensure!(cell.protocol == Protocol::Icmp, "an echo"),
        Ok(Answer::Line { server, client }) => {
            let wanted = cell.destination.server();
            ensure!(server == wanted, "{server} answers, not {wanted}");
            if let Some(wanted) = scene.seen(cell)? {
                ensure!(client == wanted, "it sees {client}, not {wanted}");
            }
        }
    }
    Ok(())
}

/// The targets of one TCP connection for every path, by source.
fn connections(scene: &Scene, cells: &[Cell]) -> Result<BTreeMap<Source, Vec<String>>> {
    let mut targets: BTreeMap<Source, Vec<String>> = BTreeMap::new();
    for cell in cells.iter().filter(|cell| cell.protocol == Protocol::Tcp) {
        let target = scene.target(cell)?;
        targets.entry(cell.source).or_default().push(target);
    }
    Ok(targets)
}

fn lines(wrong: &[(Cell, String)]) -> String {
    let lines = wrong.iter().map(|(cell, why)| format!("  {cell}: {why}"));
    lines.collect::<Vec<_>>().join("\n")
}
