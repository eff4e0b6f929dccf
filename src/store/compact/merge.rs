//! The k-way merge of sorted inputs, batch by batch.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::interleave_record_batch;

use super::cut::Cut;
use crate::error::{Error, Result};
use crate::store::order::{KeyColumns, SortKey};

/// The rows of a merged batch: enough that the writer's work for each batch does not count.
const GATHER_ROWS: usize = 8 * 1024;
/// What a merged batch takes of memory: that many rows, where attributes are rich. Where they are huge, it has fewer rows.
const GATHER_BYTES: u64 = 8 << 20;

/// Rows in order, one batch after the other.
pub(crate) trait Input {
    /// The next batch; `None` at the end. Empty batches are allowed.
    fn next(&mut self) -> Result<Option<RecordBatch>>;
    /// The input's name, for messages.
    fn name(&self) -> &str;
    /// What a row takes of memory, as far as is known.
    fn row_bytes(&self) -> u64;
}

/// A merge under way.
#[derive(Debug)]
pub(super) struct Merge<I> {
    inputs: Vec<Cursor<I>>,
    /// The next row of each input that has one.
    heads: BinaryHeap<Reverse<(SortKey, usize)>>,
    last: Option<SortKey>,
}

/// An input and where in its current batch it stands.
#[derive(Debug)]
struct Cursor<I> {
    input: I,
    batch: Option<RecordBatch>,
    keys: Vec<SortKey>,
    row: usize,
    /// Where the batch stands among those that are being gathered from.
    slot: usize,
}

/// Rows on their way into one batch.
#[derive(Default)]
struct Gathered {
    batches: Vec<RecordBatch>,
    /// (batch, row)
    rows: Vec<(usize, usize)>,
    /// What the rows take of memory.
    bytes: u64,
}

impl<I: Input> Merge<I> {
    /// Reads the first batch of each input.
    pub(super) fn begin(inputs: Vec<I>) -> Result<Self> {
        let mut merge = Self { inputs: Vec::new(), heads: BinaryHeap::new(), last: None };
        for input in inputs {
            let mut cursor = Cursor { input, batch: None, keys: Vec::new(), row: 0, slot: 0 };
            cursor.load()?;
            if let Some(key) = cursor.key() {
                merge.heads.push(Reverse((key, merge.inputs.len())));
            }
            merge.inputs.push(cursor);
        }
        Ok(merge)
    }

    /// Whether all rows have been given.
    pub(super) fn is_done(&self) -> bool {
        self.heads.is_empty()
    }

    /// The next rows in order. `rows_before` are those of the file under way; `None` when the file ends here.
    pub(super) fn next_batch(&mut self, cut: Cut, rows_before: u64) -> Result<Option<RecordBatch>> {
        let mut gathered = Gathered::default();
        for cursor in &mut self.inputs {
            cursor.enter(&mut gathered);
        }
        while let Some(Reverse((key, index))) = self.heads.pop() {
            let rows = rows_before + gathered.rows.len() as u64;
            let ends = rows > 0 && self.last.is_some_and(|last| cut.is_here(rows, &last, &key));
            if ends || gathered.is_full() {
                self.heads.push(Reverse((key, index)));
                break;
            }
            let bound = self.heads.peek().map(|Reverse((bound, _))| *bound);
            let cursor = &mut self.inputs[index];
            self.last = Some(cursor.take_run(bound, &mut gathered)?);
            if let Some(next) = cursor.key() {
                self.heads.push(Reverse((next, index)));
            }
        }
        gathered.finish()
    }
}

impl<I: Input> Cursor<I> {
    fn key(&self) -> Option<SortKey> {
        self.keys.get(self.row).copied()
    }

    fn enter(&mut self, gathered: &mut Gathered) {
        if let Some(batch) = &self.batch {
            self.slot = gathered.batches.len();
            gathered.batches.push(batch.clone());
        }
    }

    /// Takes the rows of the current trace and bucket that come before `bound`, one at least, until there is no room for more; gives the last
    /// one's key.
    fn take_run(&mut self, bound: Option<SortKey>, gathered: &mut Gathered) -> Result<SortKey> {
        let mut last = self.keys[self.row];
        loop {
            gathered.rows.push((self.slot, self.row));
            gathered.bytes += self.input.row_bytes();
            self.row += 1;
            if self.row == self.keys.len() {
                self.load()?;
                self.enter(gathered);
            }
            let Some(next) = self.key() else { return Ok(last) };
            if next < last {
                return Err(Error::corrupt(format!("the rows of {} are out of order", self.input.name())));
            }
            let same_run = next.bucket == last.bucket && next.trace_id == last.trace_id;
            if gathered.is_full() || !same_run || bound.is_some_and(|bound| next > bound) {
                return Ok(last);
            }
            last = next;
        }
    }

