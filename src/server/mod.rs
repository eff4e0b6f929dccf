//! The PostgreSQL wire.

mod encode;
