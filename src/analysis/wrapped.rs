//! Calls that stand in spans of their own: `Repository.find` around each statement.

use super::tree::Tree;

/// What a span is where calls are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It calls somebody; what is below is part of the call.
    Call,
    /// It works for the span above it.
    Inner,
    /// It stands for itself.
    Other,
}

/// For each of `count` spans the outermost around it that makes nothing but this one call, or itself where there is none.
///
/// A span is around a call when it is [`Step::Inner`], of one service with the span below it, and has one [`Step::Call`] below it by way of such spans; where
/// none below it is one, a single span that has no children counts as one. Whatever else is below it, as the waiting for a connection, does not matter.
pub fn outermost(
    tree: &Tree,
    count: usize,
    step: impl Fn(usize) -> Step,
    same_service: impl Fn(usize, usize) -> bool,
) -> Vec<u32> {
    let (mut calls, mut ends) = (vec![0_u8; count], vec![0_u8; count]);
    let above = |row: usize| tree.parent(row).filter(|parent| same_service(row, *parent));
    for row in tree.pre_order().iter().rev().map(|row| *row as usize) {
        match step(row) {
            Step::Call => (calls[row], ends[row]) = (1, 0),
            Step::Inner if tree.children(row).is_empty() => ends[row] = 1,
            Step::Inner => {}
            Step::Other => (calls[row], ends[row]) = (0, 0),
        }
        if let Some(parent) = above(row) {
            calls[parent] = calls[parent].saturating_add(calls[row]);
            ends[parent] = ends[parent].saturating_add(ends[row]);
        }
    }
    let is_around = |row: usize| {
        step(row) == Step::Inner && !tree.children(row).is_empty() && matches!((calls[row], ends[row]), (1, _) | (0, 1))
    };
    let mut outermost: Vec<u32> = (0..count as u32).collect();
    for row in tree.pre_order().iter().map(|row| *row as usize) {
        if let Some(parent) = above(row).filter(|parent| is_around(*parent)) {
            outermost[row] = outermost[parent];
        }
    }
    outermost
}
