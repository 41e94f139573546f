//! Name and reason, which every act asks for: they go into the audit trail.

use inbox_core::audit::Operator;

use crate::app::AppParts;
use crate::layout::PageError;
use crate::links::Params;

/// Form field of the operator's name.
const NAME: &str = "by";
/// Form field of the reason.
const REASON: &str = "why";
/// Longest name and reason, in bytes. An event's record keeps them.
const TEXT_MAX_BYTES: usize = 500;

/// Reads name and reason from the form of an act, and checks the clock, whose time goes into the audit trail as well.
pub(crate) fn operator(app: &AppParts, form: &Params) -> Result<Operator, PageError> {
    app.host.check_clock().map_err(PageError::Failed)?;
    let field = |name, missing: &str| {
        let text = form.get(name).ok_or_else(|| PageError::BadRequest(missing.to_owned()))?;
        if text.len() > TEXT_MAX_BYTES {
            return Err(PageError::BadRequest(format!(
                "A name or reason has at most {TEXT_MAX_BYTES} bytes."
            )));
        }
        if inbox_aws::escape::line(text) != text {
            return Err(PageError::BadRequest(
                "A name or reason has no control characters and no invisible ones.".to_owned(),
            ));
        }
        Ok(text.to_owned())
    };
    let operator = Operator {
        name: field(NAME, "Give your name: it goes into the audit trail.")?,
        reason: field(REASON, "Give a reason: it goes into the audit trail.")?,
    };
    app.remember_operator(&operator.name);
    Ok(operator)
}
