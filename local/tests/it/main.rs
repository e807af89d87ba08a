//! End-to-end tests: a client that knows only HTTP, against the local stack.
//!
//! Each test starts a stack of its own in this process, with the real SDK against the embedded database, and holds its
//! clock: nothing sleeps. [`restart`] runs the real binary. Where a test looks behind HTTP, [`harness`] says so.

mod harness;

mod admin;
mod deletion;
mod email;
mod export;
mod import;
mod jwks;
mod limits;
mod login;
mod logout;
mod mail_events;
mod me;
mod outbox;
mod password_change;
mod password_forgot;
mod password_reset;
mod profile;
mod reauthenticate;
mod refresh;
mod rotate_keys;
mod sessions;
mod signup;
mod verify;

mod cookies;
mod csrf;
mod device;
mod edge;
mod flows;
mod forged;
mod fresh;
mod instances;
mod machine;
mod peers;
mod protocol;
mod requests;
mod secrets;
mod security;
mod session_layer;
mod storage;
mod typed;

mod authorizer;
mod breach;
mod budget;
mod consistency;
mod endpoints;
mod events;
mod faults;
mod gateway;
mod openapi;
mod permissions;
mod restart;
