//! Functions that read or change a session's settings: `current_setting`, `set_config`, `current_user` and its kin.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use super::session_data::SessionData;
use crate::error::Kind;

/// The functions over one session. They see the settings of the moment in which a statement runs.
pub(super) fn functions(session: &Arc<Mutex<SessionData>>) -> Vec<ScalarUDF> {
    let text = DataType::Utf8;
    let one_or_two =
        vec![TypeSignature::Exact(vec![text.clone()]), TypeSignature::Exact(vec![text.clone(), DataType::Boolean])];
    let user = || Signature::nullary(Volatility::Stable);
    [
        ("current_setting", Does::Read, Signature::one_of(one_or_two, Volatility::Stable)),
        (
            "set_config",
            Does::Change,
            Signature::exact(vec![text.clone(), text, DataType::Boolean], Volatility::Volatile),
        ),
        ("current_user", Does::User, user()),
        ("session_user", Does::User, user()),
        ("pg_backend_pid", Does::ProcessId, user()),
        ("inet_client_addr", Does::ClientAddress, user()),
        ("inet_client_port", Does::ClientPort, user()),
    ]
    .into_iter()
    .map(|(name, does, signature)| ScalarUDF::from(SessionFunction { name, does, signature, session: session.clone() }))
    .collect()
}

#[derive(Debug, Clone, Copy)]
enum Does {
    Read,
    Change,
    User,
    ProcessId,
    ClientAddress,
    ClientPort,
}

#[derive(Debug)]
struct SessionFunction {
    name: &'static str,
    does: Does,
    signature: Signature,
    session: Arc<Mutex<SessionData>>,
}

impl PartialEq for SessionFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.session, &other.session)
    }
}

impl Eq for SessionFunction {}

impl Hash for SessionFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for SessionFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(match self.does {
            Does::ProcessId | Does::ClientPort => DataType::Int32,
            Does::Read | Does::Change | Does::User | Does::ClientAddress => DataType::Utf8,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let values: Vec<ArrayRef> = args.args.iter().map(|value| value.to_array(rows)).collect::<Result<_>>()?;
        let text = |at: usize, row: usize| {
            let texts = values[at].as_string::<i32>();
            (!texts.is_null(row)).then(|| texts.value(row))
        };
        let flag = |at: usize, row: usize| {
            values.get(at).map(|flags| flags.as_boolean()).is_some_and(|flags| flags.is_valid(row) && flags.value(row))
        };
        if let Some(fact) = self.fact()? {
            return Ok(ColumnarValue::Scalar(fact));
        }
        let answers: StringArray = (0..rows)
            .map(|row| match (self.does, text(0, row)) {
                (_, None) => Ok(None),
                (Does::Change, Some(name)) => self.change(name, text(1, row), flag(2, row)),
                (_, Some(name)) => self.read(name, flag(1, row)),
            })
            .collect::<Result<_>>()?;
        Ok(ColumnarValue::Array(Arc::new(answers)))
    }
}

impl SessionFunction {
    /// What the function says of the session; `None` for one that looks at its arguments.
    fn fact(&self) -> Result<Option<ScalarValue>> {
        let client = self.session.lock().unwrap_or_else(PoisonError::into_inner).client;
        let address = client.map(|client| client.address);
        Ok(Some(match self.does {
            Does::Read | Does::Change => return Ok(None),
            Does::User => ScalarValue::Utf8(self.read("session_authorization", false)?),
            // A session in the process of its client has that one's number.
            Does::ProcessId => {
                ScalarValue::Int32(Some(client.map_or(std::process::id().cast_signed(), |client| client.process_id)))
            }
            Does::ClientAddress => ScalarValue::Utf8(address.map(|address| address.ip().to_canonical().to_string())),
            Does::ClientPort => ScalarValue::Int32(address.map(|address| address.port().into())),
        }))
    }

    /// A setting's value; with `missing_ok`, NULL for one that does not exist.
    fn read(&self, name: &str, missing_ok: bool) -> Result<Option<String>> {
        match self.session.lock().unwrap_or_else(PoisonError::into_inner).variables.get(name) {
            Ok(value) => Ok(Some(value.to_owned())),
            Err(error) if missing_ok && error.kind == Kind::NotFound => Ok(None),
            Err(error) => Err(DataFusionError::External(Box::new(error))),
        }
    }

    /// Changes a setting and returns its new value; no value means the default.
    fn change(&self, name: &str, value: Option<&str>, local: bool) -> Result<Option<String>> {
        let fail = |error| DataFusionError::External(Box::new(error));
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        // Outside a block the transaction ends with the statement, and a local change with it: it is only checked.
        if local && !session.in_transaction() {
            let mut checked = session.variables.clone();
            checked.set(name, value).map_err(fail)?;
            return Ok(Some(checked.get(name).map_err(fail)?.to_owned()));
        }
        session.set(name, value, local).map_err(fail)?;
        Ok(Some(session.variables.get(name).map_err(fail)?.to_owned()))
    }
}
