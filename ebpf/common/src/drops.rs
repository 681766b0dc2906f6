//! Why a packet was dropped.

macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal,)*) => {
        /// Index into `DROPS`. New reasons go to the end.
        #[repr(u32)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum DropReason {
            $($(#[doc = $doc])* $variant,)*
        }

        impl DropReason {
            /// Every reason, by index.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];
            /// How many there are: the size of `DROPS`.
            pub const COUNT: u32 = Self::ALL.len() as u32;

            /// The name shown to people.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What it means, in a sentence.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc),*).trim_ascii(),)*
                }
            }
        }
    };
}

drop_reasons! {
    /// Too short for the headers it announces, or with lengths that contradict each other.
    Malformed = "malformed",
    /// The loader has not filled `CONFIG` yet.
    NotConfigured = "not-configured",
    /// A veth that `ATTACHMENTS` does not know.
    UnknownInterface = "unknown-interface",
    /// A task sent from an address that is none of its own.
    SpoofedSource = "spoofed-source",
    /// Neither ARP nor IP.
    UnsupportedEtherType = "unsupported-ethertype",
    /// Neither TCP, UDP, SCTP nor ICMP, towards something that needs translation.
    UnsupportedProtocol = "unsupported-protocol",
    /// Multicast or broadcast, which overlay networks do not carry.
    Multicast = "multicast",
    /// A later fragment whose first one was not seen, towards something that needs translation.
    Fragment = "fragment",
    /// A tunnel packet from a host that is not of the cluster.
    UnknownPeer = "unknown-peer",
    /// A network that this host does not know.
    UnknownNetwork = "unknown-network",
    /// A tunnel packet for an address that no task of this host has.
    UnknownEndpoint = "unknown-endpoint",
    /// The task is of this host, but its interface is not attached yet or no more.
    EndpointNotAttached = "endpoint-not-attached",
    /// A backend slot was missing twice in a row.
    NoBackend = "no-backend",
    /// The connection table took no new entry.
    FlowTableFull = "flow-table-full",
    /// All tried ports of the host stand for other conversations.
    NoPortLeft = "no-port-left",
    /// An ICMP message of no known conversation, towards something that needs translation.
    IcmpNotTranslated = "icmp-not-translated",
    /// An outside address, from a task of an internal network.
    InternalNetwork = "internal-network",
    /// The host sent something into the host link that is no published port and no reply.
    HostUnexpected = "host-unexpected",
    /// The kernel refused to rewrite the packet.
    RewriteFailed = "rewrite-failed",
    /// An ARP message that gets no answer.
    ArpUnanswered = "arp-unanswered",
    /// No route leads to the destination.
    NoRoute = "no-route",
    /// A neighbour solicitation, or another message of the link, that gets no answer.
    NeighbourUnanswered = "neighbour-unanswered",
    /// Too big for the tunnel; the sender was told the size that fits, if it can be told.
    TooBig = "too-big",
    /// The published port does not take this client.
    SourceDenied = "source-denied",
    /// One client port through more ingress hosts at once than can be told apart.
    IngressCollision = "ingress-collision",
    /// The host has no address of this family to send from.
    NoSourceAddress = "no-source-address",
    /// A fragment, or another packet that IPv4 and IPv6 do not have in common, between an IPv6
    /// client and a task without an IPv6 address.
    FamilyNotChanged = "family-not-changed",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_follow_the_list() {
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index, "{}", reason.name());
        }
        assert_eq!(
            DropReason::NoRoute.meaning(),
            "No route leads to the destination."
        );
        assert_eq!(DropReason::COUNT as usize, DropReason::ALL.len());
    }
}
