//! What the tests of the whole system are made of.

pub mod sim;
