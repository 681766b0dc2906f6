//! Answers for every address of a subnet with one link-layer address, so that tasks need no
//! neighbour table.

use orch_ebpf_common::headers::{ArpMessage, EthernetHeader};
use orch_ebpf_common::{Address, Attachment, Be32, DropReason, MacAddress};

use crate::packet::reflect;
use crate::skb::Skb;
use crate::{Outcome, maps, verdict};

/// Answers a task's question; its own address stays unanswered, as it may probe for duplicates.
#[inline(never)]
pub fn answer(skb: Skb, attachment: &Attachment) -> i32 {
    verdict(reply(skb, attachment))
}

#[inline(always)]
fn reply(skb: Skb, attachment: &Attachment) -> Outcome {
    let request: ArpMessage = skb.load(EthernetHeader::LEN)?;
    let target = Address::from_v4(Be32::from_bytes(request.target));
    if !request.is_request()
        || target == attachment.v4
        || maps::subnet(attachment.vni, target).is_none()
    {
        return Err(DropReason::ArpUnanswered);
    }
    skb.store(EthernetHeader::LEN, &request.reply(MacAddress::GATEWAY))?;
    // The question went to everyone; the answer comes from the gateway.
    skb.store(0, &MacAddress::GATEWAY)?;
    reflect(skb)
}
