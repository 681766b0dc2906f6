//! Raft's messages as bytes.

use protobuf::Message as _;
use raft::eraftpb::Message;

use super::ConsensusError;

/// A message as another member takes it.
pub fn encode(message: &Message) -> Result<Vec<u8>, ConsensusError> {
    message
        .write_to_bytes()
        .map_err(|e| ConsensusError::BadMessage(e.to_string()))
}

/// A message of another member.
pub fn decode(bytes: &[u8]) -> Result<Message, ConsensusError> {
    Message::parse_from_bytes(bytes).map_err(|e| ConsensusError::BadMessage(e.to_string()))
}
