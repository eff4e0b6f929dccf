//! A page with one table, which needs nothing else: no network, no script.

use std::io::Write;

use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::record_batch::RecordBatch;

use super::cell::{CellStyle, is_number};
use super::counted::count;
use super::sanitize::push_sanitized;
use super::writer::{RenderOptions, write_failed};
use crate::error::Result;

const HEAD: &str = "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>spanhouse</title>\n<style>\n\
    :root { color-scheme: light dark; }\n\
    body { font: 14px/1.4 system-ui, sans-serif; margin: 1em; }\n\
    table { border-collapse: collapse; }\n\
    th, td { padding: .2em .6em; border-bottom: 1px solid #8886; text-align: left; vertical-align: top; white-space: pre-wrap; }\n\
    .n { text-align: right; font-variant-numeric: tabular-nums; }\n\
    .null { color: #888; }\n\
    </style>\n</head>\n<body>\n<table>\n";

/// Writes rows of an HTML table.
pub(super) struct HtmlRows {
    style: CellStyle,
    right: Vec<bool>,
    null: String,
    line: String,
    rows: u64,
}

impl HtmlRows {
    pub(super) fn start(schema: &Schema, options: &RenderOptions, out: &mut dyn Write) -> Result<Self> {
        let right: Vec<bool> = schema.fields().iter().map(|field| is_number(field.data_type())).collect();
        let mut line = String::from(HEAD);
        line.push_str("<thead><tr>");
        for (field, right) in schema.fields().iter().zip(&right) {
            line.push_str(if *right { "<th class=\"n\">" } else { "<th>" });
            push_escaped(field.name(), &mut line);
            line.push_str("</th>");
        }
        line.push_str("</tr></thead>\n<tbody>\n");
        out.write_all(line.as_bytes()).map_err(write_failed)?;
        let mut null = String::new();
        push_escaped(options.null_text("NULL"), &mut null);
        Ok(Self { style: CellStyle::new(schema, &options.zone)?, right, null, line, rows: 0 })
    }

    pub(super) fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<()> {
        let cells = self.style.cells(batch)?;
        for row in 0..batch.num_rows() {
            self.line.clear();
            self.line.push_str("<tr>");
            for (column, right) in self.right.iter().enumerate() {
                self.line.push_str(if *right { "<td class=\"n\">" } else { "<td>" });
                match cells.is_null(row, column) {
                    true => self.line.push_str(&format!("<span class=\"null\">{}</span>", self.null)),
                    false => push_escaped(&cells.text(row, column)?, &mut self.line),
                }
                self.line.push_str("</td>");
            }
            self.line.push_str("</tr>\n");
            out.write_all(self.line.as_bytes()).map_err(write_failed)?;
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    pub(super) fn finish(&self, out: &mut dyn Write) -> Result<()> {
        let rows = count(self.rows, "row");
        writeln!(out, "</tbody>\n</table>\n<p>{rows}</p>\n</body>\n</html>").map_err(write_failed)
    }
}

/// Appends text that can neither be a tag nor hide what it is.
fn push_escaped(text: &str, line: &mut String) {
    for (position, part) in text.split('\n').enumerate() {
        if position > 0 {
            line.push('\n');
        }
        let mut safe = String::with_capacity(part.len());
        push_sanitized(part, &mut safe);
        for letter in safe.chars() {
            match letter {
                '&' => line.push_str("&amp;"),
                '<' => line.push_str("&lt;"),
                '>' => line.push_str("&gt;"),
                '"' => line.push_str("&quot;"),
                letter => line.push(letter),
            }
        }
    }
}
