//! The node-to-node protocol of orchd: messages, clients and server traits generated from
//! `proto/node.proto`. It owns the wire format only; who may call what, and what a call does, is
//! orchd's.
#![allow(
    missing_docs,
    reason = "generated; proto/node.proto holds the documentation"
)]
#![allow(
    clippy::allow_attributes_without_reason,
    clippy::wildcard_enum_match_arm,
    reason = "generated"
)]

tonic::include_proto!("orch.node.v1");

/// The compiled descriptor set of the protocol, for tests that go through every method.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/node.bin"));
