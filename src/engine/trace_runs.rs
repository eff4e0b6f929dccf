//! Runs: neighbouring rows of one trace.

use datafusion::arrow::array::FixedSizeBinaryArray;

use crate::model::TraceId;

/// The first row of each run, in order.
pub(super) fn run_starts(ids: &FixedSizeBinaryArray) -> Vec<u32> {
    let (chunks, _) = ids.value_data().as_chunks::<{ TraceId::LEN }>();
    let mut starts = Vec::with_capacity(chunks.len() / 8 + 1);
    let mut last = None;
    for (row, id) in chunks.iter().map(|id| u128::from_ne_bytes(*id)).enumerate() {
        if last != Some(id) {
            starts.push(row as u32);
            last = Some(id);
        }
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_begin_where_the_id_changes() {
        let ids = |ids: &[u8]| {
            let ids = ids.iter().map(|id| [*id; 16]);
            FixedSizeBinaryArray::try_from_iter(ids).expect("ids")
        };
        assert_eq!(run_starts(&ids(&[1, 1, 2, 3, 3, 1])), [0, 2, 3, 5]);
        assert_eq!(run_starts(&ids(&[1, 1, 2, 3, 3, 1]).slice(1, 3)), [0, 1, 2]);
        assert_eq!(run_starts(&ids(&[1]).slice(0, 0)), [0; 0]);
    }
}
