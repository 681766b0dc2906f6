//! DNS messages: what is a question that may be forwarded, what answers it, what to say if not.

use std::collections::BTreeSet;
use std::net::IpAddr;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{DNSClass, RData, Record, RecordType};

/// Bytes of a DNS header; what is shorter cannot even be refused.
const HEADER_BYTES: usize = 12;

/// Seconds for which clients may keep an address of the cluster, as in the data plane.
const TTL: u32 = 5;

/// A question that may be forwarded.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    message: Message,
    query: Query,
}

/// A message that is not a question for a resolver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoQuestion {
    /// It gets this answer.
    Refused(Vec<u8>),
    /// It gets none: it is a response, or too short to be answered.
    Ignored,
}

impl Question {
    /// Reads a client's message.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoQuestion> {
        let Some(header) = bytes.get(..HEADER_BYTES) else {
            return Err(NoQuestion::Ignored);
        };
        let is_response = header[2] & 0x80 != 0;
        if is_response {
            return Err(NoQuestion::Ignored);
        }
        let refused = || NoQuestion::Refused(refusal([header[0], header[1]]));
        let message = Message::from_vec(bytes).map_err(|_| refused())?;
        match message.queries.as_slice() {
            [query] if message.metadata.op_code == OpCode::Query => Ok(Self {
                query: query.clone(),
                message,
            }),
            _ => Err(refused()),
        }
    }

    /// The message for a resolver, under an identifier that the client did not choose.
    pub fn forwarded(&self, id: u16) -> Option<Vec<u8>> {
        let mut message = self.message.clone();
        message.metadata.id = id;
        message.to_vec().ok()
    }

    /// A resolver's message made the client's answer; `None` when it does not answer the question
    /// that was forwarded as `id`, or says that the resolver cannot answer.
    pub fn answer(&self, id: u16, bytes: &[u8]) -> Option<Vec<u8>> {
        let reply = Message::from_vec(bytes).ok()?;
        let metadata = &reply.metadata;
        let answers = metadata.id == id
            && metadata.message_type == MessageType::Response
            && reply.queries.first() == Some(&self.query);
        let useless = matches!(
            metadata.response_code,
            ResponseCode::ServFail | ResponseCode::Refused
        );
        if !answers || useless {
            return None;
        }
        // The resolver's bytes stay as they are, with records that this crate may not know.
        let mut bytes = bytes.to_vec();
        bytes[..2].copy_from_slice(&self.message.metadata.id.to_be_bytes());
        Some(bytes)
    }

    /// The name that is asked for, without its final dot.
    pub fn name(&self) -> String {
        let name = self.query.name().to_ascii();
        name.strip_suffix('.').unwrap_or(&name).to_owned()
    }

    /// The answer that a name of the cluster has these addresses. One of more than `bytes_max`
    /// bytes comes without them, and says so: the client asks again by TCP.
    pub fn addresses(&self, addresses: &BTreeSet<IpAddr>, bytes_max: usize) -> Option<Vec<u8>> {
        let metadata = &self.message.metadata;
        let mut reply = Message::error_msg(metadata.id, metadata.op_code, ResponseCode::NoError);
        reply.metadata.recursion_desired = metadata.recursion_desired;
        reply.metadata.recursion_available = true;
        reply.metadata.authoritative = true;
        reply.add_query(self.query.clone());
        let bare = reply.clone();
        let asked = (self.query.query_class(), self.query.query_type());
        for address in addresses {
            let data = match (asked, address) {
                ((DNSClass::IN, RecordType::A), IpAddr::V4(v4)) => RData::A(A(*v4)),
                ((DNSClass::IN, RecordType::AAAA), IpAddr::V6(v6)) => RData::AAAA(AAAA(*v6)),
                _ => continue,
            };
            reply.add_answer(Record::from_rdata(self.query.name().clone(), TTL, data));
        }
        let bytes = reply.to_vec().ok()?;
        if bytes.len() <= bytes_max {
            return Some(bytes);
        }
        let mut truncated = bare;
        truncated.metadata.truncation = true;
        truncated.to_vec().ok()
    }

    /// The answer when no resolver gave one.
    pub fn failure(&self) -> Option<Vec<u8>> {
        let metadata = &self.message.metadata;
        let mut reply = Message::error_msg(metadata.id, metadata.op_code, ResponseCode::ServFail);
        reply.metadata.recursion_desired = metadata.recursion_desired;
        reply.metadata.recursion_available = true;
        reply.add_query(self.query.clone());
        reply.to_vec().ok()
    }
}