    /// Goes to the input's next batch that has rows.
    fn load(&mut self) -> Result<()> {
        (self.batch, self.row) = (None, 0);
        self.keys.clear();
        while let Some(batch) = self.input.next()? {
            if batch.num_rows() > 0 {
                let keys = KeyColumns::of(&batch)?;
                self.keys.extend((0..batch.num_rows()).map(|row| keys.key(row)));
                self.batch = Some(batch);
                return Ok(());
            }
        }
        Ok(())
    }
}

impl Gathered {
    fn is_full(&self) -> bool {
        self.rows.len() >= GATHER_ROWS || self.bytes >= GATHER_BYTES
    }

    fn finish(self) -> Result<Option<RecordBatch>> {
        if self.rows.is_empty() {
            return Ok(None);
        }
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        let merged = interleave_record_batch(&batches, &self.rows);
        merged.map(Some).map_err(|error| Error::internal(format!("cannot merge spans: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::compute::concat_batches;
    use proptest::prelude::*;

    use super::*;
    use crate::model::schema::physical_schema;
    use crate::store::order::BUCKET_NS;
    use crate::store::testing::{START, TestSpan, decode, payload};

    struct Batches(std::vec::IntoIter<RecordBatch>);

    impl Input for Batches {
        fn next(&mut self) -> Result<Option<RecordBatch>> {
            Ok(self.0.next())
        }

        fn name(&self) -> &str {
            "a test's input"
        }

        fn row_bytes(&self) -> u64 {
            1000
        }
    }

    fn key_of(span: &TestSpan) -> SortKey {
        let half = u128::from(span.trace);
        SortKey { bucket: span.start_ns.div_euclid(BUCKET_NS), trace_id: half << 64 | half, start_ns: span.start_ns }
    }

    fn input(spans: &[TestSpan], batch_rows: usize) -> Batches {
        let batches: Vec<_> = spans
            .chunks(batch_rows)
            .map(|spans| decode(&payload(spans)).and_then(|batch| batch.to_record_batch()).expect("a batch"))
            .collect();
        Batches(batches.into_iter())
    }

    fn keys_of(batch: &RecordBatch) -> Vec<SortKey> {
        let keys = KeyColumns::of(batch).expect("keys");
        (0..batch.num_rows()).map(|row| keys.key(row)).collect()
    }

    /// The files that a merge makes, each as its keys.
    fn merged(inputs: Vec<Batches>, cut: Cut) -> Vec<Vec<SortKey>> {
        let mut merge = Merge::begin(inputs).expect("begun");
        let mut files = Vec::new();
        while !merge.is_done() {
            let mut batches = Vec::new();
            let mut rows = 0;
            while let Some(batch) = merge.next_batch(cut, rows).expect("merged") {
                rows += batch.num_rows() as u64;
                batches.push(batch);
            }
            files.push(keys_of(&concat_batches(&physical_schema(), &batches).expect("one batch")));
        }
        files
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..Default::default() })]

        #[test]
        fn a_merge_is_a_sort_and_cuts_only_where_it_may(
            spans in proptest::collection::vec((1u64..20, 0i64..1500, 0usize..6), 1..400),
            batch_rows in 1usize..50,
            goal_rows in 1u64..200,
        ) {
            let mut of_input = vec![Vec::new(); 6];
            for (span, (trace, start_s, input)) in spans.iter().enumerate() {
                let start_ns = START + start_s * 1_000_000_000;
                of_input[*input].push(TestSpan { trace: *trace, span: span as u64, start_ns });
            }
            of_input.iter_mut().for_each(|spans| spans.sort_by_key(key_of));
            let mut expected: Vec<_> = of_input.iter().flatten().map(key_of).collect();
            expected.sort_unstable();
            let inputs = of_input.iter().map(|spans| input(spans, batch_rows)).collect();
            let cut = Cut { goal_rows };
            let files = merged(inputs, cut);
            for pair in files.windows(2) {
                let (last, next) = (pair[0].last().expect("rows"), &pair[1][0]);
                prop_assert!(cut.is_here(pair[0].len() as u64, last, next));
            }
            prop_assert_eq!(files.concat(), expected);
        }
    }

    #[test]
    fn an_input_out_of_order_is_named() {
        let spans = [2, 1].map(|trace| TestSpan { trace, span: 1, start_ns: START });
        let mut merge = Merge::begin(vec![input(&spans, 10)]).expect("begun");
        let error = merge.next_batch(Cut { goal_rows: 10 }, 0).expect_err("out of order");
        assert!(error.message.contains("a test's input are out of order"), "{error}");
    }
}
