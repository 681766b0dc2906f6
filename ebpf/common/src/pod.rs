//! The layouts as aya's user-space maps want them.
#![expect(unsafe_code, reason = "aya marks plain data by an unsafe trait")]

use crate::{
    Address, Attachment, Backend, BackendKey, Config, Endpoint, EndpointKey, Flow, FlowKey,
    Frontend, FrontendKey, MemberKey, NameAddresses, NameKey, Network, OriginalDestination,
    Sandbox, SandboxAddressKey, SocketKey, Subnet, SubnetKey, Vni,
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
    Attachment,
    Backend,
    BackendKey,
    Config,
    Endpoint,
    EndpointKey,
    Flow,
    FlowKey,
    Frontend,
    FrontendKey,
    MemberKey,
    NameAddresses,
    NameKey,
    Network,
    OriginalDestination,
    Sandbox,
    SandboxAddressKey,
    SocketKey,
    Subnet,
    SubnetKey,
    Vni,
);
