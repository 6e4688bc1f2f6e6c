//! Why a request goes where it goes, by asking the compiled filter itself.
//!
//! ```text
//! curl, access log, HAR, JSON --read--> Request --Asker--> Answer --text / json--> people, programs
//! ```
//!
//! The rules are never looked at a second time here. The filter explains its own decision (its export `shunt_explain`,
//! which Envoy never calls); this crate adds what carries that decision out, from the plan: timeout, retries, mirrors,
//! endpoints and Envoy's route.
//!
//! - [`read`](mod@read): requests from the forms people have them in
//! - [`Asker`]: one instance of the filter, and what it says
//! - [`Batch`]: many requests at once
//! - [`carried`](mod@carried): the plan's part; [`elsewhere`]: rules that were not asked;
//!   `concerns`: findings about what a request meets
//! - [`text`](mod@text): an answer for people

mod asker;
mod batch;
pub mod carried;
mod concerns;
pub mod elsewhere;
pub mod read;
mod refused;
mod request;
mod shown;
pub mod text;

pub use asker::{Answer, Asker, AskerError};
pub use batch::{Answered, Batch, Form};
pub use refused::Refused;
pub use request::{Request, RequestError};
pub use shown::{escaped, shown};
