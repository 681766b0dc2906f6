//! The layouts as aya's user-space maps want them.
#![expect(unsafe_code, reason = "aya marks plain data by an unsafe trait")]

use crate::{
    Address, Affinity, AffinityKey, Attachment, Backend, BackendKey, Config, Endpoint, EndpointKey,
    Flow, FlowEvent, FlowKey, FragmentKey, FragmentPorts, Frontend, FrontendKey, Maglev, MaglevKey,
    MemberKey, NameAddresses, NameKey, Network, OriginalDestination, Sandbox, SandboxAddressKey,
    ServiceCounters, SocketKey, SourceKey, Subnet, SubnetKey, Vni,
};

macro_rules! plain_data {
    ($($layout:ty),* $(,)?) => {
        $(
            // SAFETY: `repr(C)` or transparent, made of integers and arrays of them, without
            // padding (asserted by the size tests), so that every byte pattern is a value and
            // every byte is initialised.
            unsafe impl aya::Pod for $layout {}
        )*
    };
}

plain_data!(
    Address,
    Affinity,
    AffinityKey,
    Attachment,
    Backend,
    BackendKey,
    Config,
    Endpoint,
    EndpointKey,
    Flow,
    FlowEvent,
    FlowKey,
    FragmentKey,
    FragmentPorts,
    Frontend,
    FrontendKey,
    Maglev,
    MaglevKey,
    MemberKey,
    NameAddresses,
    NameKey,
    Network,
    OriginalDestination,
    Sandbox,
    SandboxAddressKey,
    ServiceCounters,
    SocketKey,
    SourceKey,
    Subnet,
    SubnetKey,
    Vni,
);
