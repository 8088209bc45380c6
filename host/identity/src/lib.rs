//! Who is calling: API tokens, browser sessions and the built-in organisation.
//!
//! A *token* is opaque text given to a person once; what is kept is a hash of it. A *session*
//! stands for a token in a browser: it is opened with the token, lasts some hours, and ends when
//! the token does. Both lead to a [`Principal`]: which organisation, with which role.
//!
//! Invariants:
//! - Neither the text of a token nor that of a session is stored, logged or shown by `Debug`.
//! - Whatever is not known to be good is nobody: a malformed, unknown, revoked or expired
//!   credential gives no principal and no reason.
//! - This crate does not know HTTP; headers and cookies are `bindery-api`'s.

mod credential;
mod identity;
mod record;

pub use self::{
    credential::SecretText,
    identity::{Identity, IdentityError, NewToken, SESSION_LIFETIME, TokenInfo},
    record::{Principal, Role},
};
