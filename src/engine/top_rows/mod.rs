//! `ORDER BY … LIMIT k` that reads the pages of files which may hold the k best rows first, and ends when no page left can hold a better one.
//!
//! A page's bound is its largest (or smallest) value of the column that the order rests on, as the files' page index has it. The part of the plan
//! below the limit runs in steps, each over the pages with the best bounds that are left, with the k-th best row so far as a filter in the scan:
//! wide columns are decoded for rows that are better than it, and for no others.

mod exec;
mod origin;
mod rule;

pub(super) use rule::TopRows;
