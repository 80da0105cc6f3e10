//! Casts that stay casts: DataFusion compares what is inside of a cast with a literal instead, also where the cast takes
//! digits away, so that `CAST(5.5 AS BIGINT) = 5` is false.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, exec_err, plan_err};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

/// Has the optimizer see a function around each cast that may take digits away.
#[derive(Debug)]
pub(super) struct Opaque;

impl FunctionRewrite for Opaque {
    fn name(&self) -> &str {
        "weir_opaque_casts"
    }

    fn rewrite(
        &self,
        expression: Expr,
        schema: &DFSchema,
        _: &ConfigOptions,
    ) -> Result<Transformed<Expr>, DataFusionError> {
        let inner = match &expression {
            Expr::Cast(cast) => &cast.expr,
            Expr::TryCast(cast) => &cast.expr,
            _ => return Ok(Transformed::no(expression)),
        };
        let types = inner.get_type(schema).ok().zip(expression.get_type(schema).ok());
        let keeps = types.is_some_and(|(from, to)| keeps_digits(&from, &to));
        if keeps || matches!(**inner, Expr::Literal(..)) {
            return Ok(Transformed::no(expression));
        }
        Ok(Transformed::yes(SAME.call(vec![expression])))
    }
}

/// Whether a cast leaves a number all its digits, or makes none.
fn keeps_digits(from: &DataType, to: &DataType) -> bool {
    use DataType::{Decimal32, Decimal64, Decimal128, Decimal256};
    let scale = |own: &DataType| match own {
        Decimal32(_, scale) | Decimal64(_, scale) | Decimal128(_, scale) | Decimal256(_, scale) => {
            Some(*scale)
        }
        own => own.is_integer().then_some(0),
    };
    !to.is_numeric() || scale(from).zip(scale(to)).is_some_and(|(from, to)| from <= to)
}

static SAME: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
    let signature = Signature::any(1, Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(Same { signature }))
});

/// A function that gives what it is given.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Same {
    signature: Signature,
}

impl ScalarUDFImpl for Same {
    fn name(&self) -> &str {
        "weir_same"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType, DataFusionError> {
        match arguments {
            [one] => Ok(one.clone()),
            _ => plan_err!("weir_same() takes one argument"),
        }
    }

    fn invoke_with_args(
        &self,
        arguments: ScalarFunctionArgs,
    ) -> Result<ColumnarValue, DataFusionError> {
        match arguments.args.into_iter().next() {
            Some(value) => Ok(value),
            None => exec_err!("weir_same() takes one argument"),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;

    use super::super::session;

    #[tokio::test]
    async fn a_cast_that_takes_digits_away_is_compared_after_it() {
        let context = session();
        let rows = "(VALUES (5.00), (5.50), (5.99), (5.24), (6.00)) AS t(d)";
        for (condition, expected) in [
            ("CAST(d AS BIGINT) = 5", 4),
            ("CAST(d AS BIGINT) <> 5", 1),
            ("CAST(d AS BIGINT) < 6", 4),
            ("CAST(d AS BIGINT) IN (5, 7)", 4),
            ("CAST(d AS BIGINT) BETWEEN 5 AND 5", 4),
            ("TRY_CAST(CAST(d AS VARCHAR) AS DECIMAL(10,1)) = 5.2", 1),
            ("CAST(d AS DECIMAL(18,1)) > 5.2", 3),
        ] {
            let of_rows = format!("SELECT COUNT(*) AS n FROM {rows} WHERE {condition}");
            let of_cases = format!(
                "SELECT SUM(CASE WHEN {condition} THEN 1 ELSE 0 END) AS n, \
                 CAST(MAX(CAST(d AS BIGINT)) AS BIGINT) AS m FROM {rows}"
            );
            for sql in [of_rows, of_cases] {
                let batches = context.sql(&sql).await.unwrap().collect().await.unwrap();
                let found = batches[0].column(0).as_primitive::<Int64Type>().value(0);
                assert_eq!(found, expected, "{sql}");
            }
        }
    }
}
