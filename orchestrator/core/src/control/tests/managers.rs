//! Nodes that become managers, and are some no more.

use super::*;

fn set_role(
    bench: &mut Bench,
    index: usize,
    role: Role,
    managers: &Group,
) -> Result<(), ControlError> {
    let node = bench.state.node(&bench.node(index)).unwrap().clone();
    let spec = NodeSpec {
        role,
        ..node.spec.clone()
    };
    bench.write(|tx| update_node(tx, &node.id, node.meta.version, spec, managers))
}

fn serves_as(bench: &Bench, index: usize) -> Role {
    let node = bench.node(index);
    dispatch::assignment(&bench.state, &node).unwrap().role
}

/// The raft group consists of these.
fn go_on_with(bench: &mut Bench, ids: &[u64]) {
    let dismissed = bench.write(|tx| {
        dismiss(tx, &group(ids));
        Ok(())
    });
    dismissed.unwrap();
}

#[test]
fn a_worker_is_promoted_enrols_and_is_demoted_again() {
    let mut bench = Bench::with_nodes(2);
    let (node, address) = (bench.node(1), "192.0.2.2:2377".parse().unwrap());
    let refused = bench.write(|tx| enroll(tx, &node, 9, address)).unwrap_err();
    assert!(matches!(refused, ControlError::PermissionDenied(_)));
    set_role(&mut bench, 1, Role::Manager, &group(&[1])).unwrap();
    assert_eq!(serves_as(&bench, 1), Role::Manager);
    assert_eq!(wanted_members(&bench.state), BTreeSet::from([1]));
    bench.write(|tx| enroll(tx, &node, 9, address)).unwrap();
    assert_eq!(wanted_members(&bench.state), BTreeSet::from([1, 9]));
    set_role(&mut bench, 1, Role::Worker, &group(&[1, 9])).unwrap();
    assert_eq!(wanted_members(&bench.state), BTreeSet::from([1]));
    // It serves on until the group goes on without it, and cannot be removed before.
    go_on_with(&mut bench, &[1, 9]);
    assert_eq!(serves_as(&bench, 1), Role::Manager);
    assert!(bench.write(|tx| remove_node(tx, &node, true)).is_err());
    go_on_with(&mut bench, &[1]);
    assert_eq!(serves_as(&bench, 1), Role::Worker);
}

#[test]
fn a_manager_that_is_promoted_again_before_it_was_told_takes_another_place() {
    let mut bench = Bench::with_nodes(2);
    let (node, address) = (bench.node(1), "192.0.2.2:2377".parse().unwrap());
    set_role(&mut bench, 1, Role::Manager, &group(&[1])).unwrap();
    let told = |bench: &Bench| dispatch::assignment(&bench.state, &node).unwrap();
    let before = told(&bench);
    bench.write(|tx| enroll(tx, &node, 9, address)).unwrap();
    let since = bench.state.version();
    assert!(!told(&bench).disowns(9, since));
    // What it is told late does not count.
    assert!(!before.disowns(9, since));
    set_role(&mut bench, 1, Role::Worker, &group(&[1, 9])).unwrap();
    go_on_with(&mut bench, &[1]);
    // Its certificate will say that it is a worker.
    assert!(!told(&bench).disowns(9, since));
    set_role(&mut bench, 1, Role::Manager, &group(&[1])).unwrap();
    assert!(told(&bench).disowns(9, since));
    bench.write(|tx| enroll(tx, &node, 10, address)).unwrap();
    assert!(!told(&bench).disowns(10, bench.state.version()));
}

#[test]
fn neither_the_last_manager_nor_one_that_is_needed_can_be_demoted() {
    let mut bench = Bench::with_nodes(3);
    let last = set_role(&mut bench, 0, Role::Worker, &group(&[1])).unwrap_err();
    assert!(last.to_string().contains("the last manager"), "{last}");
    set_role(&mut bench, 1, Role::Manager, &group(&[1])).unwrap();
    let (node, address) = (bench.node(1), "192.0.2.2:2377".parse().unwrap());
    bench.write(|tx| enroll(tx, &node, 9, address)).unwrap();
    let mut alone = group(&[1, 9]);
    alone.active.remove(&1);
    let needed = set_role(&mut bench, 1, Role::Worker, &alone).unwrap_err();
    assert!(needed.to_string().contains("a loss of quorum"), "{needed}");
    let said = bench.write(|tx| leave(tx, &node, &alone)).unwrap_err();
    assert_eq!(said, needed);
    bench.write(|tx| leave(tx, &node, &group(&[1, 9]))).unwrap();
    let left = bench.state.node(&node).unwrap();
    assert_eq!(
        (left.spec.role, left.status.state),
        (Role::Worker, NodeState::Down)
    );
}

#[test]
fn one_manager_goes_on_alone() {
    let mut bench = Bench::with_nodes(3);
    let address = |last: u8| format!("192.0.2.{last}:2377").parse().unwrap();
    for (index, raft_id) in [(1, 9), (2, 10)] {
        set_role(&mut bench, index, Role::Manager, &group(&[1])).unwrap();
        let node = bench.node(index);
        bench
            .write(|tx| enroll(tx, &node, raft_id, address(2)))
            .unwrap();
    }
    let node = bench.node(1);
    bench
        .write(|tx| refound(tx, &node, 77, address(2)))
        .unwrap();
    assert_eq!(wanted_members(&bench.state), BTreeSet::from([77]));
    let roles = [0, 1, 2].map(|index| serves_as(&bench, index));
    assert_eq!(roles, [Role::Worker, Role::Manager, Role::Worker]);
    let stranger = crate::ids::NodeId::from_random(99);
    assert!(
        bench
            .write(|tx| refound(tx, &stranger, 78, address(9)))
            .is_err()
    );
}
