//! Reports, one module a topic.
//!
//! - `clients`: what reports leave in SQL, read by psql and drivers.
//! - `commands`: the commands of reports, from an empty folder to a delivered report.
//! - `kills`: processes that run what is due and are killed, over a month with both changes of a clock.
//! - `outputs`: what a run leaves behind, read by other programs and looked at in a browser.
//! - `calendar`: what is compared with a week ago, in the weeks in which clocks are set.
//! - `deliveries`: what receivers get, however they behave.
//! - `ready_made`: the reports that come with the program say of real traces what their JSON says.
//! - `ready_made_days`: and of whole days of them what another program does.
//! - `recorded`: results that are kept as tables of the schema `reports`.
//! - `redacted`: traces that are redacted go out of what reports keep.
//! - `runs`: a server that runs reports and is killed.
//! - `sample`: the sample of real traces in a store, and the ready-made reports over it.
//! - `truth`: the sample of real traces as its JSON has it.

mod calendar;
mod clients;
mod commands;
mod deliveries;
mod kills;
mod outputs;
mod ready_made;
mod ready_made_days;
mod recorded;
mod redacted;
mod runs;
mod sample;
mod truth;
