//! Who calls whom in traces drawn by hand.

use super::*;

/// The spans by id, from 1, each below the one that is named, as (service and part, parent).
fn called(drawn: &[(&str, u64)]) -> Vec<String> {
    let spans: Vec<_> =
        drawn.iter().zip(1..).map(|((_, parent), id)| (id, *parent, id as i64, id as i64 + 1)).collect();
    let parts: Vec<&str> = drawn.iter().map(|(part, _)| *part).collect();
    let shown = |call: Call| match call {
        Call { caller: Some(caller), lacks_callee, .. } => {
            format!("of {}{}", caller + 1, if lacks_callee { " out" } else { "" })
        }
        Call { is_between: true, .. } => "between".into(),
        Call { lacks_callee: true, .. } => "out".into(),
        Call { lacks_caller: true, .. } => "in".into(),
        _ => String::new(),
    };
    Trace::of(&spans).calls(&parts).into_iter().map(shown).collect()
}

#[test]
fn a_call_is_where_the_service_changes() {
    // Service a calls b by way of a span inside of a; b calls a database.
    assert_eq!(
        called(&[("as", 0), ("ac", 1), ("ai", 2), ("bs", 3), ("bi", 4), ("bc", 5)]),
        ["", "", "", "of 3", "", "out"]
    );
    // An orphan of b is called by nobody who has come, and neither is what names itself.
    assert_eq!(called(&[("as", 0), ("bs", 9), ("cs", 3)]), ["", "", ""]);
    // Who is called by another service may itself call out.
    assert_eq!(called(&[("as", 0), ("bc", 1)]), ["", "of 1 out"]);
}

#[test]
fn what_has_no_service_of_its_own_is_counted_as_what_is_around_it() {
    // Between a and b, and within a: the call is a's, and is answered.
    assert_eq!(
        called(&[("ac", 0), ("?-", 1), ("?-", 2), ("bs", 3), ("ac", 3)]),
        ["", "between", "between", "of 1", "out"]
    );
    // At the top it stands for itself.
    assert_eq!(called(&[("?-", 0), ("bs", 1)]), ["", "of 1"]);
}

#[test]
fn callers_whose_call_is_answered_somewhere_below_lack_nobody() {
    // By another service further down, and by a server of the same service.
    assert_eq!(called(&[("ac", 0), ("ac", 1), ("bs", 2)]), ["", "", "of 2"]);
    assert_eq!(called(&[("ac", 0), ("as", 1), ("ac", 0), ("ai", 3)]), ["", "", "out", ""]);
    // Of a database's client and the request by HTTP below it, the client is the call; one beside it is another.
    assert_eq!(called(&[("as", 0), ("ac", 1), ("ai", 2), ("ac", 3), ("ac", 1)]), ["", "out", "", "", "out"]);
    // A server in between begins anew.
    assert_eq!(called(&[("ac", 0), ("as", 1), ("ac", 2)]), ["", "", "out"]);
}

#[test]
fn consumers_lack_who_sent_unless_it_is_above_them() {
    assert_eq!(called(&[("at", 0), ("bt", 9)]), ["in", "in"]);
    assert_eq!(called(&[("ac", 0), ("bt", 1), ("ac", 0), ("at", 3)]), ["", "of 1", "", ""]);
    // What was received is processed.
    assert_eq!(called(&[("at", 0), ("ai", 1), ("at", 2), ("ai", 0), ("at", 4)]), ["in", "", "", "", "in"]);
}
