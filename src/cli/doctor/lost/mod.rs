//! Why is a trace or a service not seen?
//!
//! What is found is gathered first ([`around`], [`trace`], [`service`]), and judged by functions of it alone, each an answer of its own.

mod around;
mod causes;
mod service;
mod spelling;
mod times;
mod trace;

pub(super) use service::answer as service;
pub(super) use spelling::readings;
pub(super) use trace::answer as trace;
