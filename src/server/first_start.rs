//! The first start on an empty database: something to try at once.
//!
//! Invariant: the token comes last, so a first start that was cut short is followed by another.

use crate::catalogue::{Catalogue, Enrolled};
use crate::domain::audit::Actor;
use crate::domain::error::Error;
use crate::domain::id::SYSTEM;
use crate::domain::path::{CompanyName, Path, UserName};
use crate::domain::person::PublicUrl;
use crate::domain::stream::{DEFAULT_CAPACITY, NewStream, Rules};

/// What the first start on an empty database made; the only time the token is known.
#[derive(Clone)]
pub struct Demo {
    /// The company.
    pub company: CompanyName,
    /// Its user.
    pub user: UserName,
    /// The user's master token.
    pub token: String,
    /// Where the user sets a password, once.
    pub link: String,
    /// A stream.
    pub path: Path,
}

/// Makes company, user, token and stream on a fresh database. The token comes
/// last, so a first start that was cut short is followed by another.
pub(super) async fn first_start(catalogue: &Catalogue, url: &PublicUrl) -> Result<Option<Demo>, Error> {
    let company = CompanyName::parse("demo")?;
    if !catalogue.is_fresh(&company).await? {
        return Ok(None);
    }
    let user = UserName::parse("admin")?;
    let path = Path::parse("/demo/hello")?;
    let stream = NewStream {
        path: path.clone(),
        description: "Made at the first start".to_owned(),
        capacity: DEFAULT_CAPACITY,
        rules: Rules::default(),
    };
    already_there(catalogue.add_company(&company).await)?;
    already_there(
        catalogue
            .add_stream(&stream, SYSTEM, &Actor::COMMAND_LINE)
            .await
            .map(|_| ()),
    )?;
    let by = Actor::COMMAND_LINE;
    let Enrolled { issued, code } = catalogue.add_user(&company, &user, true, &by).await?;
    Ok(Some(Demo {
        company,
        user,
        token: issued.secret,
        link: url.link(&code),
        path,
    }))
}

fn already_there(made: Result<(), Error>) -> Result<(), Error> {
    match made {
        Err(Error::Refusal(refusal)) if refusal.code.entry().status == 409 => Ok(()),
        made => made,
    }
}
