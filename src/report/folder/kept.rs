//! What becomes of what is known of a report when its files are looked at again. Pure.

use super::scan::{Seen, Stamp};
use crate::report::header::Definition;
use crate::report::mistake::Mistake;

/// What is known of a report's files.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Kept {
    /// What the files were when they were read.
    pub read: Option<Stamp>,
    /// What they were when they had changed since, and were not read yet: someone may still be writing.
    pub changing: Option<Stamp>,
    /// Whether the last look did not find them.
    pub is_missing: bool,
    /// The last version that was right.
    pub good: Option<Definition>,
    /// What is wrong with the version that was read.
    pub mistakes: Vec<Mistake>,
    /// A version whose statement could not be planned: it may be right once the schema is another.
    pub unplanned: Option<Definition>,
}

/// What is known next, and what is new about it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Next {
    /// `None` when the report is gone.
    pub kept: Option<Kept>,
    pub change: Option<Change>,
}

/// What is new about a report.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    /// There is a version that was not there before.
    Taken,
    /// The version that was read is wrong.
    Wrong,
    Gone,
}

/// Takes in what was seen of a report.
pub(super) fn next(known: Option<Kept>, seen: Seen) -> Next {
    let is_known = known.is_some();
    let kept = known.unwrap_or_default();
    match seen {
        // Editors put a new file in the place of an old one, and not all of them at once.
        Seen::Missing if is_known && !kept.is_missing => {
            Next { kept: Some(Kept { is_missing: true, ..kept }), change: None }
        }
        Seen::Missing => Next { kept: None, change: is_known.then_some(Change::Gone) },
        Seen::Same => Next { kept: Some(Kept { changing: None, is_missing: false, ..kept }), change: None },
        Seen::Changing(stamp) => {
            Next { kept: Some(Kept { changing: Some(stamp), is_missing: false, ..kept }), change: None }
        }
        Seen::Read(stamp, parsed) => {
            let kept = Kept { read: Some(stamp), changing: None, is_missing: false, ..kept };
            match *parsed {
                // It was planned when it was first read.
                Ok(parsed)
                    if kept.unplanned.as_ref().is_some_and(|known| known.report.version == parsed.report.version) =>
                {
                    Next { kept: Some(kept), change: None }
                }
                Ok(parsed) => taken(kept, Definition::of(parsed)),
                Err(mistakes) => wrong(kept, mistakes),
            }
        }
    }
}

/// Takes in a version whose header is right.
fn taken(kept: Kept, definition: Definition) -> Next {
    let is_old = kept.good.as_ref().is_some_and(|good| good.report.version == definition.report.version);
    let kept = Kept { good: Some(definition), mistakes: Vec::new(), unplanned: None, ..kept };
    Next { kept: Some(kept), change: (!is_old).then_some(Change::Taken) }
}

fn wrong(kept: Kept, mistakes: Vec<Mistake>) -> Next {
    let is_old = kept.mistakes == mistakes;
    Next { kept: Some(Kept { mistakes, unplanned: None, ..kept }), change: (!is_old).then_some(Change::Wrong) }
}

