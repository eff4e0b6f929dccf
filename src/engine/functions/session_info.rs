//! What clients ask about the server.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{ScalarValue, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use crate::engine::variables::SERVER_VERSION;
use crate::pg::PgType;

/// `pg_typeof(x)`: the type that a value is shown as.
pub(super) fn typeof_udf() -> ScalarUDF {
    ScalarUDF::from(TypeOf { signature: Signature::any(1, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TypeOf {
    signature: Signature,
}

impl ScalarUDFImpl for TypeOf {
    fn name(&self) -> &str {
        "pg_typeof"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [field] = args.arg_fields.as_slice() else { return exec_err!("pg_typeof wants one value") };
        Ok(ColumnarValue::Scalar(ScalarValue::from(PgType::of_field(field).name())))
    }
}

/// `version()`: begins as PostgreSQL's does, since clients parse it.
pub(super) fn version_udf() -> ScalarUDF {
    ScalarUDF::from(Version { signature: Signature::nullary(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Version {
    signature: Signature,
}

impl ScalarUDFImpl for Version {
    fn name(&self) -> &str {
        "version"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let text = format!(
            "PostgreSQL {SERVER_VERSION} on {}, spanhouse {}",
            std::env::consts::ARCH,
            env!("CARGO_PKG_VERSION")
        );
        Ok(ColumnarValue::Scalar(ScalarValue::Utf8(Some(text))))
    }
}
