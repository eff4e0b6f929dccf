//! `pg_cancel_backend` and `pg_terminate_backend`: one session stops another of its user's; an admin's stops any.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex};

use datafusion::arrow::array::{AsArray, BooleanArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int32Type};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use super::activity::Activity;
use super::session_data::{SessionData, ThisSession};
use crate::error::{Error, Kind};

/// The functions over one session and all others.
pub(super) fn functions(session: &Arc<Mutex<SessionData>>, activity: &Arc<Activity>) -> [ScalarUDF; 2] {
    [Does::Cancel, Does::Terminate].map(|does| {
        let counts = (1..=does.most_arguments()).map(TypeSignature::Any).collect();
        // It must run once a row, and never while a statement is only planned.
        let signature = Signature::one_of(counts, Volatility::Volatile);
        let session = ThisSession(session.clone());
        ScalarUDF::from(Signal { does, signature, session, activity: activity.clone() })
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Does {
    Cancel,
    Terminate,
}

impl Does {
    /// PostgreSQL's `pg_terminate_backend` also takes how long to wait.
    fn most_arguments(self) -> usize {
        match self {
            Self::Cancel => 1,
            Self::Terminate => 2,
        }
    }

    fn refusal(self) -> Error {
        let (what, to_what) = match self {
            Self::Cancel => ("cancel query", "cancels its statements"),
            Self::Terminate => ("terminate process", "ends it"),
        };
        Error::new(Kind::Denied, format!("permission denied to {what}"))
            .with_hint(format!("only a session of the same user, or one with the role admin, {to_what}"))
    }
}

#[derive(Debug)]
struct Signal {
    does: Does,
    signature: Signature,
    session: ThisSession,
    activity: Arc<Activity>,
}

impl Signal {
    /// Stops a session; returns whether there is such a session.
    fn stop(&self, process_id: i32) -> Result<bool, Error> {
        let (own, is_admin) = (self.session.process_id(), self.session.rights().is_admin);
        let user = |process_id| self.activity.user_of(process_id);
        let Some(of) = user(process_id) else { return Ok(false) };
        if !is_admin && own.and_then(user).as_ref() != Some(&of) {
            return Err(self.does.refusal());
        }
        Ok(match self.does {
            Does::Cancel => self.activity.cancel(process_id),
            Does::Terminate => self.activity.terminate(process_id),
        })
    }
}

impl PartialEq for Signal {
    fn eq(&self, other: &Self) -> bool {
        self.does == other.does && Arc::ptr_eq(&self.session.0, &other.session.0)
    }
}

impl Eq for Signal {}

impl Hash for Signal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.does.hash(state);
    }
}

impl ScalarUDFImpl for Signal {
    fn name(&self) -> &str {
        match self.does {
            Does::Cancel => "pg_cancel_backend",
            Does::Terminate => "pg_terminate_backend",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let process_ids = args.args[0].to_array(args.number_rows)?;
        let process_ids = cast(&process_ids, &DataType::Int32)?;
        let process_ids = process_ids.as_primitive::<Int32Type>();
        let stopped = process_ids.iter().map(|process_id| process_id.map(|id| self.stop(id)).transpose());
        let stopped = stopped.collect::<Result<BooleanArray, Error>>();
        Ok(ColumnarValue::Array(Arc::new(stopped.map_err(|error| DataFusionError::External(Box::new(error)))?)))
    }
}