/// A header that says "refused" and nothing else.
fn refusal(id: [u8; 2]) -> Vec<u8> {
    const RESPONSE: u8 = 0x80;
    const REFUSED: u8 = 5;
    let mut header = vec![0; HEADER_BYTES];
    header[..2].copy_from_slice(&id);
    header[2] = RESPONSE;
    header[3] = REFUSED;
    header
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use hickory_proto::rr::rdata::A;
    use hickory_proto::rr::{Name, RData, Record, RecordType};

    use super::*;

    fn ask(name: &str) -> Message {
        let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
        message
    }

    fn question() -> Question {
        Question::parse(&ask("example.org.").to_vec().unwrap()).unwrap()
    }

    fn reply(id: u16, to: &Message, code: ResponseCode) -> Vec<u8> {
        let mut message = Message::error_msg(id, OpCode::Query, code);
        message.add_queries(to.queries.clone());
        let name = to.queries[0].name().clone();
        let address = RData::A(A(Ipv4Addr::new(192, 0, 2, 7)));
        message.add_answer(Record::from_rdata(name, 5, address));
        message.to_vec().unwrap()
    }

    #[test]
    fn a_question_is_forwarded_under_another_identifier() {
        let sent = question().forwarded(7).unwrap();
        let message = Message::from_vec(&sent).unwrap();
        assert_eq!(message.metadata.id, 7);
        assert_eq!(message.queries, ask("example.org.").queries);
    }

    #[test]
    fn the_client_gets_the_resolvers_answer_under_its_own_identifier() {
        let bytes = reply(7, &ask("example.org."), ResponseCode::NoError);
        let answer = question().answer(7, &bytes).unwrap();
        assert_eq!(answer[..2], [0x12, 0x34]);
        assert_eq!(answer[2..], bytes[2..]);
        let unknown = reply(7, &ask("example.org."), ResponseCode::NXDomain);
        assert!(question().answer(7, &unknown).is_some());
    }

    #[test]
    fn what_does_not_answer_the_question_is_not_passed_on() {
        let ours = ask("example.org.");
        let none = |bytes: &[u8]| assert_eq!(question().answer(7, bytes), None);
        none(&reply(8, &ours, ResponseCode::NoError));
        none(&reply(7, &ask("evil.example."), ResponseCode::NoError));
        none(&reply(7, &ours, ResponseCode::ServFail));
        none(&reply(7, &ours, ResponseCode::Refused));
        none(&ours.to_vec().unwrap());
        none(b"");
    }

    #[test]
    fn a_name_of_the_cluster_is_answered_with_the_addresses_of_the_family() {
        let addresses = ["10.0.10.7", "10.0.10.8", "fd00::7"].map(|text| text.parse().unwrap());
        let set = BTreeSet::from(addresses);
        let answer = Message::from_vec(&question().addresses(&set, 512).unwrap()).unwrap();
        let given: Vec<_> = answer
            .answers
            .iter()
            .map(|record| record.data.clone())
            .collect();
        let expected = [7, 8].map(|last| RData::A(A(Ipv4Addr::new(10, 0, 10, last))));
        assert_eq!(given, expected);
        assert!(answer.metadata.authoritative && !answer.metadata.truncation);
        assert_eq!(question().name(), "example.org");
    }

    #[test]
    fn an_answer_that_is_too_long_for_a_datagram_is_cut() {
        let many: BTreeSet<IpAddr> = (0..100)
            .map(|last| IpAddr::from([10, 0, 0, last]))
            .collect();
        let cut = Message::from_vec(&question().addresses(&many, 512).unwrap()).unwrap();
        assert!(cut.metadata.truncation && cut.answers.is_empty());
        let whole = Message::from_vec(&question().addresses(&many, 65_535).unwrap()).unwrap();
        assert_eq!(whole.answers.len(), 100);
    }

    #[test]
    fn garbage_is_refused_and_answers_are_ignored() {
        let mut garbage = vec![0xff; 40];
        garbage[2] = 0;
        let NoQuestion::Refused(bytes) = Question::parse(&garbage).unwrap_err() else {
            panic!("refused")
        };
        let refused = Message::from_vec(&bytes).unwrap();
        assert_eq!(refused.metadata.id, 0xffff);
        assert_eq!(refused.metadata.response_code, ResponseCode::Refused);
        let mut two = ask("a.");
        two.add_queries(ask("b.").queries);
        let two = two.to_vec().unwrap();
        assert!(matches!(Question::parse(&two), Err(NoQuestion::Refused(_))));

        assert_eq!(Question::parse(b"short"), Err(NoQuestion::Ignored));
        let answer = reply(1, &ask("a."), ResponseCode::NoError);
        assert_eq!(Question::parse(&answer), Err(NoQuestion::Ignored));
    }

    #[test]
    fn a_failure_names_the_question() {
        let failure = Message::from_vec(&question().failure().unwrap()).unwrap();
        assert_eq!(failure.metadata.response_code, ResponseCode::ServFail);
        assert_eq!(failure.metadata.id, 0x1234);
        assert_eq!(failure.queries, ask("example.org.").queries);
    }
}
