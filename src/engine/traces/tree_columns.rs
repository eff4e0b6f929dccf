//! The columns that a trace's tree gives its spans.

use datafusion::arrow::datatypes::{DataType, Field};

use crate::model::SpanId;
use crate::model::schema::{
    DURATION_NS, PARENT_SPAN_ID, SERVICE_NAME, SPAN_ID, SPAN_KIND, SPAN_NAME, START_NS, TRACE_ID,
};

/// A column of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum TreeColumn {
    Depth,
    NsetLeft,
    NsetRight,
    ChildCount,
    SelfNs,
    CriticalNs,
    /// When the critical path first comes to the span; NULL for a span that it does not come to.
    CriticalFromNs,
    IsOrphan,
    RootService,
    RootName,
    ParentService,
    ParentName,
    Path,
    PathServices,
    ClockSkewNs,
    /// What children took inside the span, each counted by itself.
    ChildNs,
    /// The service that called the span's own; NULL where the span is in the service of its parent.
    CallerService,
    /// Whether the span is of no service, and is counted as its parent's.
    IsBetween,
    /// Whether the span calls somebody of whom no span has come.
    LacksCallee,
    /// Whether the span takes what somebody sent of whom no span has come.
    LacksCaller,
    /// The service and the name of the server's span that answers the span; of several the one whose `service: name` is the smallest text.
    AnswerService,
    AnswerName,
    /// The parent that the span names, or the one that the outermost span names that makes nothing but this one call; and that one's name.
    CallingSpanId,
    CallingName,
    /// Whether the span is there already: another has its ids, times, service and name.
    IsCopy,
    /// When the first span of the trace begins, and when the last one ends, whichever these are.
    TraceStartNs,
    TraceEndNs,
}

use TreeColumn::*;

impl TreeColumn {
    /// All of them, in the order in which they follow the columns of spans.
    pub const ALL: [Self; 27] = [
        Depth,
        NsetLeft,
        NsetRight,
        ChildCount,
        SelfNs,
        CriticalNs,
        CriticalFromNs,
        IsOrphan,
        RootService,
        RootName,
        ParentService,
        ParentName,
        Path,
        PathServices,
        ClockSkewNs,
        ChildNs,
        CallerService,
        IsBetween,
        LacksCallee,
        LacksCaller,
        AnswerService,
        AnswerName,
        CallingSpanId,
        CallingName,
        IsCopy,
        TraceStartNs,
        TraceEndNs,
    ];

    /// Its name and type.
    pub fn field(self) -> Field {
        let (name, data_type, nullable) = match self {
            Depth => ("depth", DataType::Int32, false),
            NsetLeft => ("nset_left", DataType::Int32, false),
            NsetRight => ("nset_right", DataType::Int32, false),
            ChildCount => ("child_count", DataType::Int32, false),
            SelfNs => ("self_ns", DataType::Int64, false),
            CriticalNs => ("critical_ns", DataType::Int64, false),
            CriticalFromNs => ("critical_from_ns", DataType::Int64, true),
            IsOrphan => ("is_orphan", DataType::Boolean, false),
            RootService => ("root_service", DataType::Utf8View, true),
            RootName => ("root_name", DataType::Utf8View, true),
            ParentService => ("parent_service", DataType::Utf8View, true),
            ParentName => ("parent_name", DataType::Utf8View, true),
            Path => ("path", DataType::new_list(DataType::Utf8View, true), false),
            PathServices => ("path_services", DataType::new_list(DataType::Utf8View, true), false),
            ClockSkewNs => ("clock_skew_ns", DataType::Int64, false),
            ChildNs => ("child_ns", DataType::Int64, false),
            CallerService => ("caller_service", DataType::Utf8View, true),
            IsBetween => ("is_between", DataType::Boolean, false),
            LacksCallee => ("lacks_callee", DataType::Boolean, false),
            LacksCaller => ("lacks_caller", DataType::Boolean, false),
            AnswerService => ("answer_service", DataType::Utf8View, true),
            AnswerName => ("answer_name", DataType::Utf8View, true),
            CallingSpanId => ("calling_span_id", DataType::FixedSizeBinary(SpanId::LEN as i32), true),
            CallingName => ("calling_name", DataType::Utf8View, true),
            IsCopy => ("is_copy", DataType::Boolean, false),
            TraceStartNs => ("trace_start_ns", DataType::Int64, false),
            TraceEndNs => ("trace_end_ns", DataType::Int64, false),
        };
        Field::new(name, data_type, nullable)
    }

    /// The columns of spans that it is made of.
    pub fn made_of(self) -> Vec<&'static str> {
        let own: &[&str] = match self {
            RootService | ParentService | PathServices => &[SERVICE_NAME],
            RootName | ParentName | Path => &[SPAN_NAME],
            ClockSkewNs | CallerService | IsBetween | LacksCallee | LacksCaller | CallingSpanId => {
                &[SERVICE_NAME, SPAN_KIND]
            }
            AnswerService | AnswerName | CallingName => &[SERVICE_NAME, SPAN_NAME, SPAN_KIND],
            IsCopy => &[SERVICE_NAME, SPAN_NAME],
            _ => &[],
        };
        [TRACE_ID, SPAN_ID, PARENT_SPAN_ID, START_NS, DURATION_NS].iter().chain(own).copied().collect()
    }

    /// The column of spans of which it has a text for each span from the top of the tree down, when it has.
    pub fn along_path(self) -> Option<&'static str> {
        match self {
            Path => Some(SPAN_NAME),
            PathServices => Some(SERVICE_NAME),
            _ => None,
        }
    }

    /// The column of spans whose value it has, that of another span of the trace.
    pub(super) fn value_of(self) -> Option<&'static str> {
        match self {
            RootService | ParentService | CallerService | AnswerService => Some(SERVICE_NAME),
            RootName | ParentName | AnswerName | CallingName => Some(SPAN_NAME),
            CallingSpanId => Some(PARENT_SPAN_ID),
            _ => None,
        }
    }

    pub(super) fn is_of_critical_path(self) -> bool {
        matches!(self, CriticalNs | CriticalFromNs)
    }

    pub(super) fn is_of_calls(self) -> bool {
        matches!(self, CallerService | IsBetween | LacksCallee | LacksCaller)
    }

    pub(super) fn is_of_wrapped(self) -> bool {
        matches!(self, CallingSpanId | CallingName)
    }

    /// What its value takes for each span until the trace is done with. That of another span is the row that has it.
    pub(super) fn bytes(self) -> usize {
        match self {
            Depth | NsetLeft | NsetRight | ChildCount => size_of::<i32>(),
            SelfNs | CriticalNs | ClockSkewNs | ChildNs | TraceStartNs | TraceEndNs => size_of::<i64>(),
            CriticalFromNs => size_of::<Option<i64>>(),
            IsOrphan | IsBetween | LacksCallee | LacksCaller | IsCopy => size_of::<bool>(),
            RootService | RootName | ParentService | ParentName | CallerService | AnswerService | AnswerName
            | CallingSpanId | CallingName => size_of::<u32>(),
            // Made when they are given.
            Path | PathServices => 0,
        }
    }
}