/// Takes in what planning said of the version that was just taken, or of one that could not be planned; `before` is the good one before it.
pub(super) fn planned(kept: Kept, candidate: Definition, before: Option<Definition>, mistakes: Vec<Mistake>) -> Next {
    if mistakes.is_empty() {
        let kept = Kept { good: before, ..kept };
        return taken(kept, candidate);
    }
    let is_old = kept.mistakes == mistakes;
    let kept = Kept { good: before, mistakes, unplanned: Some(candidate), ..kept };
    Next { kept: Some(kept), change: (!is_old).then_some(Change::Wrong) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::header::{Parsed, Source, parse};

    fn read(sql: &str) -> Seen {
        let source = Source { name: "r".to_owned(), sql_path: "r.sql".into(), sql: sql.to_owned(), toml: None };
        Seen::Read(Stamp::default(), Box::new(parse(&source)))
    }

    fn parsed(sql: &str) -> Parsed {
        match read(sql) {
            Seen::Read(_, parsed) => parsed.expect("right"),
            seen => panic!("{seen:?}"),
        }
    }

    /// What is known after each of these was seen, the SQL of the good version, and what was new last.
    fn after(seen: Vec<Seen>) -> (Option<Kept>, Option<String>, Option<Change>) {
        let mut next = Next::default();
        for seen in seen {
            next = super::next(next.kept, seen);
        }
        let sql = next.kept.as_ref().and_then(|kept| kept.good.as_ref()).map(|good| good.report.sql.clone());
        (next.kept, sql, next.change)
    }

    const WRONG: &str = "-- titel = 1\nSELECT 3";

    #[test]
    fn the_last_good_version_stays() {
        let two = || "SELECT 2".to_owned();
        for (seen, sql, change) in [
            (vec![read("SELECT 2")], Some(two()), Some(Change::Taken)),
            (vec![read("SELECT 2"), read("SELECT 2")], Some(two()), None),
            (vec![read("SELECT 1"), read("SELECT 2")], Some(two()), Some(Change::Taken)),
            (vec![read("SELECT 2"), read(WRONG)], Some(two()), Some(Change::Wrong)),
            (vec![read("SELECT 2"), read(WRONG), read(WRONG)], Some(two()), None),
            (vec![read("SELECT 2"), read(WRONG), Seen::Same], Some(two()), None),
            (vec![read(WRONG)], None, Some(Change::Wrong)),
            (vec![read(WRONG), read("SELECT 2")], Some(two()), Some(Change::Taken)),
            (vec![read("SELECT 2"), Seen::Missing], Some(two()), None),
            (vec![read("SELECT 2"), Seen::Missing, Seen::Same], Some(two()), None),
            (vec![read("SELECT 2"), Seen::Missing, Seen::Same, Seen::Missing], Some(two()), None),
            (vec![read("SELECT 2"), Seen::Missing, Seen::Missing], None, Some(Change::Gone)),
            (vec![read(WRONG), Seen::Missing, Seen::Missing], None, Some(Change::Gone)),
        ] {
            let told = format!("{seen:?}");
            let (kept, good, new) = after(seen);
            assert_eq!((good, new.clone()), (sql, change), "{told}");
            assert_eq!(kept.is_none(), new == Some(Change::Gone), "{told}");
        }
        let (kept, ..) = after(vec![read(WRONG), read("SELECT 2")]);
        assert!(kept.expect("known").mistakes.is_empty(), "what was mended is not told any more");
    }

    #[test]
    fn a_version_that_cannot_be_planned_waits_beside_the_good_one() {
        let (before, new) = (Definition::of(parsed("SELECT 1")), Definition::of(parsed("SELECT nope")));
        let mistakes = vec![Mistake::of_file("r.sql".as_ref(), "no")];
        let (kept, ..) = after(vec![read("SELECT 1"), read("SELECT nope")]);
        let wrong = planned(kept.expect("known"), new.clone(), Some(before.clone()), mistakes.clone());
        assert_eq!(wrong.change, Some(Change::Wrong));
        let kept = wrong.kept.expect("known");
        assert_eq!((kept.good.as_ref(), kept.unplanned.as_ref()), (Some(&before), Some(&new)));
        let again = next(Some(kept.clone()), read("SELECT nope"));
        assert_eq!((again.kept.as_ref().map(|kept| &kept.mistakes), again.change), (Some(&mistakes), None));
        let again = planned(kept.clone(), new.clone(), Some(before.clone()), mistakes);
        assert_eq!(again.change, None, "it is told once");
        let right = planned(kept, new.clone(), Some(before), Vec::new());
        assert_eq!(right.change, Some(Change::Taken));
        assert_eq!(right.kept.map(|kept| (kept.good, kept.unplanned)), Some((Some(new), None)));
    }
}
