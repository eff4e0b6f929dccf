//! The one integration binary: each module is a topic.
//!
//! - `admin`: health, readiness and metrics.
//! - `access`: passwords, tokens, certificates and encryption let in who may, and nobody else.
//! - `among_traces`: spans of traces that a subquery finds, against what was sent.
//! - `attributes`: maps of fresh spans and columns of files answer the same, and the maps are not read.
//! - `audit`: what is noted of clients and acts, and that every change of it is found.
//! - `check`: damage is told, moved aside, and the rest is served.
//! - `cli`: the built program's commands, as a shell runs them.
//! - `collector`: the OpenTelemetry Collector in front.
//! - `column_cache`: columns kept in memory answer as files do.
//! - `compare`: what distinguishes spans and traces is what another program counts.
//! - `compact_memory`: compaction's memory, measured.
//! - `crash`: `kill -9` under load loses and repeats nothing.
//! - `dashboards`: Grafana's dashboards and macros, and what tools ask the catalogue.
//! - `doc_pages`: pages of docs/ that the catalogue writes.
//! - `doctor`: what is found in houses that are well and not, and why traces are not seen.
//! - `engine_limits`: what no statement may do to the process.
//! - `faults_page`: each row of docs/faults.md names tests that there are.
//! - `formats`: what others write is taken, what is written others read, and OTLP comes back as it went in.
//! - `facts`: real traces answer what a separate program computed.
//! - `fuzz_corpora`: hostile inputs and mutations of them, through the bodies of the fuzz targets.
//! - `hostile_traces`: traces as deep as they have spans, or as wide, are answered about in bounded memory.
//! - `ingest_faults`: hostile exports against real listeners, numbered as the list of faults has them.
//! - `ingest_rules`: rules for sensitive data leave nothing of it in any file.
//! - `large_trace`: a trace that is larger than the memory of a statement is answered about, wherever it lies.
//! - `install`: completions, manual pages and the files of `packaging/`.
//! - `layering`: folders depend downwards only.
//! - `life`: spans that come late, and spans that expire.
//! - `library`: the shipped queries find what real traces hold.
//! - `long_statements`: long statements of every shape are answered or refused, and neither takes long to plan.
//! - `metrics`: sketches, histograms and metrics of spans are those that another program counts.
//! - `object_store`: tables on servers that speak like S3 and Azure, when all is well and when not.
//! - `mistakes`: the most likely mistakes of a new user, and what is said to each.
//! - `one_snapshot`: a statement sees one snapshot while others append and seal.
//! - `otlp_fixtures`: real OTLP files of other projects.
//! - `otlp_server`: the listeners and clients that `ingest_faults` shares.
//! - `plans`: a statement has one plan.
//! - `predictions`: anomalies, baselines, forecasts and sampled counts are those that another program makes.
//! - `redact`: chosen spans go for good, and all others stay.
//! - `repl`: the shell on a pipe and in a terminal.
//! - `repl_drawings`: what the shell draws, writes to files and asks of a server; the sessions of its docs.
//! - `reports`: questions in files, on a schedule, with what becomes of their answers.
//! - `sdk`: the OpenTelemetry SDKs of Python, Node, Go and Java export for real, and come again when they are refused.
//! - `shared_table`: servers on one table see what the others do, and fail at nothing.
//! - `slt`: the SQL scripts, in four states of the store that must agree.
//! - `soak`: what a server holds does not grow with what it has done.
//! - `status`: the doctor's note of a server.
//! - `store_crash`: a store killed at every failpoint keeps what it acknowledged, once.
//! - `store_damage`: a missing or damaged data file is named.
//! - `store_foreign`: other programs read the table.
//! - `store_support`: requests, span ids, other programs' checks and plans for the store's topics.
//! - `support`: real servers and clients for the other topics.
//! - `top_rows`: the best rows of many spans, with filters, and counts of ranges, against a plain list.
//! - `trace_lookup`: traces by id, against a plain count of what was sent.
//! - `versions`: data directories of other versions are read or refused.
//! - `pg`: a PostgreSQL server in this process, for the topics below.
//! - `pg_clients`: drivers and tools of other languages.
//! - `pg_functions`: every function that is listed can be called.
//! - `pg_faults`: hostile bytes and statements on the PostgreSQL wire.
//! - `pg_planning`: what is planned for long keeps nobody waiting, and stops as what runs does.
//! - `pg_psql`: what a person sees in `psql`.
//! - `pg_sessions`: sessions as others see and stop them.
//! - `pg_simple`: the simple protocol, through a client library.
//! - `pg_types`: what clients are told of types, and what they may ask of their session.
//!
//! Tests of hostile inputs and faults bear the number of the row of docs/faults.md in their name, `row_…`:
//!
//! | faults | tests |
//! |---|---|
//! | 1–14, exports | `ingest_faults`; 14 at the log's budget in `store` |
//! | 13, 15, 39–41, who may come in | `access`; unit tests of `access` |
//! | 16, 18, 19–22, 24, 26–29, 31, the log, the disk and the clock | unit tests of `store` and of `store::wal` |
//! | 17, 25, a killed process | `store_crash`, at every failpoint; `crash`, under load |
//! | 23, 32, 35, 36, statements without end or measure | `engine_limits`; 32 and 35 over the wire in `pg_faults` |
//! | 20, 30, damaged files | `store_damage`, `check`, and unit tests of `store::check` |
//! | 33, 34, 37, 38, the PostgreSQL wire | `pg_faults` |

// Tests say what they skip and with which seed they run, and what fails in a test's helper fails the test.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::expect_used, clippy::panic, clippy::unreachable)]

mod access;
mod admin;
mod among_traces;
mod attributes;
mod audit;
mod check;
mod cli;
mod collector;
mod column_cache;
mod compact_memory;
mod compare;
mod crash;
mod dashboards;
mod doc_pages;
mod doctor;
mod engine_limits;
mod facts;
mod faults_page;
mod formats;
mod fuzz_corpora;
mod hostile_traces;
mod ingest_faults;
mod ingest_rules;
mod install;
mod large_trace;
mod layering;
mod library;
mod life;
mod long_statements;
mod metrics;
mod mistakes;
mod object_store;
mod one_snapshot;
mod otlp_fixtures;
mod otlp_server;
mod pg;
mod pg_clients;
mod pg_faults;
mod pg_functions;
mod pg_planning;
mod pg_psql;
mod pg_sessions;
mod pg_simple;
mod pg_types;
mod plans;
mod predictions;
mod redact;
mod repl;
mod repl_drawings;
mod reports;
mod sdk;
mod shared_table;
mod slt;
mod soak;
mod status;
mod store_crash;
mod store_damage;
mod store_foreign;
mod store_support;
mod support;
mod top_rows;
mod trace_lookup;
mod trees;
mod versions;
